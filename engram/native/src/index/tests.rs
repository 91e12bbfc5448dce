//! Kernels against each other and against wide arithmetic; the error bound against f64 on hostile magnitudes.
use super::codes::Encoder;
use super::rows::stride_of;
use super::simd::Block;
use super::{Batch, Codes, Cosines, IndexError, Kernel, Query};

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
            let rows = [4, 0, 1, 2, 3];
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
fn a_snapshot_keeps_its_rows_while_more_are_appended() {
    let mut random = Random(5);
    let mut codes = Codes::new(3).unwrap();
    let query = Query::new(3, &bytes_of(&[1.0, 2.0, 3.0])).unwrap();
    let mut taken = Vec::new();
    for rows in [0, 1, 254, 1, 1, 600] {
        let mut batch = Batch::new(3).unwrap();
        (0..rows).for_each(|_| batch.push(&bytes_of(&random.vector(3))).unwrap());
        codes.append(&batch).unwrap();
        let snapshot = codes.snapshot();
        let all = snapshot.candidates(Kernel::SCALAR, &query, usize::MAX, &[]);
        assert_eq!(all.len(), snapshot.len());
        let best = snapshot.candidates(Kernel::SCALAR, &query, 1, &[]);
        taken.push((snapshot, best));
    }
    for (snapshot, best) in taken {
        assert_eq!(snapshot.candidates(Kernel::SCALAR, &query, 1, &[]), best);
    }
}

#[test]
fn refusals_say_what_came() {
    let mut batch = Batch::new(2).unwrap();
    assert_eq!(batch.push(&[0; 8]), Err(IndexError::Zero));
    assert_eq!(
        batch.push(&bytes_of(&[1.0, f32::NAN])),
        Err(IndexError::NotFinite)
    );
    assert_eq!(
        batch.push(&bytes_of(&[f32::NEG_INFINITY, 1.0])),
        Err(IndexError::NotFinite)
    );
    assert_eq!(
        batch.push(&[0; 7]),
        Err(IndexError::Length {
            expected: 8,
            got: 7
        })
    );
    assert!(batch.is_empty());
    assert_eq!(Codes::new(0).unwrap_err(), IndexError::Dim(0));
    assert_eq!(Codes::new(4097).unwrap_err(), IndexError::Dim(4097));
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
