//! Hold the embedder to its golden digests on this machine, without Python: every kernel, text by text.
//!
//! `digests MODEL_FOLDER DIGESTS_JSON [TEXTS]`: the folder has `model.safetensors` and `tokenizer.json`; the JSON is
//! `tests/data/minilm_digests.json`; TEXTS is how many are taken, the shortest of each kind before all others (default:
//! every text). Exit code 1 if a digest or a token count is another.
use std::collections::HashSet;
use std::error::Error;
use std::fs::{self, File};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use _core::embed::{Kernel, MiniLm};
use serde::Deserialize;
use sha2::{Digest, Sha256};

#[derive(Deserialize)]
struct Golden {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    kind: String,
    tokens: usize,
    sha256: Option<String>,
    text: String,
}

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, digests, count @ ..] = &arguments[..] else {
        return Err("usage: digests MODEL_FOLDER DIGESTS_JSON [TEXTS]".into());
    };
    let items = serde_json::from_slice::<Golden>(&fs::read(digests)?)?.items;
    let limit = match count {
        [] => items.len(),
        [count, ..] => count.parse()?,
    };
    let items = shortest(items, limit);
    let mut same = true;
    for kernel in Kernel::available() {
        same &= check(Path::new(model), kernel.name(), &items)?;
    }
    Ok(if same {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// The `limit` shortest, the shortest of each kind before all others.
fn shortest(mut items: Vec<Item>, limit: usize) -> Vec<Item> {
    items.sort_by_key(|item| item.tokens);
    let mut kinds = HashSet::new();
    let (mut chosen, others): (Vec<_>, Vec<_>) = items
        .into_iter()
        .partition(|item| kinds.insert(item.kind.clone()));
    chosen.extend(others);
    chosen.truncate(limit);
    chosen
}

/// Embed the items one by one with the kernel of this name; tell what differs, and whether nothing does.
fn check(model: &Path, kernel: &str, items: &[Item]) -> Result<bool, Box<dyn Error>> {
    let weights = File::open(model.join("model.safetensors"))?;
    let tokenizer = fs::read(model.join("tokenizer.json"))?;
    let embedder = MiniLm::load(weights, &tokenizer, Some(kernel))?;
    let start = Instant::now();
    let mut wrong = 0;
    for item in items {
        let embedded = &embedder.embed(&[&item.text], None)?[0];
        let digest = embedded.vector.map(|vector| sha256(&vector));
        if (embedded.tokens, &digest) != (item.tokens, &item.sha256) {
            wrong += 1;
            println!(
                "{kernel}: {:?} has {} tokens, sha256 {digest:?}",
                item.text, embedded.tokens
            );
        }
    }
    let (texts, arch, seconds) = (
        items.len(),
        std::env::consts::ARCH,
        start.elapsed().as_secs_f32(),
    );
    println!("{arch} {kernel}: {texts} texts, {wrong} differ, {seconds:.1} s");
    Ok(wrong == 0)
}

fn sha256(vector: &[f32]) -> String {
    let bytes: Vec<u8> = vector.iter().flat_map(|x| x.to_le_bytes()).collect();
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
