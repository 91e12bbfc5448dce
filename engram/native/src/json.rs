//! JSON without decoding: whether one text is JSON (RFC 8259, UTF-8, no byte order mark) and fit to be decoded.
//!
//! `check` walks the text once and refuses what a decoder would let pass or would stumble over: a key twice (however it
//! is spelt), lone surrogates, bad UTF-8, more depth or containers than allowed, bytes after the value. It is
//! `msgpack::check` for the doors that speak JSON: the same flaws under the same names, and the same paths.
use std::borrow::Cow;
use std::fmt::Write;

/// Bytes of a key that a path shows; as in `msgpack::check`.
const PATH_KEY_BYTES: usize = 64;
/// Up to this many keys are compared in pairs, which needs no sorting.
const FEW_KEYS: usize = 8;

/// Why a text is refused. `Expected`: it is not JSON, and what should have stood there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    Expected(&'static str),
    TooDeep,
    TooMany,
    Trailing,
    KeyTwice,
    NotUtf8,
    Surrogate,
}

impl Flaw {
    pub fn name(self) -> &'static str {
        match self {
            Flaw::Expected(what) => what,
            Flaw::TooDeep => "too_deep",
            Flaw::TooMany => "too_many",
            Flaw::Trailing => "trailing",
            Flaw::KeyTwice => "key_twice",
            Flaw::NotUtf8 => "not_utf8",
            Flaw::Surrogate => "surrogate",
        }
    }
}

/// A refusal, the path of the value, such as `.metadata.colour` or `.items[3]`, and the byte it was found at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub flaw: Flaw,
    pub path: String,
    pub at: usize,
}

/// An open container. `at` counts the values that have started in a list.
struct Level {
    map: bool,
    at: u64,
    /// Where this map's keys start in `Walk::keys`.
    first_key: usize,
}

struct Walk<'a> {
    text: &'a [u8],
    at: usize,
    /// The first byte that is not UTF-8.
    broken: usize,
    levels: Vec<Level>,
    /// Keys of the open maps, without their escapes.
    keys: Vec<Cow<'a, [u8]>>,
}

type Checked = Result<(), Flaw>;

/// Check one whole text. Time n log n in its size, memory a small multiple of it.
pub fn check(text: &[u8], max_depth: usize, max_containers: usize) -> Result<(), Refusal> {
    let broken = match std::str::from_utf8(text) {
        Ok(_) => text.len(),
        Err(error) => error.valid_up_to(),
    };
    let mut walk = Walk {
        text,
        at: 0,
        broken,
        levels: Vec::new(),
        keys: Vec::new(),
    };
    walk.run(max_depth, max_containers).map_err(|flaw| Refusal {
        flaw,
        path: walk.path(),
        at: walk.at,
    })
}

impl<'a> Walk<'a> {
    fn run(&mut self, max_depth: usize, max_containers: usize) -> Checked {
        let mut containers = 0;
        self.space();
        loop {
            if let Some(level) = self.levels.last_mut() {
                level.at += 1;
            }
            match self.peek() {
                Some(open @ (b'{' | b'[')) => {
                    containers += 1;
                    if self.levels.len() == max_depth {
                        return Err(Flaw::TooDeep);
                    }
                    if containers > max_containers {
                        return Err(Flaw::TooMany);
                    }
                    if self.open(open == b'{')? {
                        continue;
                    }
                }
                _ => self.scalar()?,
            }
            if self.close()? {
                return Ok(());
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Open a container. True: a value follows in it; an empty one is closed at once.
    fn open(&mut self, map: bool) -> Result<bool, Flaw> {
        self.at += 1;
        self.levels.push(Level {
            map,
            at: 0,
            first_key: self.keys.len(),
        });
        self.space();
        if self.eat(if map { b'}' } else { b']' }) {
            self.levels.pop();
            return Ok(false);
        }
        if map {
            self.key()?;
        }
        Ok(true)
    }

    /// Pass what stands behind a value. True: it was the last; else the next one starts here.
    fn close(&mut self) -> Result<bool, Flaw> {
        loop {
            self.space();
            let Some(level) = self.levels.last() else {
                return match self.at == self.text.len() {
                    true => Ok(true),
                    false => Err(Flaw::Trailing),
                };
            };
            let (map, first_key) = (level.map, level.first_key);
            if self.eat(b',') {
                self.space();
                if map {
                    self.key()?;
                }
                return Ok(false);
            }
            if !self.eat(if map { b'}' } else { b']' }) {
                return Err(Flaw::Expected(match map {
                    true => "`,` or `}`",
                    false => "`,` or `]`",
                }));
            }
            if map {
                self.refuse_twice(first_key)?;
                self.keys.truncate(first_key);
            }
            self.levels.pop();
        }
    }

    fn key(&mut self) -> Checked {
        if self.peek() != Some(b'"') {
            return Err(Flaw::Expected("a key in double quotes"));
        }
        let start = self.at + 1;
        let escaped = self.string()?;
        let raw = &self.text[start..self.at - 1];
        self.keys.push(match escaped {
            true => Cow::Owned(unescaped(raw)),
            false => Cow::Borrowed(raw),
        });
        self.space();
        if !self.eat(b':') {
            return Err(Flaw::Expected("`:`"));
        }
        self.space();
        Ok(())
    }

    fn scalar(&mut self) -> Checked {
        match self.peek() {
            Some(b'"') => self.string().map(|_| ()),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            Some(b'N' | b'I') => Err(Flaw::Expected("a value, and JSON has no NaN or Infinity,")),
            _ => Err(Flaw::Expected("a value")),
        }
    }

    fn word(&mut self, word: &[u8]) -> Checked {
        if !self.text[self.at..].starts_with(word) {
            return Err(Flaw::Expected("a value"));
        }
        self.at += word.len();
        Ok(())
    }

    fn number(&mut self) -> Checked {
        if self.eat(b'-') && self.peek() == Some(b'I') {
            return Err(Flaw::Expected("a digit, and JSON has no Infinity,"));
        }
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Checked {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        match self.at > start {
            true => Ok(()),
            false => Err(Flaw::Expected("a digit")),
        }
    }

    /// Pass a string. True: it has escapes.
    fn string(&mut self) -> Result<bool, Flaw> {
        self.at += 1;
        let mut escaped = false;
        loop {
            let rest = &self.text[self.at..];
            let plain = rest
                .iter()
                .position(|&byte| byte == b'"' || byte == b'\\' || byte < b' ')
                .unwrap_or(rest.len());
            self.at += plain;
            if self.at > self.broken {
                self.at = self.broken;
                return Err(Flaw::NotUtf8);
            }
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(escaped);
                }
                Some(b'\\') => {
                    escaped = true;
                    self.escape()?;
                }
                Some(_) => return Err(Flaw::Expected("no control character, but its escape,")),
                None => return Err(Flaw::Expected("`\"`")),
            }
        }
    }

    fn escape(&mut self) -> Checked {
        match self.text.get(self.at + 1) {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(())
            }
            Some(b'u') => {
                let (_, size) = unicode_escape(&self.text[self.at..])?;
                self.at += size;
                Ok(())
            }
            _ => Err(Flaw::Expected("one of JSON's escapes")),
        }
    }

    fn refuse_twice(&mut self, first: usize) -> Checked {
        let keys = &mut self.keys[first..];
        let twice = if keys.len() <= FEW_KEYS {
            (1..keys.len()).find(|&i| keys[..i].contains(&keys[i]))
        } else {
            keys.sort_unstable();
            (1..keys.len()).find(|&i| keys[i - 1] == keys[i])
        };
        let Some(index) = twice else { return Ok(()) };
        let key = keys[index].clone();
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
            if let Some(key) = self.keys[level.first_key..past].last() {
                path.push('.');
                path.push_str(&printable(key));
            }
        }
        path
    }
}

/// Read `\uXXXX`, or a pair of them: the character, and the bytes it takes.
fn unicode_escape(text: &[u8]) -> Result<(char, usize), Flaw> {
    let first = hex4(text, 2)?;
    if let Some(char) = char::from_u32(first) {
        return Ok((char, 6));
    }
    if first < 0xdc00 && text.get(6..8) == Some(b"\\u") {
        let second = hex4(text, 8)?;
        if (0xdc00..0xe000).contains(&second) {
            let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
            return char::from_u32(code)
                .map(|char| (char, 12))
                .ok_or(Flaw::Surrogate);
        }
    }
    Err(Flaw::Surrogate)
}

fn hex4(text: &[u8], at: usize) -> Result<u32, Flaw> {
    let digits = text.get(at..at + 4);
    let digits = digits.ok_or(Flaw::Expected("four hex digits"))?;
    digits.iter().try_fold(0, |sum, &digit| {
        let value = char::from(digit).to_digit(16);
        Ok(sum * 16 + value.ok_or(Flaw::Expected("four hex digits"))?)
    })
}

/// Give what a checked string means.
fn unescaped(raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(raw.len());
    let mut at = 0;
    while at < raw.len() {
        if raw[at] != b'\\' {
            out.push(raw[at]);
            at += 1;
            continue;
        }
        match raw[at + 1] {
            b'u' => {
                let (char, size) = unicode_escape(&raw[at..]).unwrap_or(('\u{fffd}', 6));
                out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                at += size;
                continue;
            }
            b'b' => out.push(8),
            b'f' => out.push(12),
            b'n' => out.push(b'\n'),
            b'r' => out.push(b'\r'),
            b't' => out.push(b'\t'),
            same => out.push(same),
        }
        at += 2;
    }
    out
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(text: &[u8]) -> (Flaw, String, usize) {
        let refusal = check(text, 32, 1000).unwrap_err();
        (refusal.flaw, refusal.path, refusal.at)
    }

    #[test]
    fn json_passes() {
        for text in [
            "0",
            "-0.5e+3",
            " [1, {\"a\": [], \"b\": {}, \"\": null}, true, false, \"\\u00e4\\ud83d\\ude00\\/\"]\r\n\t",
            "\"é\"",
        ] {
            assert_eq!(check(text.as_bytes(), 32, 1000), Ok(()), "{text}");
        }
    }

    #[test]
    fn a_refusal_names_the_place() {
        let expected = |what| Flaw::Expected(what);
        let cases: [(&[u8], Flaw, &str, usize); 17] = [
            (b"", expected("a value"), "", 0),
            (b"[1,]", expected("a value"), "[1]", 3),
            (b"{\"a\":1,}", expected("a key in double quotes"), ".a", 7),
            (b"{\"a\" 1}", expected("`:`"), ".a", 5),
            (b"[1 2]", expected("`,` or `]`"), "[0]", 3),
            (b"[01]", expected("`,` or `]`"), "[0]", 2),
            (b"[1.]", expected("a digit"), "[0]", 3),
            (b"1 2", Flaw::Trailing, "", 2),
            (
                b"{\"a\":[{\"b\":1,\"\\u0062\":2}]}",
                Flaw::KeyTwice,
                ".a[0].b",
                24,
            ),
            (b"{\"a\":\"\xff\"}", Flaw::NotUtf8, ".a", 6),
            (b"{\"a\":\"\\ud800\"}", Flaw::Surrogate, ".a", 6),
            (b"{\"a\":\"\\udc00\\ud800\"}", Flaw::Surrogate, ".a", 6),
            (b"\"\\ud800\\u0041\"", Flaw::Surrogate, "", 1),
            (b"\"\\x\"", expected("one of JSON's escapes"), "", 1),
            (b"\"\\u12\"", expected("four hex digits"), "", 1),
            (
                b"\"\n\"",
                expected("no control character, but its escape,"),
                "",
                1,
            ),
            (b"\"abc", expected("`\"`"), "", 4),
        ];
        for (text, flaw, path, at) in cases {
            assert_eq!(
                refused(text),
                (flaw, path.to_owned(), at),
                "{}",
                String::from_utf8_lossy(text)
            );
        }
    }

    #[test]
    fn many_keys_are_compared_without_a_quadratic_cost() {
        let keys: Vec<String> = (0..500_000)
            .chain([250_000])
            .map(|key| format!("\"{key:07}\":0"))
            .collect();
        let text = format!("{{{}}}", keys.join(","));
        let refusal = check(text.as_bytes(), 32, 10).unwrap_err();
        assert_eq!(
            (refusal.flaw, refusal.path.as_str()),
            (Flaw::KeyTwice, ".0250000")
        );
    }

    #[test]
    fn depth_and_containers_are_bounded() {
        let nested = |depth| [vec![b'['; depth], vec![b']'; depth]].concat();
        assert_eq!(check(&nested(32), 32, 99), Ok(()));
        assert_eq!(check(&nested(33), 32, 99).unwrap_err().flaw, Flaw::TooDeep);
        assert_eq!(check(b"[[],[]]", 32, 3), Ok(()));
        assert_eq!(check(b"[[],[]]", 32, 2).unwrap_err().flaw, Flaw::TooMany);
    }
}
