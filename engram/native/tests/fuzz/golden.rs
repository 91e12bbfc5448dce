//! The golden inputs of `tests/data`, which the edits begin with.
use std::path::PathBuf;

use serde_json::Value;

/// Read a file of `tests/data`.
pub fn file(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../tests/data")
        .join(name);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Read a JSON file of `tests/data`.
pub fn json(name: &str) -> Value {
    serde_json::from_slice(&file(name)).expect("golden data are JSON")
}

/// Every string under a key that ends in `suffix`, from hex, wherever it stands.
pub fn hex_under(value: &Value, suffix: &str) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    collect(value, suffix, false, &mut found);
    found
}

fn collect(value: &Value, suffix: &str, wanted: bool, found: &mut Vec<Vec<u8>>) {
    match value {
        Value::String(text) if wanted => found.extend(unhex(text)),
        Value::Array(items) => items
            .iter()
            .for_each(|item| collect(item, suffix, wanted, found)),
        Value::Object(map) => {
            for (key, value) in map {
                collect(value, suffix, wanted || key.ends_with(suffix), found);
            }
        }
        _ => {}
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map(pair).collect()
}
