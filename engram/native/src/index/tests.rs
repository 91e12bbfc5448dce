//! Kernels against each other and against wide arithmetic; the error bound against f64 on hostile magnitudes.
use std::sync::Arc;

use super::codes::Encoder;
use super::mask::Mask;
use super::rows::{Signs, Slab, stride_of, words_of};
use super::signs::{self, Nearest};
use super::simd::Block;
use super::{
    Allowed, Ask, Batch, BodyMaps, Cosines, Fast, IndexError, Kernel, Mode, Query, Space, Stored,
};
use crate::bodies;
use crate::hash::Digest;

/// A small generator (splitmix64), so that the core needs no dependency to be tested.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    /// Any finite f32 there is, denormals and the largest ones as often as the rest.
    fn float(&mut self) -> f32 {
        let sign = (self.next() as u32) << 31;
        let exponent = (self.below(255) as u32) << 23;
        f32::from_bits(sign | exponent | self.below(1 << 23) as u32)
    }

    fn vector(&mut self, dim: usize) -> Vec<f32> {
        let magnitude = self.float().abs().max(f32::from_bits(1));
        let kind = self.below(4);
        let mut values: Vec<f32> = (0..dim)
            .map(|at| match kind {
                0 => self.float(),
                1 => (self.below(2001) as f32 / 1000.0 - 1.0) * magnitude,
                2 => f32::from(u8::from(at == 0)) * magnitude,
                _ => magnitude * if at == 0 { 1.0 } else { 1e-3 },
            })
            .collect();
        if values.iter().all(|&x| x == 0.0) {
            values[0] = f32::from_bits(1);
        }
        values
    }
}

fn bytes_of(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn unit(values: &[f32]) -> Vec<f64> {
    let norm = values
        .iter()
        .map(|&x| f64::from(x).powi(2))
        .sum::<f64>()
        .sqrt();
    values.iter().map(|&x| f64::from(x) / norm).collect()
}

fn decoded(encoder: &Encoder, scale: f64) -> Vec<f64> {
    let mut blocks = Vec::new();
    encoder.blocks_into(&mut blocks);
    blocks
        .iter()
        .flat_map(|block| block.0)
        .map(|code| f64::from(code) * scale)
        .collect()
}

fn inner(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

const DIMS: [usize; 9] = [1, 2, 4, 16, 63, 64, 65, 384, 4096];

#[test]
fn kernels_give_identical_integers() {
    let mut random = Random(1);
    for dim in DIMS {
        let stride = stride_of(dim);
        let mut blocks = vec![Block::ZERO; stride * 5];
        for block in &mut blocks {
            block.0.fill_with(|| (random.below(255) as i64 - 127) as i8);
        }
        blocks[..stride].fill(Block([127; 64]));
        blocks[stride..2 * stride].fill(Block([-127; 64]));
        for query in 0..5 {
            let query = blocks[query * stride..][..stride].to_vec();
            let wide = |row: usize| -> i64 {
                let row = blocks[row * stride..][..stride]
                    .iter()
                    .flat_map(|block| block.0);
                let products = query.iter().flat_map(|block| block.0).zip(row);
                products.map(|(q, x)| i64::from(q) * i64::from(x)).sum()
            };
            let rows = [4u32, 0, 1, 2, 3];
            let expected = rows.map(|row| wide(row as usize));
            for kernel in Kernel::available() {
                let mut out = [0; 5];
                kernel.dots(&query, &blocks, &rows, &mut out);
                assert_eq!(
                    out.map(i64::from),
                    expected,
                    "{} at dim {dim}",
                    kernel.name()
                );
            }
        }
    }
}

#[test]
fn kernels_give_identical_cosine_bits() {
    let mut random = Random(2);
    for dim in DIMS {
        for _ in 0..40 {
            let (query, row) = (bytes_of(&random.vector(dim)), bytes_of(&random.vector(dim)));
            let score = |kernel| {
                Cosines::new(kernel, dim, &query)
                    .unwrap()
                    .score(&row)
                    .unwrap()
            };
            let expected = score(Kernel::SCALAR);
            assert!((-1.0..=1.0).contains(&expected));
            for kernel in Kernel::available() {
                assert_eq!(
                    score(kernel).to_bits(),
                    expected.to_bits(),
                    "{} at dim {dim}",
                    kernel.name()
                );
            }
        }
    }
}

#[test]
fn cosines_are_within_the_ranking_error() {
    let mut random = Random(3);
    for dim in DIMS {
        for _ in 0..100 {
            let (query, row) = (random.vector(dim), random.vector(dim));
            let mut cosines = Cosines::new(Kernel::SCALAR, dim, &bytes_of(&query)).unwrap();
            let score = f64::from(cosines.score(&bytes_of(&row)).unwrap());
            let cosine = inner(&unit(&query), &unit(&row));
            assert!(
                (score - cosine).abs() <= super::exact::ranking_error(dim),
                "{score} for {cosine}"
            );
            assert_eq!(cosines.score(&bytes_of(&query)).unwrap(), 1.0);
        }
    }
}

#[test]
fn codes_are_within_the_error_and_no_longer_than_one() {
    let mut random = Random(4);
    for dim in DIMS {
        let mut encoder = Encoder::new(dim);
        for _ in 0..100 {
            let vector = random.vector(dim);
            let coded = encoder.encode(&vector);
            let coarse = decoded(&encoder, f64::from(coded.scale));
            let unit = unit(&vector);
            let left: Vec<f64> = unit.iter().zip(&coarse).map(|(u, c)| u - c).collect();
            let distance = inner(&left, &left).sqrt();
            assert!(
                distance <= f64::from(coded.error),
                "{distance} over {}",
                coded.error
            );
            assert!(
                f64::from(coded.error) <= distance + 1e-6,
                "{} far over {distance}",
                coded.error
            );
            assert!(inner(&coarse, &coarse) <= 1.0);
            if let Some((step, error)) = encoder.encode_residue(coded.scale) {
                let fine = decoded(&encoder, step);
                let left: Vec<f64> = left.iter().zip(&fine).map(|(left, f)| left - f).collect();
                assert!(inner(&left, &left).sqrt() <= error);
            }
        }
    }
}

#[test]
fn kernels_count_the_same_distances() {
    let mut random = Random(6);
    for dim in DIMS {
        let words = words_of(dim);
        let mut all = vec![Signs::ZERO; words * 5];
        for word in &mut all {
            word.0.fill_with(|| random.next());
        }
        all[..words].fill(Signs([u64::MAX; 8]));
        let query: Vec<u64> = (0..words).map(|_| random.next()).collect();
        let wide = |group: usize, lane: usize| -> u64 {
            let row = (0..words).map(|word| all[group * words + word].0[lane]);
            row.zip(&query)
                .map(|(row, query)| u64::from((row ^ query).count_ones()))
                .sum()
        };
        for limit in [0, 1, 32 * words as u64, u64::MAX] {
            for kernel in Kernel::available() {
                let (mut out, mut near) = ([Signs::ZERO; 5], [0; 5]);
                kernel.distances(&query, &all, limit, &mut out, &mut near);
                for (group, (out, near)) in out.iter().zip(near).enumerate() {
                    for (lane, &distance) in out.0.iter().enumerate() {
                        let name = kernel.name();
                        assert_eq!(distance, wide(group, lane), "{name} at dim {dim}");
                        assert_eq!(
                            near >> lane & 1 == 1,
                            distance < limit,
                            "{name} at dim {dim}"
                        );
                    }
                }
            }
        }
    }
}

/// A slab of random codes in coarse steps, so that distances tie.
fn coded(random: &mut Random, dim: usize, rows: usize) -> Batch {
    let mut batch = Batch::new(dim).unwrap();
    for row in 0..rows {
        let vector: Vec<f32> = (0..dim).map(|_| random.below(3) as f32 - 0.9).collect();
        batch
            .push(&bytes_of(&vector), row as u32, row as u64)
            .unwrap();
    }
    batch
}

#[test]
fn the_nearest_by_signs_are_those_of_a_sort() {
    let mut random = Random(7);
    for (dim, rows) in [(64, 5000), (70, 1111), (384, 3000)] {
        let batch = coded(&mut random, dim, rows);
        let mean: Vec<f32> = (0..dim)
            .map(|_| random.below(100) as f32 / 1000.0)
            .collect();
        for mean in [None, Some(mean.as_slice())] {
            let mut all = Vec::new();
            // In two goes, as a chunk grows.
            signs::extend(&mut all, 0, &batch.slab().part(0, 1001), mean);
            signs::extend(&mut all, 1001, &batch.slab(), mean);
            let slab = Slab {
                signs: Some(&all),
                ..batch.slab()
            };
            let mut query: Vec<u64> = (0..words_of(dim)).map(|_| random.next()).collect();
            query[words_of(dim) - 1] &= u64::MAX >> ((64 - dim % 64) % 64);
            let mask: Vec<u64> = (0..rows.div_ceil(64)).map(|_| random.next()).collect();
            let stride = stride_of(dim);
            let distance = |row: usize| -> u32 {
                let blocks = &slab.blocks[row * stride..(row + 1) * stride];
                let words = signs::signs_of(blocks, slab.scales[row], mean);
                words.zip(&query).map(|(a, b)| (a ^ b).count_ones()).sum()
            };
            for mask in [None, Some(mask.as_slice())] {
                let mut expected: Vec<(u32, u32)> = (0..rows)
                    .filter(|row| mask.is_none_or(|mask| mask[row / 64] >> (row % 64) & 1 == 1))
                    .map(|row| (distance(row), row as u32))
                    .collect();
                expected.sort_unstable();
                for keep in [1, 100, 400, 2000, 9999] {
                    let mut expected: Vec<u32> =
                        expected.iter().take(keep).map(|&(_, row)| row).collect();
                    expected.sort_unstable();
                    for kernel in Kernel::available() {
                        let nearest = Nearest::new(dim, keep);
                        let found = nearest.of(kernel, &query, Mask(mask), |work| work(0, slab));
                        assert_eq!(found, expected, "{} of {rows}", kernel.name());
                    }
                }
            }
        }
    }
}

#[test]
fn signs_are_those_of_the_values_less_the_mean() {
    let mut random = Random(8);
    let batch = coded(&mut random, 100, 3);
    let mean: Vec<f32> = (0..100)
        .map(|_| random.below(100) as f32 / 1000.0)
        .collect();
    for row in 0..3 {
        let (blocks, scale) = (
            &batch.slab().blocks[2 * row..2 * row + 2],
            batch.slab().scales[row],
        );
        for mean in [None, Some(mean.as_slice())] {
            let words: Vec<u64> = signs::signs_of(blocks, scale, mean).collect();
            for at in 0..128 {
                let value = scale * f32::from(blocks[at / 64].0[at % 64]);
                let below = at < 100 && value < mean.map_or(0.0, |mean| mean[at]);
                assert_eq!(words[at / 64] >> (at % 64) & 1 == 1, below);
            }
        }
    }
}

/// Bodies of vectors in one segment, and the rows that they are.
fn written(vectors: &[Vec<f32>]) -> (Arc<BodyMaps>, Vec<([u8; 32], u64)>) {
    let (mut segment, mut rows) = (Vec::new(), Vec::new());
    for (number, vector) in vectors.iter().enumerate() {
        let mut digest = [7; 32];
        digest[..8].copy_from_slice(&(number as u64).to_be_bytes());
        let mut payload = vec![0; 64];
        payload[..4].copy_from_slice(b"EPR1");
        payload[6..8].copy_from_slice(&(vector.len() as u16).to_le_bytes());
        payload.extend(bytes_of(vector));
        rows.push((digest, segment.len() as u64));
        segment.extend(bodies::encode(bodies::RECORD, &digest, &payload).unwrap());
    }
    let maps = BodyMaps::default();
    maps.put(0, Arc::new(segment));
    (Arc::new(maps), rows)
}

fn ask(k: usize) -> Ask<'static> {
    Ask {
        kernel: Kernel::SCALAR,
        k,
        exact: false,
        allowed: None,
        excluded: &[],
        clock: None,
    }
}

/// A sealed part as a test makes it: rows of a batch in the order of their locations.
#[derive(Debug)]
struct Kept(Batch, Option<Fast>);

impl Stored for Kept {
    fn slab(&self) -> Slab<'_> {
        self.0.slab()
    }

    fn fast(&self) -> Option<&Fast> {
        self.1.as_ref()
    }

    fn digest(&self) -> &Digest {
        &[0; 32]
    }
}

fn sealed(
    vectors: &[Vec<f32>],
    rows: &[([u8; 32], u64)],
    which: &[usize],
) -> Option<Arc<dyn Stored>> {
    let mut batch = Batch::new(vectors[0].len()).unwrap();
    for &row in which {
        let (digest, location) = rows[row];
        batch
            .push(&bytes_of(&vectors[row]), super::tag_of(&digest), location)
            .unwrap();
    }
    Some(Arc::new(Kept(batch, None)))
}

fn found(space: &Space, query: &Query) -> Vec<u64> {
    let found = space.publish().search(query, &ask(usize::MAX));
    assert_eq!((found.mode, found.damaged), (Mode::Exact, vec![]));
    assert_eq!(found.hits.len(), space.living());
    found.hits.iter().map(|hit| hit.location).collect()
}

#[test]
fn a_sealed_part_takes_the_place_of_rows_and_nothing_else_changes() {
    let mut random = Random(9);
    let vectors: Vec<Vec<f32>> = (0..1000).map(|_| random.vector(5)).collect();
    let (bodies, rows) = written(&vectors);
    let mut space = Space::new(5, Kernel::SCALAR, bodies).unwrap();
    let query = Query::new(5, &bytes_of(&random.vector(5))).unwrap();
    assert_eq!(space.add(&rows[..900]).unwrap(), Vec::<u64>::new());
    (0..900)
        .step_by(7)
        .for_each(|row| assert!(space.remove(rows[row].1)));
    let before = space.publish();
    let alive: Vec<usize> = (0..512).filter(|row| row % 7 != 0).collect();
    let part = sealed(&vectors, &rows, &alive);
    // Meanwhile some die, one comes back to the head, and more are added.
    (0..900)
        .step_by(11)
        .for_each(|row| assert_eq!(space.remove(rows[row].1), row % 7 != 0));
    space.add(&rows[11..12]).unwrap();
    space.add(&rows[900..]).unwrap();
    let expected = found(&space, &query);
    let lacking = sealed(&vectors, &rows, &alive[..300]);
    assert_eq!(space.adopt(lacking, &[], 512), Err(IndexError::NotReplaced));
    assert_eq!(
        space.adopt(part.clone(), &[], 513),
        Err(IndexError::NotReplaced)
    );
    assert_eq!(
        space.adopt(part.clone(), &[77], 512),
        Err(IndexError::NotReplaced)
    );
    assert_eq!(found(&space, &query), expected);
    space.adopt(part, &[], 512).unwrap();
    assert_eq!(found(&space, &query), expected);
    assert_eq!(space.head_rows(), 1001 - 512);
    assert_eq!(
        before.search(&query, &ask(usize::MAX)).hits.len(),
        before.living
    );
    // Two parts become one, which holds every row there is.
    let id = space.publish().parts[0].id;
    let all: Vec<usize> = (0..1000).collect();
    let head_rows = space.head_rows();
    space
        .adopt(sealed(&vectors, &rows, &all), &[id], head_rows)
        .unwrap();
    assert_eq!(found(&space, &query), expected);
    assert_eq!((space.head_rows(), space.publish().parts.len()), (0, 2));
    assert!(space.remove(rows[11].1) && !space.remove(rows[11].1));
    assert_eq!(found(&space, &query).len(), expected.len() - 1);
}

#[test]
fn parts_are_reconciled_with_what_lives() {
    let mut random = Random(10);
    let vectors: Vec<Vec<f32>> = (0..300).map(|_| random.vector(3)).collect();
    let (bodies, rows) = written(&vectors);
    let query = Query::new(3, &bytes_of(&random.vector(3))).unwrap();
    let mut space = Space::new(3, Kernel::SCALAR, bodies).unwrap();
    // A row that two parts hold counts once.
    let first: Vec<usize> = (0..200).collect();
    let second: Vec<usize> = (150..250).collect();
    space
        .adopt(sealed(&vectors, &rows, &first), &[], 0)
        .unwrap();
    space
        .adopt(sealed(&vectors, &rows, &second), &[], 0)
        .unwrap();
    let live: Vec<u64> = (0..300).step_by(3).map(|row| rows[row].1).collect();
    let missing = space.reconcile(live.iter().rev().copied().collect());
    assert_eq!(
        missing,
        live.iter()
            .copied()
            .filter(|&at| at >= rows[250].1)
            .collect::<Vec<_>>()
    );
    let lacking: Vec<_> = rows
        .iter()
        .filter(|(_, at)| missing.contains(at))
        .copied()
        .collect();
    assert_eq!(space.add(&lacking).unwrap(), Vec::<u64>::new());
    let mut found = found(&space, &query);
    found.sort_unstable();
    assert_eq!(found, live);
}

#[test]
fn a_filter_holds_in_every_part() {
    let mut random = Random(11);
    let vectors: Vec<Vec<f32>> = (0..600).map(|_| random.vector(4)).collect();
    let (bodies, rows) = written(&vectors);
    let query = Query::new(4, &bytes_of(&random.vector(4))).unwrap();
    let mut space = Space::new(4, Kernel::SCALAR, bodies).unwrap();
    let first: Vec<usize> = (0..300).collect();
    space
        .adopt(sealed(&vectors, &rows, &first), &[], 0)
        .unwrap();
    assert_eq!(
        space.reconcile(rows[..300].iter().map(|row| row.1).collect()),
        Vec::<u64>::new()
    );
    space.add(&rows[300..]).unwrap();
    let view = space.publish();
    let odd: Vec<(u64, Vec<u64>)> = view
        .parts
        .iter()
        .map(|part| (part.id, vec![0xaaaa_aaaa_aaaa_aaaa; 9]))
        .collect();
    let allowed = Allowed(odd);
    let asked = Ask {
        allowed: Some(&allowed),
        ..ask(1000)
    };
    let mut found: Vec<u64> = view
        .search(&query, &asked)
        .hits
        .iter()
        .map(|hit| hit.location)
        .collect();
    found.sort_unstable();
    let expected: Vec<u64> = rows.iter().skip(1).step_by(2).map(|row| row.1).collect();
    assert_eq!(found, expected);
}

#[test]
fn refusals_say_what_came() {
    let mut batch = Batch::new(2).unwrap();
    assert_eq!(batch.push(&[0; 8], 0, 0), Err(IndexError::Zero));
    assert_eq!(
        batch.push(&bytes_of(&[1.0, f32::NAN]), 0, 0),
        Err(IndexError::NotFinite)
    );
    assert_eq!(
        batch.push(&bytes_of(&[f32::NEG_INFINITY, 1.0]), 0, 0),
        Err(IndexError::NotFinite)
    );
    assert_eq!(
        batch.push(&[0; 7], 0, 0),
        Err(IndexError::Length {
            expected: 8,
            got: 7
        })
    );
    assert_eq!(batch.slab().rows(), 0);
    assert_eq!(Batch::new(0).unwrap_err(), IndexError::Dim(0));
    assert_eq!(Query::new(4097, &[]).unwrap_err(), IndexError::Dim(4097));
    let unknown = Kernel::named("sse9").unwrap_err().to_string();
    assert!(
        unknown.contains("sse9") && unknown.contains("scalar"),
        "{unknown}"
    );
    let foreign = if cfg!(target_arch = "aarch64") {
        "avx2"
    } else {
        "neon"
    };
    assert!(
        Kernel::named(foreign)
            .unwrap_err()
            .to_string()
            .contains("lacks the kernel")
    );
}
