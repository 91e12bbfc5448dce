//! How an input is made: of bytes of its own, or of a good input and edits, so that a fuzzer gets past the first check.
use bolero::TypeGenerator;

/// Edits of one input.
const EDITS: usize = 8;

/// A recipe for one input.
#[derive(Debug, TypeGenerator)]
pub struct Recipe {
    pub base: Base,
    edits: Vec<Edit>,
    /// What is put right again: 0 nothing, 1 checksums, 2 all that a forger can.
    mend: u8,
}

#[derive(Debug, TypeGenerator)]
pub enum Base {
    Raw(Vec<u8>),
    Good(u8),
    Joined(u8, u8),
}

/// One edit; positions count from the start, modulo the length.
#[derive(Debug, TypeGenerator)]
pub enum Edit {
    Flip(u16, u8),
    Set(u16, u8),
    Insert(u16, Vec<u8>),
    Remove(u16, u8),
    Repeat(u16, u8, u16, u8),
    Cut(u16),
    Zeros(u16, u16),
    Number(u16, Width, Extreme),
    Move(u16, u16, u8),
}

#[derive(Debug, TypeGenerator)]
pub enum Width {
    U16,
    U32,
    U64,
}

#[derive(Debug, TypeGenerator)]
pub enum Extreme {
    Zero,
    One,
    Most,
    Half,
    AlmostMost,
    OneMore,
    OneLess,
    Any(u64),
}

impl Recipe {
    /// Make the input; `mend` puts right what the level says.
    pub fn bytes(&self, good: &[Vec<u8>], mend: impl Fn(&mut [u8], u8)) -> Vec<u8> {
        let of = |number: &u8| good[usize::from(*number) % good.len()].clone();
        let mut bytes = match &self.base {
            Base::Raw(bytes) => bytes.clone(),
            Base::Good(number) => of(number),
            Base::Joined(first, second) => [of(first), of(second)].concat(),
        };
        for edit in self.edits.iter().take(EDITS) {
            edit.apply(&mut bytes);
        }
        match self.mend % 3 {
            0 => {}
            level => mend(&mut bytes, level),
        }
        bytes
    }
}

impl Edit {
    fn apply(&self, bytes: &mut Vec<u8>) {
        let at = |at: &u16| usize::from(*at) % (bytes.len() + 1);
        let span = |from: &u16, length: &u8| {
            let from = at(from);
            from..(from + usize::from(*length)).min(bytes.len())
        };
        match self {
            Self::Flip(place, bit) => {
                let place = at(place);
                if let Some(byte) = bytes.get_mut(place) {
                    *byte ^= 1 << (bit % 8);
                }
            }
            Self::Set(place, value) => {
                let place = at(place);
                if let Some(byte) = bytes.get_mut(place) {
                    *byte = *value;
                }
            }
            Self::Insert(place, more) => {
                let place = at(place);
                bytes.splice(place..place, more.iter().copied());
            }
            Self::Remove(place, length) => drop(bytes.drain(span(place, length))),
            Self::Repeat(place, length, to, times) => {
                let (piece, to) = (bytes[span(place, length)].to_vec(), at(to));
                bytes.splice(to..to, piece.repeat(usize::from(*times)));
            }
            Self::Cut(place) => bytes.truncate(at(place)),
            Self::Zeros(place, count) => {
                let place = at(place);
                bytes.splice(
                    place..place,
                    std::iter::repeat_n(0, usize::from(*count % 4096)),
                );
            }
            Self::Number(place, width, extreme) => {
                let place = at(place);
                extreme.write(bytes, place, width);
            }
            Self::Move(place, to, length) => {
                let piece: Vec<u8> = bytes.drain(span(place, length)).collect();
                let to = usize::from(*to) % (bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
        }
    }
}

impl Extreme {
    /// Write a number over what stands there, in either order of its bytes.
    fn write(&self, bytes: &mut [u8], at: usize, width: &Width) {
        let size = match width {
            Width::U16 => 2,
            Width::U32 => 4,
            Width::U64 => 8,
        };
        let Some(place) = bytes.get_mut(at..at + size) else {
            return;
        };
        let most = u64::MAX >> (64 - 8 * size);
        let mut old = [0; 8];
        old[..size].copy_from_slice(place);
        let old = u64::from_le_bytes(old);
        let value = match self {
            Self::Zero => 0,
            Self::One => 1,
            Self::Most => most,
            Self::Half => most / 2 + 1,
            Self::AlmostMost => most - 7,
            Self::OneMore => old.wrapping_add(1),
            Self::OneLess => old.wrapping_sub(1),
            Self::Any(value) => *value,
        };
        place.copy_from_slice(&value.to_le_bytes()[..size]);
        if value & 0x80 != 0 {
            place.reverse();
        }
    }
}
