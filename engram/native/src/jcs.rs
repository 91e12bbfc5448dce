//! Metadata and patches: RFC 8785 (JCS) JSON objects, by the rules of the content identifier.
//!
//! A value comes from JSON bytes (`parse`) or from another tree (the PyO3 layer builds one from Python objects), is
//! held as a `Value`, and is written in its one canonical spelling. What is refused: duplicate keys, lone surrogates,
//! numbers that no double equals, NaN, infinities, more depth or bytes than allowed. Keys sort by UTF-16 code units.
use std::fmt::Write as _;

/// A JSON value. A map's keys are distinct; their order does not matter.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Value>),
    Map(Vec<(String, Value)>),
}

/// What is wrong, and where: `path` is empty for the value as a whole, else like `.a.b[3]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    pub path: String,
    pub reason: String,
}

/// Depth and key limits; `metadata` of a record has 16 and 256.
#[derive(Debug, Clone, Copy)]
pub struct Rules {
    pub depth: usize,
    pub key_bytes: usize,
}

pub const METADATA: Rules = Rules {
    depth: 16,
    key_bytes: 256,
};

type Outcome<T> = Result<T, Refusal>;

pub fn refuse<T>(path: &str, reason: impl Into<String>) -> Outcome<T> {
    Err(Refusal {
        path: path.to_owned(),
        reason: reason.into(),
    })
}

/// Write a value canonically.
pub fn write(value: &Value) -> Vec<u8> {
    let mut out = String::new();
    write_value(value, &mut out);
    out.into_bytes()
}

/// Say whether `bytes` are an object in its canonical spelling.
pub fn is_canonical_object(bytes: &[u8], rules: Rules) -> Outcome<()> {
    let value = parse(bytes, rules)?;
    if !matches!(value, Value::Map(_)) {
        return refuse("", "not an object");
    }
    if write(&value) != bytes {
        return refuse("", "not in canonical form (RFC 8785)");
    }
    Ok(())
}

/// The double that an integer literal (`-?[0-9]+`) means, if one equals it, or if JCS prints a double so.
pub fn integer(literal: &str) -> Result<f64, String> {
    let number: f64 = literal.parse().map_err(|_| "not a number".to_owned())?;
    if !number.is_finite() {
        return Err("no double equals this integer: it is too large".to_owned());
    }
    let same = |text: &str| text == literal || (literal.starts_with('-') && number == 0.0);
    if same(&format!("{number:.0}")) || same(ryu_js::Buffer::new().format_finite(number)) {
        Ok(number)
    } else {
        Err(format!(
            "no double equals the integer {}; give it as a string",
            shorten(literal)
        ))
    }
}

/// Check a key against the rules.
pub fn check_key(key: &str, rules: Rules, path: &str) -> Outcome<()> {
    if key.len() > rules.key_bytes {
        return refuse(
            path,
            format!(
                "a key of {} bytes is over the limit of {}",
                key.len(),
                rules.key_bytes
            ),
        );
    }
    Ok(())
}

/// Check that a container may stand at `depth` (the outermost is 1).
pub fn check_depth(depth: usize, rules: Rules) -> Outcome<()> {
    if depth > rules.depth {
        return refuse(
            "",
            format!("nested more than {0} deep, the limit of {0}", rules.depth),
        );
    }
    Ok(())
}

/// Refuse a map in which a key stands twice.
pub fn check_distinct(map: &[(String, Value)], path: &str) -> Outcome<()> {
    let mut keys: Vec<&str> = map.iter().map(|(key, _)| key.as_str()).collect();
    keys.sort_unstable();
    match keys.windows(2).find(|pair| pair[0] == pair[1]) {
        Some(pair) => refuse(path, format!("the key {:?} stands twice", shorten(pair[0]))),
        None => Ok(()),
    }
}

/// The path of a member or item, bounded in length.
pub fn member(path: &str, key: &str) -> String {
    format!("{path}.{}", shorten(key))
}

fn shorten(text: &str) -> String {
    const KEEP: usize = 40;
    if text.chars().count() <= KEEP {
        return text.to_owned();
    }
    text.chars()
        .take(KEEP)
        .chain(std::iter::once('…'))
        .collect()
}

fn write_value(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(true) => out.push_str("true"),
        Value::Bool(false) => out.push_str("false"),
        Value::Number(number) => out.push_str(ryu_js::Buffer::new().format_finite(*number)),
        Value::Text(text) => write_text(text, out),
        Value::List(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                write_value(item, out);
            }
            out.push(']');
        }
        Value::Map(map) => write_map(map, out),
    }
}

fn write_map(map: &[(String, Value)], out: &mut String) {
    let mut members: Vec<&(String, Value)> = map.iter().collect();
    members.sort_by(|a, b| a.0.encode_utf16().cmp(b.0.encode_utf16()));
    out.push('{');
    for (index, (key, value)) in members.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        write_text(key, out);
        out.push(':');
        write_value(value, out);
    }
    out.push('}');
}

fn write_text(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            c if c < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Parse JSON (RFC 8259, UTF-8, no byte order mark) into a value.
pub fn parse(bytes: &[u8], rules: Rules) -> Outcome<Value> {
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => return refuse("", format!("not UTF-8 at byte {}", error.valid_up_to())),
    };
    let mut parser = Parser { text, at: 0, rules };
    parser.space();
    let value = parser.value(1, "")?;
    parser.space();
    if parser.at < text.len() {
        return parser.unexpected("", "the end");
    }
    Ok(value)
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    rules: Rules,
}

impl Parser<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn unexpected<T>(&self, path: &str, expected: &str) -> Outcome<T> {
        match self.text[self.at..].chars().next() {
            Some(c) => refuse(
                path,
                format!("{c:?} at byte {} where {expected} was expected", self.at),
            ),
            None => refuse(path, format!("ends where {expected} was expected")),
        }
    }

    fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    fn word(&mut self, word: &str, value: Value, path: &str) -> Outcome<Value> {
        if self.text[self.at..].starts_with(word) {
            self.at += word.len();
            return Ok(value);
        }
        self.unexpected(path, "a value")
    }

    fn value(&mut self, depth: usize, path: &str) -> Outcome<Value> {
        match self.peek() {
            Some(b'{') => self.map(depth, path),
            Some(b'[') => self.list(depth, path),
            Some(b'"') => Ok(Value::Text(self.string(path)?)),
            Some(b'-' | b'0'..=b'9') => self.number(path),
            Some(b't') => self.word("true", Value::Bool(true), path),
            Some(b'f') => self.word("false", Value::Bool(false), path),
            Some(b'n') => self.word("null", Value::Null, path),
            _ => self.unexpected(path, "a value"),
        }
    }

    fn map(&mut self, depth: usize, path: &str) -> Outcome<Value> {
        check_depth(depth, self.rules)?;
        self.at += 1;
        let mut map = Vec::new();
        self.space();
        if self.eat(b'}') {
            return Ok(Value::Map(map));
        }
        loop {
            self.space();
            if self.peek() != Some(b'"') {
                return self.unexpected(path, "a key");
            }
            let key = self.string(path)?;
            check_key(&key, self.rules, path)?;
            self.space();
            if !self.eat(b':') {
                return self.unexpected(path, "':'");
            }
            self.space();
            let value = self.value(depth + 1, &member(path, &key))?;
            map.push((key, value));
            self.space();
            if self.eat(b'}') {
                check_distinct(&map, path)?;
                return Ok(Value::Map(map));
            }
            if !self.eat(b',') {
                return self.unexpected(path, "',' or '}'");
            }
        }
    }

    fn list(&mut self, depth: usize, path: &str) -> Outcome<Value> {
        check_depth(depth, self.rules)?;
        self.at += 1;
        let mut items = Vec::new();
        self.space();
        if self.eat(b']') {
            return Ok(Value::List(items));
        }
        loop {
            self.space();
            items.push(self.value(depth + 1, &format!("{path}[{}]", items.len()))?);
            self.space();
            if self.eat(b']') {
                return Ok(Value::List(items));
            }
            if !self.eat(b',') {
                return self.unexpected(path, "',' or ']'");
            }
        }
    }

    fn digits(&mut self) -> usize {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        self.at - start
    }

    fn number(&mut self, path: &str) -> Outcome<Value> {
        let start = self.at;
        self.eat(b'-');
        let leading_zero = self.peek() == Some(b'0');
        let count = self.digits();
        if count == 0 || (leading_zero && count > 1) {
            return self.unexpected(path, "a number without leading zeros");
        }
        let mut whole = true;
        if self.eat(b'.') {
            whole = false;
            if self.digits() == 0 {
                return self.unexpected(path, "a digit");
            }
        }
        if self.eat(b'e') || self.eat(b'E') {
            whole = false;
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            if self.digits() == 0 {
                return self.unexpected(path, "a digit");
            }
        }
        let literal = &self.text[start..self.at];
        if whole {
            return integer(literal)
                .map(Value::Number)
                .or_else(|reason| refuse(path, reason));
        }
        match literal.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(Value::Number(number)),
            _ => refuse(path, "the number is too large for a double"),
        }
    }

    fn string(&mut self, path: &str) -> Outcome<String> {
        self.at += 1;
        let mut out = String::new();
        loop {
            let rest = &self.text[self.at..];
            let Some(stop) = rest.find(|c: char| c == '"' || c == '\\' || c < ' ') else {
                self.at = self.text.len();
                return self.unexpected(path, "'\"'");
            };
            out.push_str(&rest[..stop]);
            self.at += stop;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(out);
                }
                Some(b'\\') => out.push(self.escape(path)?),
                _ => return self.unexpected(path, "an escaped control character"),
            }
        }
    }

    fn escape(&mut self, path: &str) -> Outcome<char> {
        self.at += 1;
        let letter = self.peek();
        self.at += usize::from(letter.is_some_and(|byte| byte < 0x80));
        Ok(match letter {
            Some(c @ (b'"' | b'\\' | b'/')) => char::from(c),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => return self.unicode_escape(path),
            _ => return refuse(path, format!("an unknown escape before byte {}", self.at)),
        })
    }

    fn hex4(&mut self, path: &str) -> Outcome<u32> {
        let digits = self
            .text
            .get(self.at..self.at + 4)
            .filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let Some(digits) = digits else {
            return self.unexpected(path, "four hex digits");
        };
        self.at += 4;
        Ok(u32::from_str_radix(digits, 16).expect("four hex digits fit"))
    }

    fn unicode_escape(&mut self, path: &str) -> Outcome<char> {
        let first = self.hex4(path)?;
        if !(0xd800..0xe000).contains(&first) {
            return Ok(char::from_u32(first).expect("no surrogate, below 0x10000"));
        }
        if first < 0xdc00 && self.text[self.at..].starts_with("\\u") {
            self.at += 2;
            let second = self.hex4(path)?;
            if (0xdc00..0xe000).contains(&second) {
                let code = 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
                return Ok(char::from_u32(code).expect("a pair gives a scalar"));
            }
        }
        refuse(path, "a lone surrogate, which is not Unicode text")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> Outcome<String> {
        parse(text.as_bytes(), METADATA).map(|value| String::from_utf8(write(&value)).unwrap())
    }

    #[test]
    fn keys_sort_by_utf16_code_units() {
        assert_eq!(
            canonical("{\"\\uffff\":1,\"\\ud800\\udc00\":2}").unwrap(),
            "{\"\u{10000}\":2,\"\u{ffff}\":1}"
        );
    }

    #[test]
    fn numbers_print_as_ecmascript_does() {
        assert_eq!(
            canonical("[1.0,-0.0,-0,1e21,1e-7,0.1]").unwrap(),
            "[1,0,0,1e+21,1e-7,0.1]"
        );
        assert_eq!(
            canonical("[1152921504606846976,1152921504606847000]").unwrap(),
            "[1152921504606847000,1152921504606847000]"
        );
    }

    #[test]
    fn what_json_is_not_is_refused() {
        for text in [
            "",
            "{",
            "[1,]",
            "{\"a\":1,}",
            "01",
            "1.",
            ".5",
            "+1",
            "nul",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\u{1}\"",
            "1 2",
            "9007199254740993",
        ] {
            assert!(canonical(text).is_err(), "{text:?} was taken");
        }
    }

    #[test]
    fn a_duplicate_key_is_named_with_its_path() {
        let refusal = canonical("{\"a\":{\"b\":1,\"b\":2}}").unwrap_err();
        assert_eq!(
            (refusal.path.as_str(), refusal.reason.as_str()),
            (".a", "the key \"b\" stands twice")
        );
    }
}
