//! A part of a file, mapped into memory: read where it lies, and given back when dropped.
use std::fs::File;
use std::io;
use std::ops::Deref;

use memmap2::{Mmap, MmapOptions};

/// Bytes of a file that must keep them as long as this lives.
///
/// A file that is replaced by rename, as the model's files are, keeps its bytes for those who have it open. One that is
/// cut short in place takes the pages away: reading them then ends the process (SIGBUS).
pub struct Mapped(Mmap);

impl Mapped {
    /// Map `length` bytes from `start`; an error if the file ends before them.
    pub fn new(file: &File, start: u64, length: u64) -> io::Result<Self> {
        let size = file.metadata()?.len();
        let end = start.checked_add(length).filter(|end| *end <= size);
        let (Some(_), Ok(length)) = (end, usize::try_from(length)) else {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("{length} bytes from {start} are wanted, and the file has {size}"),
            ));
        };
        let mut options = MmapOptions::new();
        options.offset(start).len(length);
        // SAFETY: the bytes lie within the file, and nobody writes to a model's file in place (see the type).
        unsafe { options.map(file) }.map(Self)
    }
}

impl Deref for Mapped {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
