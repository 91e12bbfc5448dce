//! Where each message of a stream ends.
use super::{Head, Kind, head_size, read_head};

/// Why a stream of messages cannot be followed any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The byte 0xc1, which msgpack reserves: this is not msgpack.
    Reserved,
    /// More containers inside one another than `max_depth`.
    TooDeep,
    /// More bytes came, or were announced, than `max_bytes`.
    TooLarge,
}

impl Fault {
    pub fn name(self) -> &'static str {
        match self {
            Fault::Reserved => "reserved",
            Fault::TooDeep => "too_deep",
            Fault::TooLarge => "too_large",
        }
    }
}

/// Finds the end of each message in a stream, however the stream is cut.
#[derive(Debug)]
pub struct Scanner {
    max_depth: usize,
    max_bytes: usize,
    /// Values that each open container still wants, the outermost first.
    open: Vec<u64>,
    head: [u8; 5],
    head_len: usize,
    /// Payload bytes that the current value still wants.
    payload: u64,
    /// Bytes of the current message so far.
    size: usize,
}

impl Scanner {
    pub fn new(max_depth: usize, max_bytes: usize) -> Self {
        Scanner {
            max_depth,
            max_bytes,
            open: Vec::new(),
            head: [0; 5],
            head_len: 0,
            payload: 0,
            size: 0,
        }
    }

    /// Take bytes up to the end of the current message. Some(n): it ended with the n-th byte of `data`, and the next
    /// call starts a new one. None: all of `data` is taken, and more is needed. After a fault the scanner is of no
    /// use: nobody knows where the next message would start.
    pub fn feed(&mut self, data: &[u8]) -> Result<Option<usize>, Fault> {
        let mut at = 0;
        while at < data.len() {
            if self.payload > 0 {
                let step = self.payload.min((data.len() - at) as u64) as usize;
                self.take(step)?;
                at += step;
                self.payload -= step as u64;
            } else {
                self.take(1)?;
                self.head[self.head_len] = data[at];
                self.head_len += 1;
                at += 1;
                if self.head_len < head_size(self.head[0]).ok_or(Fault::Reserved)? {
                    continue;
                }
                let head = read_head(&self.head[..self.head_len]);
                self.head_len = 0;
                if self.enter(head)? {
                    continue;
                }
            }
            if self.payload == 0 && self.leave() {
                self.size = 0;
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    fn take(&mut self, count: usize) -> Result<(), Fault> {
        self.size += count;
        if self.size > self.max_bytes {
            Err(Fault::TooLarge)
        } else {
            Ok(())
        }
    }

    /// Start a value. True: it is a container with values to come.
    fn enter(&mut self, head: Head) -> Result<bool, Fault> {
        if !matches!(head.kind, Kind::Array | Kind::Map) {
            if head.count > (self.max_bytes - self.size) as u64 {
                return Err(Fault::TooLarge);
            }
            self.payload = head.count;
            return Ok(false);
        }
        if self.open.len() == self.max_depth {
            return Err(Fault::TooDeep);
        }
        if head.count == 0 {
            return Ok(false);
        }
        self.open.push(if head.kind == Kind::Map {
            head.count * 2
        } else {
            head.count
        });
        Ok(true)
    }

    /// End a value, and every container that it was the last of. True: the message ended.
    fn leave(&mut self) -> bool {
        while let Some(wanted) = self.open.last_mut() {
            *wanted -= 1;
            if *wanted > 0 {
                return false;
            }
            self.open.pop();
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::MAX_DEPTH;
    use super::*;

    fn scan(data: &[u8], step: usize) -> (Vec<usize>, Option<Fault>) {
        let mut scanner = Scanner::new(MAX_DEPTH, 1000);
        let (mut ends, mut done) = (Vec::new(), 0);
        for chunk in data.chunks(step) {
            let mut rest = chunk;
            while !rest.is_empty() {
                match scanner.feed(rest) {
                    Ok(None) => rest = &[],
                    Ok(Some(end)) => {
                        ends.push(done + chunk.len() - rest.len() + end);
                        rest = &rest[end..];
                    }
                    Err(fault) => return (ends, Some(fault)),
                }
            }
            done += chunk.len();
        }
        (ends, None)
    }

    #[test]
    fn ends_are_the_same_however_the_stream_is_cut() {
        let stream = b"\x94\x00\x07\xa3get\x91\x81\xa3cid\xda\x00\x03abc\xc0\x90\xcb12345678\xc7\x02\x05ab\xd8\x01\
            0123456789abcdef\xdf\x00\x00\x00\x01\xa0\xcc\x05\x92\x01";
        let whole = scan(stream, stream.len());
        assert_eq!(whole, (vec![19, 20, 21, 30, 35, 53, 61], None));
        for step in 1..stream.len() {
            assert_eq!(scan(stream, step), whole, "cut every {step} bytes");
        }
    }

    #[test]
    fn depth_is_counted_in_containers() {
        let nested = |depth| [vec![0x91; depth], vec![0xc0]].concat();
        assert_eq!(scan(&nested(32), 5), (vec![33], None));
        assert_eq!(scan(&nested(33), 5), (vec![], Some(Fault::TooDeep)));
        assert_eq!(
            scan(&[vec![0x91; 32], vec![0x90]].concat(), 5),
            (vec![], Some(Fault::TooDeep))
        );
    }

    #[test]
    fn a_message_over_the_limit_is_refused_as_soon_as_it_shows() {
        assert_eq!(
            scan(&[vec![0xda, 0x03, 0xe5], vec![b'a'; 997]].concat(), 7),
            (vec![1000], None)
        );
        assert_eq!(scan(b"\xda\x03\xe6", 3), (vec![], Some(Fault::TooLarge)));
        assert_eq!(
            scan(b"\xc6\xff\xff\xff\xff", 1),
            (vec![], Some(Fault::TooLarge))
        );
        assert_eq!(scan(b"\xdd\xff\xff\xff\xff", 1), (vec![], None));
        assert_eq!(
            scan(
                &[vec![0xdd, 0xff, 0xff, 0xff, 0xff], vec![0; 996]].concat(),
                64
            )
            .1,
            Some(Fault::TooLarge)
        );
        assert_eq!(scan(b"\x01\xc1", 1), (vec![1], Some(Fault::Reserved)));
    }
}
