//! State tries: a multiproof from a stranger, a saved trie from a disk, the answer to a challenge.
use _core::answer::{self, Asked, Sent};
use _core::challenge;
use _core::hash::{Digest, sha256};
use _core::trie::{self, Leaf, Snapshot, Trie, Wanted};
use bolero::TypeGenerator;

use crate::bounds::bounded;
use crate::recipe::Recipe;

fn leaf(number: u64) -> Leaf {
    let mut key = sha256(&[&number.to_be_bytes()]);
    if number.is_multiple_of(5) {
        key = [0; 32]; // some keys part at their last bits only
        key[31] = number as u8;
    }
    Leaf {
        key,
        value: sha256(&[b"value", &number.to_be_bytes()]),
        location: number,
    }
}

fn snapshot(leaves: u64) -> Snapshot {
    let mut trie = Trie::default();
    (0..leaves).for_each(|number| _ = trie.insert(leaf(number)));
    trie.commit()
}

/// What a stranger sends: opened leaves of 64 bytes, as many as the first byte says, then the multiproof.
fn sent(snapshot: &Snapshot, wanted: Wanted<'_>) -> Vec<u8> {
    let proof = snapshot.prove(wanted).expect("a good question");
    let mut bytes = vec![proof.leaves.len() as u8];
    for leaf in &proof.leaves {
        bytes.extend([leaf.key, leaf.value].as_flattened());
    }
    bytes.extend(&proof.multiproof);
    bytes
}

fn received(bytes: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let (count, rest) = bytes.split_at(bytes.len().min(1));
    let count = count.first().map_or(0, |count| usize::from(*count));
    let (leaves, rest) = rest.split_at((count * 64).min(rest.len()));
    (leaves.chunks(64).collect(), rest)
}

#[derive(Debug, TypeGenerator)]
struct Question {
    trie: u8,
    ranks: Vec<u8>,
    keys: Option<Vec<u8>>,
    group: Option<u16>,
    count: Option<u64>,
}

const SIZES: [u64; 5] = [1, 2, 7, 40, 200];

/// What is accepted is what the trie itself proves: of what was asked for there is one proof, and no other passes.
#[test]
fn trie_multiproof() {
    let tries: Vec<Snapshot> = SIZES.iter().map(|size| snapshot(*size)).collect();
    bolero::check!()
        .with_type::<(Question, Recipe)>()
        .for_each(|(question, recipe)| {
            let snapshot = &tries[usize::from(question.trie) % tries.len()];
            let mut ranks: Vec<u64> = question
                .ranks
                .iter()
                .map(|rank| u64::from(*rank) % snapshot.count())
                .collect();
            ranks.extend(ranks.is_empty().then_some(0));
            ranks.sort_unstable();
            ranks.dedup();
            let mut spans: Option<Vec<(Digest, Digest)>> = question.keys.as_ref().map(|keys| {
                let key = |number: &u8| leaf(u64::from(*number)).key;
                keys.iter()
                    .map(|number| (key(number), key(number)))
                    .collect()
            });
            if let Some(group) = question.group {
                spans = Some(vec![trie::group_span(group % (1 << trie::GROUP_BITS))]);
            }
            if let Some(spans) = &mut spans {
                spans.extend(spans.is_empty().then_some(([0; 32], [0; 32])));
                spans.sort_unstable();
                spans.dedup();
            }
            let asked = || {
                spans
                    .as_deref()
                    .map_or(Wanted::Ranks(&ranks), Wanted::Spans)
            };
            let good = sent(snapshot, asked());
            let bytes = recipe.bytes(std::slice::from_ref(&good), |_, _| ());
            let (leaves, multiproof) = received(&bytes);
            let count = question.count.unwrap_or(snapshot.count());
            // A node is opened with three bytes, and remembered with a hundred until its level is hashed.
            let verified = bounded(bytes.len(), 64, || {
                trie::verify(
                    &snapshot.root(),
                    count,
                    &leaves,
                    multiproof,
                    spans.as_deref(),
                )
            });
            // How this test cuts bytes into leaves and a proof is its own: the parts are compared.
            let of = (leaves, multiproof);
            match (verified, spans.is_some()) {
                (Ok(_), true) => assert_eq!(
                    of,
                    received(&good),
                    "of what stands on a path there is one proof"
                ),
                (Ok(opened), false) => {
                    let only = sent(snapshot, Wanted::Ranks(&opened));
                    assert_eq!(of, received(&only), "of ranks there is one proof");
                }
                (Err(reason), _) => {
                    assert!(
                        of != received(&good) || count != snapshot.count(),
                        "{reason}"
                    );
                }
            }
        });
}

/// Put the checksum right, and as whoever can write there the count.
fn mend(file: &mut [u8], level: u8) {
    if file.len() < 64 {
        return;
    }
    if level == 2 {
        let count = ((file.len() - 64) / trie::ROW) as u64;
        file[8..16].copy_from_slice(&count.to_le_bytes());
    }
    let sum = crc32c::crc32c(&file[8..]);
    file[4..8].copy_from_slice(&sum.to_le_bytes());
}

/// A trie that loads is used, whatever hashes stand in it.
#[test]
fn trie_file() {
    let good: Vec<Vec<u8>> = [0, 1, 2, 7, 40, 200]
        .map(|size| trie::save(&snapshot(size)))
        .into();
    bolero::check!()
        .with_type::<(Recipe, Vec<u8>)>()
        .for_each(|(recipe, changes)| {
            let file = recipe.bytes(&good, mend);
            let Ok(mut trie) = bounded(file.len(), 32, || trie::load(&file)) else {
                return;
            };
            let before = trie.commit();
            assert_eq!(
                trie::save(&before),
                file,
                "a file is what its trie is saved as"
            );
            for number in changes.iter().take(40) {
                if number.is_multiple_of(2) {
                    trie.insert(leaf(u64::from(*number)));
                } else {
                    trie.remove(&leaf(u64::from(*number)).key);
                }
            }
            let after = trie.commit();
            let ranks: Vec<u64> = (0..after.count()).step_by(3).collect();
            if !ranks.is_empty() {
                assert!(after.prove(Wanted::Ranks(&ranks)).is_ok());
            }
            assert_eq!(trie::save(&before), file, "a snapshot stays as it was");
        });
}

#[derive(Debug, TypeGenerator)]
struct Challenged {
    id: Digest,
    links: u8,
    by_key: bool,
    /// How many payloads are sent before those that are made up.
    kept: u8,
    made: Vec<Recipe>,
    /// The record that is sent in place of the last one.
    swapped: Option<u8>,
    /// None: leaves and multiproof are the honest ones.
    answer: Option<Recipe>,
}

/// What is accepted is what an honest miner sends, up to where its payloads end.
#[test]
fn challenge_answer() {
    let good = crate::records::payloads();
    let (mut trie, mut held) = (Trie::default(), Vec::new());
    for payload in &good {
        let key = challenge::keys_of(&[payload]).expect("a good record")[0];
        let (value, location) = (sha256(&[payload]), held.len() as u64);
        held.push(payload.clone());
        trie.insert(Leaf {
            key,
            value,
            location,
        });
    }
    let snapshot = trie.commit();
    let at = |rank: u64| *snapshot.leaf(rank).expect("a rank below the count");
    bolero::check!()
        .with_type::<Challenged>()
        .for_each(|sent_by| {
            let links = 1 + usize::from(sent_by.links) % 8;
            let mut keys = [at(0).key, at(snapshot.count() - 1).key, sent_by.id];
            keys.sort_unstable();
            let spans = sent_by.by_key.then(|| keys.map(|key| (key, key)));
            let ranks = if sent_by.by_key {
                vec![0, snapshot.count() - 1]
            } else {
                drawn(&snapshot, &held, &sent_by.id, links)
            };
            let honest: Vec<Vec<u8>> = ranks
                .iter()
                .map(|rank| held[at(*rank).location as usize].clone())
                .collect();
            let kept = usize::from(sent_by.kept) % (honest.len() + 1);
            let mut payloads = honest[..kept].to_vec();
            let made = sent_by.made.iter().take(3);
            payloads.extend(made.map(|recipe| recipe.bytes(&good, crate::records::mend)));
            if let (Some(number), Some(last)) = (sent_by.swapped, payloads.last_mut()) {
                last.clone_from(&good[usize::from(number) % good.len()]);
            }
            let mut opened = ranks[..ranks.len().min(payloads.len() + 1)].to_vec();
            opened.sort_unstable();
            let proved = sent(
                &snapshot,
                spans
                    .as_ref()
                    .map_or(Wanted::Ranks(&opened), |spans| Wanted::Spans(spans)),
            );
            let bytes = match &sent_by.answer {
                Some(recipe) => recipe.bytes(std::slice::from_ref(&proved), |_, _| ()),
                None => proved.clone(),
            };
            let (leaves, multiproof) = received(&bytes);
            let parts: Vec<&[u8]> = payloads.iter().map(Vec::as_slice).collect();
            let asked = Asked {
                chal_id: sent_by.id,
                root: snapshot.root(),
                count: snapshot.count(),
                links,
                keys: spans.as_ref().map(|spans| &spans[..]),
            };
            let answer = Sent {
                leaves: &leaves,
                multiproof,
                payloads: &parts,
            };
            let size = bytes.len() + payloads.iter().map(Vec::len).sum::<usize>();
            let shown = bounded(size, 64, || {
                answer::show(&asked, &answer, &answer::hashes_of(&parts))
            });
            let is_honest =
                (leaves, multiproof) == received(&proved) && honest.starts_with(&payloads);
            match shown {
                Ok(shown) => {
                    assert!(is_honest);
                    let next = ranks.get(payloads.len()).map(|rank| at(*rank));
                    let lacks = next.map(|leaf| [leaf.key, leaf.value].concat());
                    assert_eq!(shown.lacks.map(|leaf| leaf.to_vec()), lacks);
                }
                Err(reason) => assert!(!is_honest, "{reason}"),
            }
        });
}

/// The ranks that a chain draws, by first appearance.
fn drawn(snapshot: &Snapshot, held: &[Vec<u8>], id: &Digest, links: usize) -> Vec<u64> {
    let (mut seed, mut ranks) = (challenge::seed(id), Vec::new());
    for _ in 0..links {
        let rank = challenge::rank(&seed, snapshot.count());
        if !ranks.contains(&rank) {
            ranks.push(rank);
        }
        let leaf = snapshot.leaf(rank).expect("a rank below the count");
        seed = challenge::next(&seed, &held[leaf.location as usize]);
    }
    ranks
}
