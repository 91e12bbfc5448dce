//! msgpack without decoding: where a message ends, and whether it is fit to be decoded.
//!
//! A `Scanner` is fed bytes as they come and says where each message ends. It keeps counts, not bytes: how many
//! values each open container still wants, and how many payload bytes the current value still wants. So no byte is
//! looked at twice, and a length that a stranger announces is never allocated (formats.md §6).
//!
//! `check` walks one whole message and refuses what a decoder would let pass or would stumble over: a key twice, a
//! key that is no string, bad UTF-8, ext types, bytes after the message, a crowd of containers that costs a decoder
//! fifty times its size. `check_event` is the same for the form of an event (formats.md §3).

mod check;
mod scan;

pub use check::{Flaw, Refusal, check, check_event, event_type};
pub use scan::{Fault, Scanner};

/// What a message may hold besides its size: formats.md §10.
pub const MAX_DEPTH: usize = 32;
/// Bytes of one message: formats.md §10.
pub const MAX_BYTES: usize = 8 * 1024 * 1024;
/// Maps and arrays in one message: an empty one is 1 byte on the wire and 64 in Python.
pub const MAX_CONTAINERS: usize = 262_144;
/// Bytes of one event: formats.md §3.
pub const MAX_EVENT_BYTES: usize = 65_535;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Scalar,
    Str,
    Bin,
    Ext,
    Array,
    Map,
}

/// A value's first bytes. `count` is payload bytes, elements of an array, or pairs of a map.
#[derive(Clone, Copy, Debug)]
struct Head {
    kind: Kind,
    count: u64,
}

/// Size of the head that starts with `tag`: the tag and the length after it. None for the reserved byte.
fn head_size(tag: u8) -> Option<usize> {
    match tag {
        0xc1 => None,
        0xc4 | 0xc7 | 0xd9 => Some(2),
        0xc5 | 0xc8 | 0xda | 0xdc | 0xde => Some(3),
        0xc6 | 0xc9 | 0xdb | 0xdd | 0xdf => Some(5),
        _ => Some(1),
    }
}

/// Read a whole head, as large as `head_size` says.
fn read_head(head: &[u8]) -> Head {
    let tag = head[0];
    let length = head[1..]
        .iter()
        .fold(0u64, |sum, byte| (sum << 8) | u64::from(*byte));
    let (kind, count) = match tag {
        0x80..=0x8f => (Kind::Map, u64::from(tag & 0x0f)),
        0x90..=0x9f => (Kind::Array, u64::from(tag & 0x0f)),
        0xa0..=0xbf => (Kind::Str, u64::from(tag & 0x1f)),
        0xc4..=0xc6 => (Kind::Bin, length),
        0xc7..=0xc9 => (Kind::Ext, length + 1),
        0xca | 0xce | 0xd2 => (Kind::Scalar, 4),
        0xcb | 0xcf | 0xd3 => (Kind::Scalar, 8),
        0xcc | 0xd0 => (Kind::Scalar, 1),
        0xcd | 0xd1 => (Kind::Scalar, 2),
        0xd4..=0xd8 => (Kind::Ext, (1 << (tag - 0xd4)) + 1),
        0xd9..=0xdb => (Kind::Str, length),
        0xdc | 0xdd => (Kind::Array, length),
        0xde | 0xdf => (Kind::Map, length),
        _ => (Kind::Scalar, 0),
    };
    Head { kind, count }
}
