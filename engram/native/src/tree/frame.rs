//! Inclusion paths of the leaves of one frame, at the frame's end, from the tree's right edge before it.
use super::{Frontier, node};
use crate::hash::Digest;

/// The nodes over a frame's leaves, level by level: each level begins with the complete subtree that stood before the
/// frame there, where there was one, so that its first index is even. An odd node at the end is the next level's too.
pub struct FramePaths {
    before: u64,
    levels: Vec<Level>,
}

struct Level {
    first: u64,
    nodes: Vec<Digest>,
}

impl FramePaths {
    pub fn new(before: &Frontier, leaves: Vec<Digest>) -> Self {
        let mut kept = before.roots.iter().rev();
        let mut levels = Vec::new();
        let mut first = before.size;
        let mut nodes = leaves;
        loop {
            if first & 1 == 1 {
                let stood = kept.next().expect("one root for each bit of the size");
                nodes.insert(0, *stood);
                first -= 1;
            }
            let above = nodes.chunks(2).map(|pair| match pair {
                [left, right] => node(left, right),
                rest => rest[0],
            });
            let above: Vec<Digest> = above.collect();
            let done = first == 0 && nodes.len() <= 1;
            levels.push(Level { first, nodes });
            if done {
                break;
            }
            first >>= 1;
            nodes = above;
        }
        Self {
            before: before.size,
            levels,
        }
    }

    /// The places (level, index in it) of the path of the frame's leaf `number`, leaf upwards.
    pub fn path(&self, number: usize) -> Vec<(usize, usize)> {
        let mut at = self.before + number as u64;
        let mut path = Vec::new();
        for (height, level) in self.levels.iter().enumerate() {
            let sibling = ((at ^ 1) - level.first) as usize;
            if sibling < level.nodes.len() {
                path.push((height, sibling));
            }
            at >>= 1;
        }
        path
    }

    /// How many nodes each level has.
    pub fn widths(&self) -> impl Iterator<Item = usize> + '_ {
        self.levels.iter().map(|level| level.nodes.len())
    }

    pub fn hash(&self, (height, index): (usize, usize)) -> &Digest {
        &self.levels[height].nodes[index]
    }
}

#[cfg(test)]
mod tests {
    use super::super::{leaf, verify_inclusion};
    use super::*;

    #[test]
    fn every_event_of_every_frame_is_proved_at_its_end() {
        let events: Vec<[u8; 1]> = (0..80u8).map(|n| [n]).collect();
        let mut before = Frontier::default();
        for start in 0..events.len() {
            let mut after = before.clone();
            let mut leaves = Vec::new();
            for event in &events[start..] {
                after.append(event);
                leaves.push(leaf(event));
                let frame = FramePaths::new(&before, leaves.clone());
                for (number, leaf) in leaves.iter().enumerate() {
                    let path = frame.path(number).into_iter();
                    let path: Vec<Digest> = path.map(|place| *frame.hash(place)).collect();
                    let position = (start + number) as u64;
                    let proved = verify_inclusion(leaf, position, after.size, &path, &after.root());
                    assert!(proved, "{position} of {}", after.size);
                }
            }
            before.append(&events[start]);
        }
    }
}
