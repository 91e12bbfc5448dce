//! A trie as a file, so that a restart hashes nothing.
//!
//! ```text
//! "ETR1" | crc32c u32 (of all that follows) | count u64 | root 32 | 16 zeros                        header: 64 bytes
//! | (K 32 | value 32 | location u64 | node 32) * count        by ascending K, little-endian; node: the hash of the node that
//!                                                            divides this leaf from the next, zeros after the last
//! ```
//! A projection in the node's own folder. The hashes in it are believed: whoever can write there can only make this node
//! give proofs that no verifier accepts. The checksum tells a rotten file, the header's root one that is not whole.
use super::hashing::{Place, ZERO};
use super::snapshot::Snapshot;
use super::tree::{LEAF_ROW, Sorted, Trie, grown, leaf_of};

/// Bytes of a leaf in the file.
pub const ROW: usize = LEAF_ROW + 32;
const MAGIC: &[u8; 4] = b"ETR1";
const HEADER: usize = 64;

/// Write a snapshot.
pub fn save(snapshot: &Snapshot) -> Vec<u8> {
    let count = snapshot.count();
    let mut file = Vec::with_capacity(HEADER + count as usize * ROW);
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&[0; 4]);
    file.extend_from_slice(&count.to_le_bytes());
    file.extend_from_slice(&snapshot.root());
    file.extend_from_slice(&[0; 16]);
    snapshot.tree().each(&ZERO, &mut |leaf, node| {
        file.extend_from_slice(&leaf.key);
        file.extend_from_slice(&leaf.value);
        file.extend_from_slice(&leaf.location.to_le_bytes());
        file.extend_from_slice(node);
    });
    let sum = crc32c::crc32c(&file[8..]);
    file[4..8].copy_from_slice(&sum.to_le_bytes());
    file
}

/// Read a file back: what `save` gave, and nothing else.
pub fn load(file: &[u8]) -> Result<Trie, &'static str> {
    let (header, rows) = file.split_at_checked(HEADER).ok_or("it has no header")?;
    if &header[..4] != MAGIC || header[48..] != [0; 16] {
        return Err("it is no saved trie");
    }
    let count = u64::from_le_bytes(header[8..16].try_into().expect("8 bytes"));
    let whole = usize::try_from(count)
        .ok()
        .and_then(|count| count.checked_mul(ROW));
    if whole != Some(rows.len()) {
        return Err("its size is not that of its leaves");
    }
    if crc32c::crc32c(&file[8..]).to_le_bytes() != header[4..8] {
        return Err("its checksum does not hold");
    }
    let stored = Stored(rows);
    let count = rows.len() / ROW;
    stored.check(count)?;
    let mut trie = Trie::from(grown(&stored, 0..count, 0));
    if trie.commit().root() != header[16..48] {
        return Err("its hashes do not lead to its root");
    }
    Ok(trie)
}

struct Stored<'a>(&'a [u8]);

impl Stored<'_> {
    fn row(&self, at: usize) -> &[u8] {
        &self.0[at * ROW..][..ROW]
    }

    fn check(&self, count: usize) -> Result<(), &'static str> {
        for at in 1..count {
            let (before, row) = (self.row(at - 1), self.row(at));
            if before[..32] >= row[..32] {
                return Err("its keys do not ascend");
            }
            if before[LEAF_ROW..] == ZERO {
                return Err("the hash of a node is missing");
            }
        }
        match count.checked_sub(1) {
            Some(last) if self.row(last)[LEAF_ROW..] != ZERO => {
                Err("a hash stands after the last leaf")
            }
            _ => Ok(()),
        }
    }
}

impl Sorted for Stored<'_> {
    fn bit(&self, at: usize, depth: usize) -> bool {
        self.row(at)[depth / 8] & (0x80 >> (depth % 8)) != 0
    }

    fn place(&self, at: usize) -> Place {
        let row = self.row(at);
        Place {
            leaf: leaf_of(row),
            node: row[LEAF_ROW..].try_into().expect("32 bytes"),
        }
    }
}
