//! Sealed parts of the index: a part that opens is searched, whatever stands in it.
use std::sync::Arc;

use _core::bodies::{self, RECORD};
use _core::hash::sha256;
use _core::index::{Ask, BodyMaps, Kernel, Query, Sealed, Space, Stored, build};
use _core::record;

use crate::bounds::bounded;
use crate::recipe::Recipe;

/// A part of `rows` rows of `dim` components, as a node writes it, and the bodies under it.
fn sealed(dim: usize, rows: u32) -> (Vec<u8>, Arc<BodyMaps>) {
    let (mut segment, mut added) = (Vec::new(), Vec::new());
    for row in 0..rows {
        let numbers = (0..dim).map(|at| ((row as usize * 31 + at * 7) % 13) as f32 - 6.25);
        let embedding: Vec<u8> = numbers.flat_map(f32::to_le_bytes).collect();
        let made = record::encode(1, &embedding, b"{}", b"test/1", &row.to_le_bytes(), None);
        let (digest, payload) = made.expect("a good record");
        added.push((digest, segment.len() as u64));
        segment.extend(bodies::encode(RECORD, &digest, &payload).expect("a small body"));
    }
    let maps = Arc::new(BodyMaps::default());
    drop(maps.put(0, Arc::new(segment)));
    let mut space = Space::new(dim, Kernel::SCALAR, Arc::clone(&maps)).expect("a small dimension");
    assert_eq!(space.add(&added), Ok(vec![]));
    let built = build(Kernel::SCALAR, dim, &space.publish().parts, usize::MAX);
    (built.bytes.as_ref().to_vec(), maps)
}

/// Put the digest right: it proves the bytes against a failing disk, not against a forger.
fn mend(part: &mut [u8], _level: u8) {
    if part.len() >= 64 {
        let digest = sha256(&[&part[..32], &part[64..]]);
        part[32..64].copy_from_slice(&digest);
    }
}

#[test]
fn index_segment() {
    let made = [
        sealed(1, 3),
        sealed(3, 20),
        sealed(64, 2),
        sealed(65, 9),
        sealed(256, 40),
    ];
    let bodies = Arc::clone(&made[1].1);
    let good: Vec<Vec<u8>> = made.into_iter().map(|(part, _)| part).collect();
    bolero::check!()
        .with_type::<(Recipe, bool, u8)>()
        .for_each(|(recipe, exact, k)| {
            let part = recipe.bytes(&good, mend);
            let size = part.len();
            let Ok(part) = bounded(size, 4, move || Sealed::open(Box::new(part))) else {
                return;
            };
            let (dim, part) = (part.dim(), Arc::new(part) as Arc<dyn Stored>);
            let mut space =
                Space::new(dim, Kernel::SCALAR, Arc::clone(&bodies)).expect("checked when opened");
            let locations = part.slab().locations.to_vec();
            if space.adopt(Some(part), &[], 0).is_err() {
                return;
            }
            space.reconcile(locations);
            let query: Vec<u8> = (0..dim)
                .flat_map(|at| (at as f32 - 1.5).to_le_bytes())
                .collect();
            let query = Query::new(dim, &query).expect("a direction");
            let ask = Ask {
                kernel: Kernel::SCALAR,
                k: usize::from(*k) + 1,
                exact: *exact,
                allowed: None,
                excluded: &[],
                clock: None,
            };
            let found = space.publish().search(&query, &ask);
            assert!(found.hits.len() <= ask.k);
            assert!(
                found
                    .hits
                    .iter()
                    .all(|hit| (-1.0..=1.0).contains(&hit.score))
            );
        });
}
