//! The model's files, which a user may point at: the header of the weights, and the tokenizer.
use std::fs::File;
use std::io::{Seek, Write};

use _core::embed::MiniLm;

use crate::recipe::Recipe;

fn headed(header: &str, data: usize) -> Vec<u8> {
    let length = (header.len() as u64).to_le_bytes();
    [&length[..], header.as_bytes(), &vec![0; data]].concat()
}

#[test]
fn weights_header() {
    let name = "embeddings.word_embeddings.weight";
    let good = vec![
        headed("{}", 0),
        headed(r#"{"__metadata__":{"format":"pt"}}"#, 0),
        headed(
            &format!(
                r#"{{"{name}":{{"dtype":"F32","shape":[30522,384],"data_offsets":[0,46881792]}}}}"#
            ),
            64,
        ),
        headed(
            &format!(r#"{{"{name}":{{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}}}"#),
            8,
        ),
        headed(
            &format!(
                r#"{{"{name}":{{"dtype":"F32","shape":[],"data_offsets":[18446744073709551615,0]}}}}"#
            ),
            8,
        ),
    ];
    let path = std::env::temp_dir().join(format!("engram-fuzz-weights-{}", std::process::id()));
    bolero::check!()
        .with_type::<(Recipe, bool)>()
        .for_each(|(recipe, tokenizer)| {
            let bytes = recipe.bytes(&good, |_, _| ());
            let mut file = File::options()
                .create(true)
                .truncate(true)
                .read(true)
                .write(true)
                .open(&path)
                .expect("a file");
            file.write_all(&bytes)
                .and_then(|()| file.rewind())
                .expect("a file that can be written");
            let tokenizer: &[u8] = if *tokenizer { b"{}" } else { &bytes };
            assert!(
                MiniLm::load(file, tokenizer, None).is_err(),
                "these are no model"
            );
        });
    let _ = std::fs::remove_file(&path);
}
