//! Whether one whole message is fit to be decoded.
use std::fmt::Write;

use super::{Head, Kind, MAX_DEPTH, MAX_EVENT_BYTES, head_size, read_head};

/// Bytes of a key that a path shows; enough to find it, too few to flood a log.
const PATH_KEY_BYTES: usize = 64;
/// Up to this many keys are compared in pairs, which needs no sorting.
const FEW_KEYS: usize = 8;

/// Why a whole message is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    Reserved,
    TooDeep,
    TooLarge,
    TooMany,
    Unfinished,
    Trailing,
    KeyNotString,
    KeyTwice,
    NotUtf8,
    Ext,
}

impl Flaw {
    pub fn name(self) -> &'static str {
        match self {
            Flaw::Reserved => "reserved",
            Flaw::TooDeep => "too_deep",
            Flaw::TooLarge => "too_large",
            Flaw::TooMany => "too_many",
            Flaw::Unfinished => "unfinished",
            Flaw::Trailing => "trailing",
            Flaw::KeyNotString => "key_not_string",
            Flaw::KeyTwice => "key_twice",
            Flaw::NotUtf8 => "not_utf8",
            Flaw::Ext => "ext",
        }
    }
}

/// A refusal, and where: `[3][0].metadata.colour`. Keys are cut and cleaned of control characters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub flaw: Flaw,
    pub path: String,
}

/// An open container. `at` counts the values that have started in it.
struct Level {
    map: bool,
    wanted: u64,
    at: u64,
    /// Where this map's keys start in `Walk::keys`.
    first_key: usize,
}

struct Walk<'a> {
    message: &'a [u8],
    levels: Vec<Level>,
    /// Keys of the open maps, as (start, end) in the message.
    keys: Vec<(u32, u32)>,
}

/// Check one whole message. Time n log n in its size, memory a small multiple of it.
pub fn check(message: &[u8], max_depth: usize, max_containers: usize) -> Result<(), Refusal> {
    let mut walk = Walk {
        message,
        levels: Vec::new(),
        keys: Vec::new(),
    };
    walk.run(max_depth, max_containers).map_err(|flaw| Refusal {
        flaw,
        path: walk.path(),
    })
}

impl Walk<'_> {
    fn run(&mut self, max_depth: usize, max_containers: usize) -> Result<(), Flaw> {
        if u32::try_from(self.message.len()).is_err() {
            return Err(Flaw::TooLarge);
        }
        let mut at = 0;
        let mut containers = 0;
        loop {
            let is_key = self.start_value();
            let (head, body) = self.head(at)?;
            if is_key && head.kind != Kind::Str {
                return Err(Flaw::KeyNotString);
            }
            at = body;
            if matches!(head.kind, Kind::Array | Kind::Map) {
                containers += 1;
                if self.levels.len() == max_depth {
                    return Err(Flaw::TooDeep);
                }
                if containers > max_containers {
                    return Err(Flaw::TooMany);
                }
                self.open(head);
            } else {
                at = self.payload(head, body, is_key)?;
            }
            self.close_full()?;
            if self.levels.is_empty() {
                return if at == self.message.len() {
                    Ok(())
                } else {
                    Err(Flaw::Trailing)
                };
            }
        }
    }

    /// Count the value that starts now in its container. True: it is a map's key.
    fn start_value(&mut self) -> bool {
        let Some(level) = self.levels.last_mut() else {
            return false;
        };
        level.at += 1;
        level.map && level.at % 2 == 1
    }

    fn head(&self, at: usize) -> Result<(Head, usize), Flaw> {
        let tag = *self.message.get(at).ok_or(Flaw::Unfinished)?;
        let end = at + head_size(tag).ok_or(Flaw::Reserved)?;
        let head = self.message.get(at..end).ok_or(Flaw::Unfinished)?;
        Ok((read_head(head), end))
    }

    fn open(&mut self, head: Head) {
        let map = head.kind == Kind::Map;
        let wanted = if map { head.count * 2 } else { head.count };
        self.levels.push(Level {
            map,
            wanted,
            at: 0,
            first_key: self.keys.len(),
        });
    }

    /// Pass a value's payload, and give where it ends.
    fn payload(&mut self, head: Head, start: usize, is_key: bool) -> Result<usize, Flaw> {
        let left = self.message.len() - start;
        let size = usize::try_from(head.count)
            .ok()
            .filter(|size| *size <= left)
            .ok_or(Flaw::Unfinished)?;
        let end = start + size;
        match head.kind {
            Kind::Ext => Err(Flaw::Ext),
            Kind::Str if std::str::from_utf8(&self.message[start..end]).is_err() => {
                Err(Flaw::NotUtf8)
            }
            _ => {
                if is_key {
                    self.keys.push((start as u32, end as u32));
                }
                Ok(end)
            }
        }
    }

    /// Close every container whose last value has ended.
    fn close_full(&mut self) -> Result<(), Flaw> {
        while let Some(level) = self.levels.last() {
            if level.at < level.wanted {
                return Ok(());
            }
            if level.map {
                let first = level.first_key;
                self.refuse_twice(first)?;
                self.keys.truncate(first);
            }
            self.levels.pop();
        }
        Ok(())
    }

    fn refuse_twice(&mut self, first: usize) -> Result<(), Flaw> {
        let message = self.message;
        let text = |key: (u32, u32)| &message[key.0 as usize..key.1 as usize];
        let keys = &mut self.keys[first..];
        let twice = if keys.len() <= FEW_KEYS {
            (1..keys.len())
                .find(|&i| keys[..i].iter().any(|&key| text(key) == text(keys[i])))
                .map(|i| keys[i])
        } else {
            keys.sort_unstable_by_key(|&key| text(key));
            keys.windows(2)
                .find(|pair| text(pair[0]) == text(pair[1]))
                .map(|pair| pair[0])
        };
        let Some(key) = twice else { return Ok(()) };
        self.keys.push(key); // the last key is what the path shows
        Err(Flaw::KeyTwice)
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for (depth, level) in self.levels.iter().enumerate() {
            if !level.map {
                let _ = write!(path, "[{}]", level.at.saturating_sub(1));
                continue;
            }
            let past = self
                .levels
                .get(depth + 1)
                .map_or(self.keys.len(), |inner| inner.first_key);
            if let Some(&(start, end)) = self.keys[level.first_key..past].last() {
                path.push('.');
                path.push_str(&printable(&self.message[start as usize..end as usize]));
            }
        }
        path
    }
}

fn printable(key: &[u8]) -> String {
    let cut = &key[..key.len().min(PATH_KEY_BYTES)];
    let text: String = String::from_utf8_lossy(cut)
        .chars()
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .collect();
    if cut.len() < key.len() {
        text + "…"
    } else {
        text
    }
}

/// Check the form of an event: one map of distinct string keys, `type` first with a string, nothing after it.
pub fn check_event(event: &[u8]) -> Result<(), &'static str> {
    event_type(event).map(|_| ())
}

/// Check the form of an event, and give its type.
pub fn event_type(event: &[u8]) -> Result<&[u8], &'static str> {
    if event.is_empty() || event.len() > MAX_EVENT_BYTES {
        return Err("size");
    }
    if let Some(kind) = flat_event_type(event) {
        return Ok(kind);
    }
    check(event, MAX_DEPTH, MAX_EVENT_BYTES).map_err(|refusal| refusal.flaw.name())?;
    let walk = Walk {
        message: event,
        levels: Vec::new(),
        keys: Vec::new(),
    };
    let (map, key_at) = walk.head(0).map_err(Flaw::name)?;
    if map.kind != Kind::Map {
        return Err("not_a_map");
    }
    if map.count == 0 {
        return Err("no_type");
    }
    let (key, body) = walk.head(key_at).map_err(Flaw::name)?;
    let value_at = body + key.count as usize;
    if &event[body..value_at] != b"type" {
        return Err("no_type");
    }
    match walk.head(value_at) {
        Ok((value, start)) if value.kind == Kind::Str => {
            Ok(&event[start..start + value.count as usize])
        }
        _ => Err("type_not_string"),
    }
}

/// Give the type of an event that is as nearly all are: a map of few short keys with no container in it, ASCII. None
/// says nothing of an event: the whole check decides. It spares nearly all of them that check's lists of what is open.
fn flat_event_type(event: &[u8]) -> Option<&[u8]> {
    let pairs = usize::from(event.first()? ^ 0x80);
    if pairs > FEW_KEYS {
        return None;
    }
    let mut keys: [&[u8]; FEW_KEYS] = [&[]; FEW_KEYS];
    let mut kind = None;
    let mut rest = &event[1..];
    for pair in 0..pairs {
        let (Kind::Str, key, after) = flat_value(rest)? else {
            return None;
        };
        let (value_kind, value, after) = flat_value(after)?;
        if keys[..pair].contains(&key) {
            return None;
        }
        if pair == 0 {
            kind = (key == b"type" && value_kind == Kind::Str).then_some(value);
        }
        keys[pair] = key;
        rest = after;
    }
    kind.filter(|_| rest.is_empty())
}

/// Split off a value that holds no other; strings must be ASCII.
fn flat_value(bytes: &[u8]) -> Option<(Kind, &[u8], &[u8])> {
    let size = head_size(*bytes.first()?)?;
    let (head, rest) = bytes.split_at_checked(size)?;
    let head = read_head(head);
    if matches!(head.kind, Kind::Array | Kind::Map | Kind::Ext) {
        return None;
    }
    let (value, rest) = rest.split_at_checked(usize::try_from(head.count).ok()?)?;
    (head.kind != Kind::Str || value.is_ascii()).then_some((head.kind, value, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_place() {
        let refused = |message: &[u8]| {
            let refusal = check(message, 32, 1000).unwrap_err();
            (refusal.flaw, refusal.path)
        };
        assert_eq!(
            refused(b"\x92\x01\x81\xa1a\x82\xa1b\x01\xa1b\x02"),
            (Flaw::KeyTwice, "[1].a.b".into())
        );
        assert_eq!(
            refused(b"\x82\xa1a\x80\x07\x01"),
            (Flaw::KeyNotString, ".a".into())
        );
        assert_eq!(refused(b"\x81\xa1a\xa1\xff"), (Flaw::NotUtf8, ".a".into()));
        assert_eq!(refused(b"\x92\xc0\xd4\x01\x02"), (Flaw::Ext, "[1]".into()));
        assert_eq!(refused(b"\x80\x80"), (Flaw::Trailing, String::new()));
        assert_eq!(
            refused(b"\x81\xa1\x07\x91"),
            (Flaw::Unfinished, ".\u{fffd}[0]".into())
        );
        assert_eq!(
            refused(b"\xdf\xff\xff\xff\xff"),
            (Flaw::Unfinished, String::new())
        );
        assert_eq!(refused(b""), (Flaw::Unfinished, String::new()));
    }

    #[test]
    fn many_keys_are_compared_without_a_quadratic_cost() {
        let count: u32 = 1_000_000;
        let mut message = vec![0xdf];
        message.extend((count + 1).to_be_bytes());
        for key in (0..count).chain([count / 2]) {
            message.push(0xa7);
            message.extend(format!("{key:07}").as_bytes());
            message.push(0xc0);
        }
        let refusal = check(&message, 32, 10).unwrap_err();
        assert_eq!(
            (refusal.flaw, refusal.path.as_str()),
            (Flaw::KeyTwice, ".0500000")
        );
    }

    #[test]
    fn depth_is_counted_in_containers() {
        let nested = |depth| [vec![0x91; depth], vec![0xc0]].concat();
        assert_eq!(check(&nested(32), 32, 99), Ok(()));
        assert_eq!(check(&nested(33), 32, 99).unwrap_err().flaw, Flaw::TooDeep);
    }

    #[test]
    fn a_crowd_of_containers_is_refused() {
        let crowd = [vec![0xdc, 0x00, 0x64], vec![0x90; 100]].concat();
        assert_eq!(check(&crowd, 32, 101), Ok(()));
        assert_eq!(check(&crowd, 32, 100).unwrap_err().flaw, Flaw::TooMany);
    }

    #[test]
    fn events_have_one_form() {
        assert_eq!(check_event(b"\x81\xa4type\xa9example.1"), Ok(()));
        assert_eq!(check_event(b"\x82\xa4type\xa3a.1\xa1n\xc4\x02ab"), Ok(()));
        assert_eq!(check_event(b"\x81\xd9\x04type\xd9\x03a.1"), Ok(()));
        assert_eq!(check_event(b""), Err("size"));
        assert_eq!(check_event(b"\x01"), Err("not_a_map"));
        assert_eq!(check_event(b"\x80"), Err("no_type"));
        assert_eq!(check_event(b"\x82\xa1n\x01\xa4type\xa3a.1"), Err("no_type"));
        assert_eq!(check_event(b"\x81\xa4type\x01"), Err("type_not_string"));
        assert_eq!(
            check_event(b"\x82\xa4type\xa1a\xa4type\xa1b"),
            Err("key_twice")
        );
        assert_eq!(check_event(b"\x81\xa4type\xa3a.1\x00"), Err("trailing"));
        let sized = |size: usize| {
            let filler = size - 15;
            [
                &b"\x82\xa4type\xa3a.1\xa1n\xc5"[..],
                &(filler as u16).to_be_bytes(),
                &vec![0; filler],
            ]
            .concat()
        };
        assert_eq!(check_event(&sized(65_535)), Ok(()));
        assert_eq!(check_event(&sized(65_536)), Err("size"));
    }
}
