use super::hashing::{ZERO, leaf_hash, node_hash};
use super::*;
use crate::hash::{Digest, sha256};

/// The definition, from all the leaves.
fn plain_root(leaves: &[(Digest, Digest)], depth: usize) -> Digest {
    match leaves {
        [] => ZERO,
        [(key, value)] => leaf_hash(key, value),
        _ => {
            let ones = |(key, _): &(Digest, Digest)| hashing::bit(key, depth);
            let split = leaves.partition_point(|leaf| !ones(leaf));
            let (left, right) = leaves.split_at(split);
            node_hash(
                (left.len() as u64, plain_root(left, depth + 1)),
                (right.len() as u64, plain_root(right, depth + 1)),
            )
        }
    }
}

/// Keys of which many share long prefixes: a hash, its first bytes cut to a few values.
fn leaf(number: u32) -> Leaf {
    let mut key = sha256(&[&number.to_be_bytes()]);
    if number.is_multiple_of(3) {
        key[..26].fill((number % 2) as u8);
    }
    Leaf {
        key,
        value: sha256(&[b"value", &number.to_be_bytes()]),
        location: u64::from(number) << 6,
    }
}

fn rows(leaves: &[Leaf]) -> Vec<u8> {
    let row = |leaf: &Leaf| [&leaf.key[..], &leaf.value, &leaf.location.to_le_bytes()].concat();
    leaves.iter().flat_map(row).collect()
}

fn sorted(leaves: &[Leaf]) -> Vec<Leaf> {
    let mut leaves = leaves.to_vec();
    leaves.sort_by_key(|leaf| leaf.key);
    leaves
}

fn expected(leaves: &[Leaf]) -> Digest {
    let pairs: Vec<_> = sorted(leaves)
        .iter()
        .map(|leaf| (leaf.key, leaf.value))
        .collect();
    plain_root(&pairs, 0)
}

fn sent(leaves: &[Leaf]) -> Vec<Vec<u8>> {
    leaves
        .iter()
        .map(|leaf| [leaf.key, leaf.value].concat())
        .collect()
}

fn spans(keys: &[Digest]) -> Vec<(Digest, Digest)> {
    let mut keys = keys.to_vec();
    keys.sort();
    keys.into_iter().map(|key| (key, key)).collect()
}

const SIZES: [u32; 9] = [0, 1, 2, 3, 16, 17, 18, 100, 1000];

#[test]
fn built_inserted_and_loaded_tries_have_the_root_of_the_definition() {
    for size in SIZES {
        let leaves: Vec<Leaf> = (0..size).map(leaf).collect();
        let mut built = Trie::build(&rows(&leaves)).unwrap();
        let mut inserted = Trie::default();
        leaves
            .iter()
            .for_each(|leaf| assert!(inserted.insert(*leaf)));
        let snapshot = built.commit();
        assert_eq!(snapshot.root(), expected(&leaves), "{size}");
        assert_eq!(inserted.commit().root(), snapshot.root(), "{size}");
        let file = save(&snapshot);
        assert_eq!(save(&inserted.commit()), file);
        assert_eq!(save(&load(&file).unwrap().commit()), file);
    }
}

#[test]
fn a_trie_that_two_threads_build_is_the_same() {
    let leaves: Vec<Leaf> = (0..40_000).map(leaf).collect();
    let mut trie = Trie::build(&rows(&leaves)).unwrap();
    assert_eq!(trie.commit().root(), expected(&leaves));
}

#[test]
fn a_snapshot_stays_while_the_writer_goes_on_and_what_is_removed_leaves_no_trace() {
    let mut trie = Trie::default();
    let mut kept = Vec::new();
    for round in 0..20 {
        for number in round * 30..round * 30 + 60 {
            trie.insert(leaf(number));
        }
        for number in (round * 30..round * 30 + 30).step_by(2) {
            assert!(trie.remove(&leaf(number).key));
            assert!(!trie.remove(&leaf(number).key));
        }
        let held: Vec<Leaf> = (0..round * 30 + 60)
            .filter(|number| *number >= round * 30 + 30 || number % 2 == 1)
            .map(leaf)
            .collect();
        kept.push((trie.commit(), held));
    }
    for (snapshot, held) in &kept {
        assert_eq!(snapshot.root(), expected(held));
        for (rank, leaf) in sorted(held).iter().enumerate() {
            assert_eq!(snapshot.leaf(rank as u64), Some(leaf));
            assert_eq!(snapshot.find(&leaf.key), Some((rank as u64, leaf)));
        }
        assert_eq!(snapshot.leaf(held.len() as u64), None);
        assert_eq!(snapshot.find(&ZERO), None);
    }
    let (_, held) = kept.pop().unwrap();
    held.iter().for_each(|leaf| assert!(trie.remove(&leaf.key)));
    assert_eq!((trie.count(), trie.commit().root()), (0, ZERO));
}

#[test]
fn an_update_removes_first_and_of_a_key_that_comes_twice_the_last_one_stays() {
    let mut trie = Trie::build(&rows(&[leaf(1), leaf(2)])).unwrap();
    let newer = Leaf {
        location: 7,
        ..leaf(2)
    };
    let absent = leaf(9).key;
    let removed = [leaf(1).key, leaf(2).key, absent].concat();
    trie.update(&rows(&[leaf(3), leaf(2), newer]), &removed)
        .unwrap();
    let snapshot = trie.commit();
    assert_eq!(snapshot.count(), 2);
    assert_eq!(snapshot.find(&newer.key).unwrap().1.location, 7);
    assert!(trie.update(&[0; 71], &[]).is_err());
    assert!(trie.update(&[], &[0; 31]).is_err());
}

#[test]
fn what_is_proved_verifies_and_nothing_shorter_longer_or_changed_does() {
    for size in [1, 2, 7, 40] {
        let leaves: Vec<Leaf> = (0..size).map(leaf).collect();
        let snapshot = Trie::build(&rows(&leaves)).unwrap().commit();
        let (root, count) = (snapshot.root(), snapshot.count());
        for ranks in [
            vec![0],
            (0..count).collect(),
            (0..count).step_by(5).collect(),
        ] {
            let proof = snapshot.prove(Wanted::Ranks(&ranks)).unwrap();
            let opened = sent(&proof.leaves);
            let holds = |bytes: &[u8]| verify(&root, count, &opened, bytes, None);
            assert_eq!(holds(&proof.multiproof), Ok(ranks.clone()));
            for at in 0..proof.multiproof.len() {
                assert!(holds(&proof.multiproof[..at]).is_err());
                for flip in 0..8 {
                    let mut changed = proof.multiproof.clone();
                    changed[at] ^= 1 << flip;
                    assert!(holds(&changed).is_err(), "{size} {at} {flip}");
                }
            }
            assert!(holds(&[&proof.multiproof[..], &[0]].concat()).is_err());
            assert!(verify(&root, count + 1, &opened, &proof.multiproof, None).is_err());
            assert!(verify(&root, count, &opened[1..], &proof.multiproof, None).is_err());
        }
    }
}

#[test]
fn keys_that_are_held_and_keys_that_are_not_are_proved() {
    for size in [0, 1, 2, 7, 40, 300] {
        let leaves: Vec<Leaf> = (0..size).map(leaf).collect();
        let snapshot = Trie::build(&rows(&leaves)).unwrap().commit();
        let keys: Vec<Digest> = (0..size + 9)
            .step_by(3)
            .map(|number| leaf(number).key)
            .collect();
        let asked = spans(&keys);
        let proof = snapshot.prove(Wanted::Spans(&asked)).unwrap();
        let opened = sent(&proof.leaves);
        let check = |asked: &[_]| {
            verify(
                &snapshot.root(),
                snapshot.count(),
                &opened,
                &proof.multiproof,
                Some(asked),
            )
        };
        assert!(check(&asked).is_ok());
        for key in keys.iter().filter(|key| snapshot.find(key).is_some()) {
            assert!(proof.leaves.iter().any(|leaf| leaf.key == *key));
        }
        if size > 1 {
            let beyond = spans(&[keys.clone(), vec![leaf(1).key]].concat());
            let fewer = spans(&[leaf(0).key]);
            assert!(check(&beyond).is_err() || size == 2, "{size}");
            assert!(check(&fewer).is_err() || size == 2, "{size}");
        }
    }
}

#[test]
fn a_group_is_proved_whole() {
    let leaves: Vec<Leaf> = (0..3000).map(leaf).collect();
    let snapshot = Trie::build(&rows(&leaves)).unwrap().commit();
    let mut total = 0;
    for group in 0..1 << GROUP_BITS {
        let (first, count) = snapshot.group(group);
        assert_eq!(first, total);
        total += count;
        if group.is_multiple_of(97) || count > 1 {
            let asked = [group_span(group)];
            let proof = snapshot.prove(Wanted::Spans(&asked)).unwrap();
            let opened = sent(&proof.leaves);
            let ranks = verify(
                &snapshot.root(),
                3000,
                &opened,
                &proof.multiproof,
                Some(&asked),
            )
            .unwrap();
            for rank in first..first + count {
                assert!(ranks.contains(&rank));
            }
        }
    }
    assert_eq!(total, 3000);
}

#[test]
fn a_deep_proof_ends_at_the_last_bit() {
    let (low, mut high) = (leaf(1), leaf(1));
    high.key[31] ^= 1;
    let snapshot = Trie::build(&rows(&[low, high])).unwrap().commit();
    let proof = snapshot.prove(Wanted::Ranks(&[0, 1])).unwrap();
    assert_eq!(proof.multiproof.len(), 255 * 3 + 2);
    let opened = sent(&proof.leaves);
    assert_eq!(
        verify(&snapshot.root(), 2, &opened, &proof.multiproof, None),
        Ok(vec![0, 1])
    );
    for deeper in [[1; 300].as_slice(), &[1; 1 << 20]] {
        let refusal = verify(&snapshot.root(), 2, &opened, deeper, None);
        assert_eq!(refusal, Err("a node is deeper than a key has bits"));
    }
}

#[test]
fn a_file_that_was_not_saved_is_refused() {
    let leaves: Vec<Leaf> = (0..50).map(leaf).collect();
    let file = save(&Trie::build(&rows(&leaves)).unwrap().commit());
    for at in 0..file.len() {
        assert!(load(&file[..at]).is_err());
        let mut changed = file.clone();
        changed[at] ^= 0x10;
        assert!(load(&changed).is_err(), "{at}");
    }
    let summed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut changed = file.clone();
        change(&mut changed);
        let sum = crc32c::crc32c(&changed[8..]).to_le_bytes();
        changed[4..8].copy_from_slice(&sum);
        load(&changed).map(|_| ())
    };
    assert_eq!(summed(&|_| ()), Ok(()));
    assert!(summed(&|file| file[8..16].fill(0xff)).is_err());
    assert!(summed(&|file| file[16] ^= 1).is_err());
    assert!(summed(&|file| file[64 + 72..64 + 104].fill(0)).is_err());
    assert!(summed(&|file| file[64..96].fill(0xff)).is_err());
    assert!(summed(&|file| file.extend([0; ROW])).is_err());
    assert!(summed(&|file| *file.last_mut().unwrap() = 1).is_err());
}
