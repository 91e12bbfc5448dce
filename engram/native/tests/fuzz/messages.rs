//! msgpack: where a message ends, whether it is fit to be decoded, and the form of an event.
use _core::msgpack::{self, Fault, Flaw, Scanner};

use crate::bounds::bounded;
use crate::golden;
use crate::recipe::Recipe;

const DEPTH: usize = 32;
const BYTES: usize = 64 << 10;

pub fn messages() -> Vec<Vec<u8>> {
    let rpc = golden::json("rpc.json");
    let mut good: Vec<Vec<u8>> = [
        "request_hex",
        "vectors_hex",
        "error_hex",
        "result_hex",
        "notification_hex",
        "hello_hex",
    ]
    .iter()
    .flat_map(|key| golden::hex_under(&rpc, key))
    .collect();
    good.extend(events());
    good.push([vec![0x91; DEPTH], vec![0xc0]].concat());
    good.push(b"\xdd\xff\xff\xff\xff".to_vec());
    good.push(b"\xc9\x00\x00\x00\x02\x05ab".to_vec());
    good
}

pub fn events() -> Vec<Vec<u8>> {
    let mut good = golden::hex_under(&golden::json("formats.json")["log"], "event_hex");
    good.push(b"\x82\xa4type\xa1x\xa1n\x07".to_vec());
    good.push(b"\x81\xa4type\xadlog_created.1".to_vec());
    good
}

/// The end of the first message, by a scanner that is fed `step` bytes at a time.
fn scanned(bytes: &[u8], step: usize) -> Result<Option<usize>, Fault> {
    let (mut scanner, mut done) = (Scanner::new(DEPTH, BYTES), 0);
    for piece in bytes.chunks(step) {
        match scanner.feed(piece)? {
            Some(end) => return Ok(Some(done + end)),
            None => done += piece.len(),
        }
    }
    Ok(None)
}

#[test]
fn message_scanner() {
    let good = messages();
    bolero::check!()
        .with_type::<(Recipe, u8)>()
        .for_each(|(recipe, step)| {
            let bytes = recipe.bytes(&good, |_, _| ());
            if bytes.is_empty() {
                return;
            }
            let whole = bounded(0, 0, || scanned(&bytes, bytes.len()));
            assert_eq!(
                scanned(&bytes, usize::from(*step) + 1),
                whole,
                "pieces change nothing"
            );
        });
}

#[test]
fn message_check() {
    let good = messages();
    bolero::check!().with_type::<Recipe>().for_each(|recipe| {
        let bytes = recipe.bytes(&good, |_, _| ());
        let checked = bounded(bytes.len(), 64, || msgpack::check(&bytes, DEPTH, 1000));
        let end = if bytes.is_empty() {
            Ok(None)
        } else {
            scanned(&bytes, bytes.len())
        };
        match checked.map_err(|refusal| refusal.flaw) {
            Ok(()) => assert_eq!(
                end,
                Ok(Some(bytes.len())),
                "a message ends where it is whole"
            ),
            Err(Flaw::Trailing) => assert!(matches!(end, Ok(Some(end)) if end < bytes.len())),
            Err(Flaw::Unfinished) => assert!(matches!(end, Ok(None) | Err(Fault::TooLarge))),
            Err(Flaw::Reserved) => assert_eq!(end, Err(Fault::Reserved)),
            Err(Flaw::TooDeep) => assert_eq!(end, Err(Fault::TooDeep)),
            Err(_) => {}
        }
    });
}

#[test]
fn event_check() {
    let good = events();
    bolero::check!().with_type::<Recipe>().for_each(|recipe| {
        let event = recipe.bytes(&good, |_, _| ());
        if let Ok(kind) = bounded(event.len(), 64, || msgpack::event_type(&event)) {
            assert_eq!(
                msgpack::check(&event, DEPTH, usize::MAX),
                Ok(()),
                "an event is a message"
            );
            assert!(std::str::from_utf8(kind).is_ok());
            assert!(event.windows(kind.len()).any(|part| part == kind));
        }
    });
}
