//! What lives, folded from events alone: memberships, records and heads, as the state tries have them (formats.md §4, §8).
//!
//! For who audits a log: it looks at no body, so that a damaged one hides nothing of the log, and keeps of ten million
//! memberships some hundred bytes each. What has changed since the tries were last asked is kept apart.
use std::collections::{HashMap, HashSet};

use crate::hash::{Digest, sha256};

/// What was said last of a membership or a key: when, whether that ended it, and of a key what it names.
type Said = (u64, bool, Digest);

#[derive(Default)]
struct Record {
    lives: u32,
    /// Whether the trie had it when it was last told of changes.
    told: bool,
}

/// Leaves that came, or have another value now, K | value; and K of those that went.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub inserted: Vec<(Digest, Digest)>,
    pub removed: Vec<Digest>,
}

#[derive(Default)]
pub struct Living {
    memberships: HashMap<Digest, (u64, bool)>,
    records: HashMap<Digest, Record>,
    /// Records whose lives began or ended, with the payload's hash of the last beginning.
    changed: HashMap<Digest, Digest>,
    heads: HashMap<Digest, Said>,
    heads_told: HashSet<Digest>,
    heads_changed: HashSet<Digest>,
}

impl Living {
    /// A signer put a record; give by how many the namespace's living memberships changed: 1 or 0.
    pub fn stored(
        &mut self,
        ns: &Digest,
        digest: &Digest,
        signer: &Digest,
        issued: u64,
        payload: &Digest,
    ) -> i8 {
        let Some(was_alive) = self.say(ns, digest, signer, (issued, false)) else {
            return 0;
        };
        if was_alive == Some(true) {
            return 0;
        }
        let record = self.records.entry(*digest).or_default();
        record.lives += 1;
        if record.lives == 1 {
            self.changed.insert(*digest, *payload);
        }
        1
    }

    /// A signer ended its membership; give by how many the namespace's living memberships changed: -1 or 0.
    pub fn deleted(&mut self, ns: &Digest, digest: &Digest, signer: &Digest, issued: u64) -> i8 {
        if self.say(ns, digest, signer, (issued, true)) != Some(Some(true)) {
            return 0;
        }
        let record = self
            .records
            .get_mut(digest)
            .expect("a living membership has a record");
        record.lives -= 1;
        if record.lives == 0 {
            self.changed.entry(*digest).or_insert([0; 32]);
        }
        -1
    }

    /// A key names a record from here on, or nothing; give by how many the namespace's living keys changed.
    pub fn key_set(&mut self, key: &Digest, named: Option<&Digest>, issued: u64) -> i8 {
        let said = (issued, named.is_none(), named.copied().unwrap_or_default());
        let before = self.heads.get(key).copied();
        if before.is_some_and(|before| before >= said) {
            return 0;
        }
        self.heads.insert(*key, said);
        self.heads_changed.insert(*key);
        let was = before.is_some_and(|(_, removed, _)| !removed);
        i8::from(named.is_some()) - i8::from(was)
    }

    /// How many memberships of a record live.
    pub fn lives(&self, digest: &Digest) -> u32 {
        self.records.get(digest).map_or(0, |record| record.lives)
    }

    /// Give what the trie of records has to be told since the last call.
    pub fn changes_of_records(&mut self) -> Changes {
        let mut changes = Changes::default();
        for (digest, payload) in self.changed.drain() {
            let record = self
                .records
                .get_mut(&digest)
                .expect("what changed is there");
            if record.lives > 0 {
                changes.inserted.push((key_of(&digest), payload));
            } else if record.told {
                changes.removed.push(key_of(&digest));
            }
            record.told = record.lives > 0;
        }
        changes
    }

    /// Give what the trie of heads has to be told since the last call.
    pub fn changes_of_heads(&mut self) -> Changes {
        let mut changes = Changes::default();
        for key in self.heads_changed.drain() {
            let (_, removed, named) = self.heads[&key];
            if !removed {
                changes.inserted.push((key, named));
                self.heads_told.insert(key);
            } else if self.heads_told.remove(&key) {
                changes.removed.push(key);
            }
        }
        changes
    }

    /// Note what a signer says of a record, if it counts; give whether it lived before, None where nothing was said.
    fn say(
        &mut self,
        ns: &Digest,
        digest: &Digest,
        signer: &Digest,
        said: (u64, bool),
    ) -> Option<Option<bool>> {
        let key = sha256(&[ns, digest, signer]);
        let before = self.memberships.get(&key).copied();
        if before.is_some_and(|before| before >= said) {
            return None;
        }
        self.memberships.insert(key, said);
        Some(before.map(|(_, dead)| !dead))
    }
}

/// A record's K: the hash of its digest in hex.
fn key_of(digest: &Digest) -> Digest {
    let mut hex = [0; 64];
    for (pair, byte) in hex.chunks_exact_mut(2).zip(digest) {
        for (letter, half) in pair.iter_mut().zip([byte >> 4, byte & 15]) {
            *letter = b"0123456789abcdef"[usize::from(half)];
        }
    }
    sha256(&[&hex])
}

#[cfg(test)]
mod tests {
    use super::*;

    const NS: Digest = [1; 32];
    const RECORD: Digest = [2; 32];
    const PAYLOAD: Digest = [3; 32];
    const ALICE: Digest = [4; 32];
    const BOB: Digest = [5; 32];

    fn inserted() -> Changes {
        Changes {
            inserted: vec![(key_of(&RECORD), PAYLOAD)],
            removed: vec![],
        }
    }

    #[test]
    fn a_record_lives_while_a_membership_does() {
        let mut living = Living::default();
        assert_eq!(living.stored(&NS, &RECORD, &ALICE, 1, &PAYLOAD), 1);
        assert_eq!(living.stored(&NS, &RECORD, &BOB, 1, &PAYLOAD), 1);
        assert_eq!(living.changes_of_records(), inserted());
        assert_eq!(living.deleted(&NS, &RECORD, &ALICE, 2), -1);
        assert_eq!(living.changes_of_records(), Changes::default());
        assert_eq!(living.deleted(&NS, &RECORD, &BOB, 2), -1);
        let removed = Changes {
            inserted: vec![],
            removed: vec![key_of(&RECORD)],
        };
        assert_eq!(living.changes_of_records(), removed);
        assert_eq!(living.lives(&RECORD), 0);
    }

    #[test]
    fn what_came_and_went_between_two_looks_is_no_change() {
        let mut living = Living::default();
        living.stored(&NS, &RECORD, &ALICE, 1, &PAYLOAD);
        living.deleted(&NS, &RECORD, &ALICE, 2);
        assert_eq!(living.changes_of_records(), Changes::default());
        living.stored(&NS, &RECORD, &ALICE, 3, &PAYLOAD);
        assert_eq!(living.changes_of_records(), inserted());
        living.deleted(&NS, &RECORD, &ALICE, 4);
        living.stored(&NS, &RECORD, &ALICE, 5, &PAYLOAD);
        assert_eq!(living.changes_of_records(), inserted());
    }

    #[test]
    fn the_later_word_counts_and_at_a_tie_the_end() {
        let mut living = Living::default();
        assert_eq!(living.stored(&NS, &RECORD, &ALICE, 5, &PAYLOAD), 1);
        assert_eq!(living.deleted(&NS, &RECORD, &ALICE, 4), 0);
        assert_eq!(living.deleted(&NS, &RECORD, &ALICE, 5), -1);
        assert_eq!(living.stored(&NS, &RECORD, &ALICE, 5, &PAYLOAD), 0);
        assert_eq!(living.deleted(&NS, &RECORD, &BOB, 9), 0);
        assert_eq!(living.stored(&NS, &RECORD, &BOB, 9, &PAYLOAD), 0);
        assert_eq!(living.stored(&NS, &RECORD, &BOB, 10, &PAYLOAD), 1);
    }

    #[test]
    fn of_a_key_the_later_word_counts_then_its_end_then_the_higher_name() {
        let (key, low, high) = ([7; 32], [8; 32], [9; 32]);
        let mut living = Living::default();
        assert_eq!(living.key_set(&key, Some(&low), 1), 1);
        assert_eq!(living.key_set(&key, Some(&high), 1), 0);
        assert_eq!(living.key_set(&key, Some(&low), 1), 0);
        assert_eq!(living.changes_of_heads().inserted, [(key, high)]);
        assert_eq!(living.key_set(&key, None, 1), -1);
        assert_eq!(living.key_set(&key, Some(&high), 1), 0);
        assert_eq!(living.changes_of_heads().removed, [key]);
        assert_eq!(living.key_set(&key, None, 2), 0);
        assert_eq!(living.changes_of_heads(), Changes::default());
    }
}
