//! JSON: the check before a decoder, and canonical JSON, which decides CIDs.
use _core::{jcs, json};

use crate::bounds::bounded;
use crate::golden;
use crate::recipe::Recipe;

fn texts() -> Vec<Vec<u8>> {
    let mut good: Vec<Vec<u8>> = [
        r#"{"a":[1,2.5e-7,"\ud834\udd1e",{"b":null,"c":true}],"aé":"\u0001"}"#,
        r#"[[[[[[[[[[[[[[[["deep"]]]]]]]]]]]]]]]]"#,
        r#"{"a":1,"\u0061":2}"#,
        "-0",
        "1e400",
        r#" { "k" : "\"\\\/\b\f\n\r\t" } "#,
    ]
    .map(|text| text.as_bytes().to_vec())
    .into();
    let accepted = &golden::json("formats.json")["cid"]["accepted"];
    let metadata = accepted
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|case| case["metadata_json"].as_str());
    good.extend(metadata.map(|text| text.as_bytes().to_vec()));
    good
}

#[test]
fn json_check() {
    let good = texts();
    bolero::check!().with_type::<Recipe>().for_each(|recipe| {
        let text = recipe.bytes(&good, |_, _| ());
        let checked = bounded(text.len(), 64, || json::check(&text, 32, 1000));
        let decoded = serde_json::from_slice::<serde_json::Value>(&text);
        match (checked, decoded) {
            // A number beyond a double is JSON still; serde_json alone refuses it.
            (Ok(()), Err(error)) => {
                assert!(error.to_string().contains("number out of range"), "{error}")
            }
            (Err(refusal), Ok(_)) => assert!(
                matches!(
                    refusal.flaw,
                    json::Flaw::TooDeep | json::Flaw::TooMany | json::Flaw::KeyTwice
                ),
                "{refusal:?}"
            ),
            _ => {}
        }
    });
}

#[test]
fn canonical_json() {
    let good = texts();
    bolero::check!().with_type::<Recipe>().for_each(|recipe| {
        let text = recipe.bytes(&good, |_, _| ());
        let Ok(value) = bounded(text.len(), 256, || jcs::parse(&text, jcs::METADATA)) else {
            return;
        };
        let written = jcs::write(&value);
        let again = jcs::parse(&written, jcs::METADATA).expect("what is written can be read");
        assert_eq!(
            jcs::write(&again),
            written,
            "canonical JSON has one spelling"
        );
        assert_eq!(
            json::check(&text, 32, usize::MAX),
            Ok(()),
            "what has a CID passes the door"
        );
        let is_map = matches!(value, jcs::Value::Map(_));
        let canonical = jcs::is_canonical_object(&text, jcs::METADATA).is_ok();
        assert_eq!(canonical, is_map && written == text);
    });
}
