//! The arithmetic against plain Rust: each kernel against IEEE operations, products against a naive chain of `mul_add`,
//! exp and GELU against f64.
use std::fs::{self, File};
use std::hint::black_box;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use super::attention::{Scratch, attend};
use super::gemm::{Panels, Place, Product};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::ieee;
use super::kernel::{Call, Kernel};
use super::map::Mapped;
use super::math::{exp, gelu};
use super::shape::{HEAD, HEADS, HIDDEN};
use super::simd::{Lanes, Sixteen, Task, fused};
use super::weights::{Number, Tensors, WeightsError};
use crate::hash::{sha256, sha256_of};

/// xorshift64*: numbers for tests, the same every time.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Between -1 and 1.
    fn unit(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// Any finite float of an exponent from 2^-`range` to 2^`range`.
    fn wide(&mut self, range: i32) -> f32 {
        let exponent = (self.next() % (2 * range as u64 + 1)) as i32 - range;
        self.unit() * 2.0_f32.powi(exponent)
    }

    fn units(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.unit()).collect()
    }
}

fn numbers_of(values: &[f32]) -> Vec<Number> {
    values.iter().map(|x| x.to_le_bytes()).collect()
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn fused_is_the_correctly_rounded_fma() {
    let mut numbers = Numbers(1);
    for range in [0, 3, 30, 60] {
        for _ in 0..200_000 {
            let (a, b) = (numbers.wide(range), numbers.wide(range));
            let product = a * b;
            let near = f32::from_bits(product.to_bits() ^ (numbers.next() % 4) as u32);
            for c in [
                numbers.wide(range),
                -product,
                -near,
                near * 2.0_f32.powi(-24),
                product * 2.0_f32.powi(25),
            ] {
                if !c.is_finite() {
                    continue;
                }
                let (got, expected) = (fused(a, b, c), a.mul_add(b, c));
                assert_eq!(got.to_bits(), expected.to_bits(), "{a:e} * {b:e} + {c:e}");
            }
        }
    }
}

#[test]
fn fused_rounds_once_where_two_roundings_differ() {
    // The exact sum lies just off the middle between two f32: rounding to f64 first would put it on the middle.
    let a = f32::from_bits(0x3f80_0001);
    let c = 2.0_f32.powi(-30) * a;
    for (b, c) in [
        (2.0_f32.powi(24), c),
        (2.0_f32.powi(24), -c),
        (2.0_f32.powi(24) + 2.0, c),
        (1.5, 2.0_f32.powi(-60)),
    ] {
        assert_eq!(fused(a, b, c).to_bits(), a.mul_add(b, c).to_bits());
    }
    // Here rounding to f64 to nearest, instead of to odd, is seen: in normal numbers and in subnormal ones.
    let tiny = 2.0_f32.powi(-30);
    let (a, b) = (
        1_048_577.0 * 2.0_f32.powi(-95),
        1_048_575.0 * 2.0_f32.powi(-95),
    );
    let subnormal = 2.0_f32.powi(-127) + f32::from_bits(1);
    for (a, b, c) in [
        (97.0, 172_961.0, tiny),
        (97.0, 172_961.0, -tiny),
        (a, b, subnormal),
    ] {
        assert_eq!(fused(a, b, c).to_bits(), a.mul_add(b, c).to_bits());
    }
    for subnormal in [1e-40_f32, -3e-42, f32::from_bits(1)] {
        assert_eq!(
            fused(1e-20, 1e-20, subnormal).to_bits(),
            1e-20_f32.mul_add(1e-20, subnormal).to_bits()
        );
        assert_eq!(
            fused(0.5, subnormal, subnormal).to_bits(),
            0.5_f32.mul_add(subnormal, subnormal).to_bits()
        );
    }
}

/// Every operation once, over sixteen numbers; the outputs one after another.
struct EveryOperation<'a> {
    a: &'a Sixteen,
    b: &'a Sixteen,
    c: &'a Sixteen,
    out: &'a mut Vec<f32>,
}

impl Task for EveryOperation<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        let (a, b, c) = (l.load(self.a), l.load(self.b), l.load(self.c));
        let n = std::array::from_fn(|i| 12_582_912.0 + (i as f32) * 16.0 - 126.0);
        let vectors = [
            l.add(a, b),
            l.sub(a, b),
            l.mul(a, b),
            l.div(a, b),
            l.fma(a, b, c),
            l.max(a, b),
            l.select_less(a, b, c, a),
            l.power_of_two(l.load(&n)),
            exp(l, l.sub(l.splat(0.0), l.mul(a, a))),
            gelu(l, l.mul(b, l.splat(4.0))),
        ];
        for v in vectors {
            let mut sixteen = [0.0; 16];
            l.store(&mut sixteen, v);
            self.out.extend(sixteen);
        }
        self.out.extend([l.sum(a), l.largest(a)]);
    }
}

impl Call for EveryOperation<'_> {
    type Output = ();
    fn call<L: Lanes>(self, lanes: L) {
        lanes.vectorize(self);
    }
}

#[test]
fn every_kernel_gives_the_bits_of_plain_operations() {
    let mut numbers = Numbers(2);
    for _ in 0..2000 {
        let [a, b, c]: [Sixteen; 3] =
            std::array::from_fn(|_| std::array::from_fn(|_| numbers.wide(4)));
        let mut expected = Vec::new();
        let plain: [&dyn Fn(usize) -> f32; 8] = [
            &|i| a[i] + b[i],
            &|i| a[i] - b[i],
            &|i| a[i] * b[i],
            &|i| a[i] / b[i],
            &|i| a[i].mul_add(b[i], c[i]),
            &|i| a[i].max(b[i]),
            &|i| if a[i] < b[i] { c[i] } else { a[i] },
            &|i| 2.0_f32.powi(16 * i as i32 - 126),
        ];
        plain.iter().for_each(|f| expected.extend((0..16).map(f)));
        let mut first: Option<Vec<f32>> = None;
        for kernel in Kernel::available() {
            let mut out = Vec::new();
            kernel.call(EveryOperation {
                a: &a,
                b: &b,
                c: &c,
                out: &mut out,
            });
            assert_eq!(
                bits(&out[..expected.len()]),
                bits(&expected),
                "{}",
                kernel.name()
            );
            assert_eq!(
                bits(first.get_or_insert_with(|| out.clone())),
                bits(&out),
                "{}",
                kernel.name()
            );
            let pairs = |i: usize| {
                ((a[i] + a[i + 8]) + (a[i + 4] + a[i + 12]))
                    + ((a[i + 2] + a[i + 10]) + (a[i + 6] + a[i + 14]))
            };
            assert_eq!(out[out.len() - 2], pairs(0) + pairs(1));
            assert_eq!(out[out.len() - 1], a.into_iter().fold(f32::MIN, f32::max));
        }
    }
}

struct Map<'a>(&'a mut [f32], bool);

impl Task for Map<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, l: L) {
        for x in self.0.as_chunks_mut().0 {
            let v = l.load(x);
            l.store(x, if self.1 { exp(l, v) } else { gelu(l, v) });
        }
    }
}

impl Call for Map<'_> {
    type Output = ();
    fn call<L: Lanes>(self, lanes: L) {
        lanes.vectorize(self);
    }
}

#[test]
fn exp_is_within_two_units_in_the_last_place() {
    let inputs: Vec<f32> = (0..870_016).map(|i| -(i as f32) / 10_000.0).collect();
    let mut got = inputs.clone();
    Kernel::choose(None).unwrap().call(Map(&mut got, true));
    for (x, y) in inputs.iter().zip(&got) {
        let expected = f64::from(x.max(-87.0)).exp();
        assert!(
            (f64::from(*y) / expected - 1.0).abs() < 1.5e-7,
            "exp({x}) = {y}, not {expected}"
        );
        assert!(y.is_normal());
    }
}

/// x * erfc(-x / sqrt 2) / 2 in f64, erf by its Taylor series: slow, plain, and good for |x| <= 5.
fn gelu_f64(x: f64) -> f64 {
    let z = x / std::f64::consts::SQRT_2;
    let mut term = z;
    let mut sum = z;
    for n in 1..200 {
        term *= -z * z / f64::from(n);
        sum += term / f64::from(2 * n + 1);
    }
    x * (1.0 + sum * 2.0 / std::f64::consts::PI.sqrt()) / 2.0
}

#[test]
fn gelu_is_right_to_a_fifth_of_a_millionth() {
    let inputs: Vec<f32> = (-50_000..50_000).map(|i| i as f32 / 10_000.0).collect();
    let mut got = inputs.clone();
    Kernel::choose(None).unwrap().call(Map(&mut got, false));
    for (x, y) in inputs.iter().zip(&got) {
        let expected = gelu_f64(f64::from(*x));
        let allowed = 2e-7 * expected.abs().max(1.0);
        assert!(
            (f64::from(*y) - expected).abs() < allowed,
            "gelu({x}) = {y}, not {expected}"
        );
    }
    let mut far: Sixteen =
        std::array::from_fn(|i| [8.0, -8.0, 50.0, -50.0, 1e6, -1e6, 0.0, -0.0][i % 8]);
    Kernel::choose(None).unwrap().call(Map(&mut far, false));
    assert_eq!([far[0], far[2], far[4], far[6]], [8.0, 50.0, 1e6, 0.0]);
    assert!(far[1].abs() < 1e-12 && far[3].abs() < 1e-12 && far[5].abs() < 1e-8);
}

impl Call for Product<'_> {
    type Output = ();
    fn call<L: Lanes>(self, lanes: L) {
        lanes.vectorize(self);
    }
}

#[test]
fn a_product_is_a_chain_of_fused_multiply_adds_from_its_bias() {
    let mut numbers = Numbers(3);
    for kernel in Kernel::available() {
        for (rows, depth, columns) in [
            (1, 1, 16),
            (2, 7, 32),
            (3, 32, 48),
            (5, 33, 64),
            (8, 16, 96),
            (9, 5, 112),
            (25, 40, 80),
        ] {
            let (left, weights) = (numbers.units(rows * depth), numbers.units(columns * depth));
            let bias = numbers.units(columns);
            let mut out = vec![9.0; rows * (columns + 3)];
            kernel.call(Product {
                rows,
                left: &left,
                left_at: Place::whole(depth),
                panels: &Panels::pack(&numbers_of(&weights), depth),
                bias: Some(bias.as_chunks().0),
                out: &mut out,
                out_at: Place {
                    start: 2,
                    stride: columns + 3,
                },
            });
            for (row, out) in out.chunks_exact(columns + 3).enumerate() {
                for column in 0..columns {
                    let chain = |sum: f32, k: usize| {
                        left[row * depth + k].mul_add(weights[column * depth + k], sum)
                    };
                    let expected = (0..depth).fold(bias[column], chain);
                    assert_eq!(
                        out[2 + column].to_bits(),
                        expected.to_bits(),
                        "{} {rows} {depth} {columns}",
                        kernel.name()
                    );
                }
                assert_eq!(
                    (out[0], out[1], out[columns + 2]),
                    (9.0, 9.0, 9.0),
                    "nothing beside its place"
                );
            }
        }
    }
}

struct Attend<'a>(&'a [f32], &'a mut [f32], &'a mut Scratch);

impl Call for Attend<'_> {
    type Output = ();
    fn call<L: Lanes>(self, lanes: L) {
        attend(lanes, self.0, self.1, self.2);
    }
}

#[test]
fn attention_agrees_with_f64_whatever_was_in_the_scratch() {
    let mut numbers = Numbers(4);
    for kernel in Kernel::available() {
        let mut scratch = Scratch::default();
        for tokens in [40, 2, 17, 1, 16] {
            let qkv: Vec<f32> = numbers
                .units(tokens * 3 * HIDDEN)
                .iter()
                .map(|x| x * 3.0)
                .collect();
            let mut context = vec![7.0; tokens * HIDDEN];
            kernel.call(Attend(&qkv, &mut context, &mut scratch));
            let at = |token: usize, part: usize, head: usize, d: usize| {
                f64::from(qkv[token * 3 * HIDDEN + part * HIDDEN + head * HEAD + d])
            };
            for (head, i) in (0..HEADS).flat_map(|head| (0..tokens).map(move |i| (head, i))) {
                let score = |j| {
                    (0..HEAD)
                        .map(|d| at(i, 0, head, d) * at(j, 1, head, d))
                        .sum::<f64>()
                        / 32.0_f64.sqrt()
                };
                let weights: Vec<f64> = (0..tokens).map(|j| score(j).exp()).collect();
                let total: f64 = weights.iter().sum();
                for d in 0..HEAD {
                    let expected = (0..tokens)
                        .map(|j| weights[j] * at(j, 2, head, d))
                        .sum::<f64>()
                        / total;
                    let got = f64::from(context[i * HIDDEN + head * HEAD + d]);
                    assert!(
                        (got - expected).abs() < 1e-5,
                        "{} {tokens} {head} {i} {d}",
                        kernel.name()
                    );
                }
            }
        }
    }
}

#[test]
fn an_unknown_kernel_is_named_beside_those_there_are() {
    let error = Kernel::choose(Some("sse9")).err().unwrap();
    assert!(
        error.contains("\"sse9\"") && error.contains("scalar"),
        "{error}"
    );
}

/// A file of these bytes without a name, gone with the last who has it open.
fn file_of(bytes: &[u8]) -> File {
    static FILES: AtomicU32 = AtomicU32::new(0);
    let number = FILES.fetch_add(1, Ordering::Relaxed);
    let name = format!("engram-test-{}-{number}", std::process::id());
    let path: PathBuf = std::env::temp_dir().join(name);
    fs::write(&path, bytes).unwrap();
    let file = File::open(&path).unwrap();
    fs::remove_file(&path).unwrap();
    file
}

fn safetensors(header: &str, data: &[u8]) -> File {
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header.as_bytes());
    file.extend(data);
    file_of(&file)
}

const HEADER: &str = r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[1,2],"data_offsets":[4,12]},
    "b":{"dtype":"I64","shape":[1],"data_offsets":[0,8]},"c":{"dtype":"F32","shape":[1],"data_offsets":[8,4]}}"#;

#[test]
fn tensors_are_read_by_name_and_refused_by_shape() {
    let data = numbers_of(&[0.0, 1.5, -2.0]).concat();
    // Blanks before the data: a number may lie at any address.
    for blanks in 0..4 {
        let header = format!("{HEADER}{}", " ".repeat(blanks));
        let file = safetensors(&header, &data);
        let tensors = Tensors::open(&file).unwrap();
        assert_eq!(
            *tensors.map("a", &[1, 2]).unwrap(),
            numbers_of(&[1.5, -2.0])
        );
        for (name, shape) in [("a", &[2][..]), ("b", &[1]), ("c", &[1]), ("d", &[1])] {
            let error = tensors.map(name, shape).err().unwrap();
            assert!(
                matches!(&error, WeightsError::Tensor { name: n, .. } if n == name),
                "{error}"
            );
        }
    }
}

#[test]
fn a_file_that_ends_before_its_data_does_is_refused_when_it_is_opened() {
    for end in ["13", "18446744073709551615"] {
        let header = HEADER.replace("12]", &format!("{end}]"));
        let file = safetensors(&header, &[0; 12]);
        let error = Tensors::open(&file).err().unwrap();
        let why = format!("{end} bytes from {} are wanted", 8 + header.len());
        assert!(error.to_string().contains(&why), "{error}");
    }
}

#[test]
fn a_file_that_is_no_safetensors_is_refused() {
    for file in [
        file_of(&[0xff; 64]),
        safetensors("", &[]),
        safetensors("[1]", &[]),
        safetensors("{\"a\": 1}", &[]),
        safetensors(&HEADER.replace("12]", "-1]"), &[0; 64]),
    ] {
        assert!(matches!(
            Tensors::open(&file),
            Err(WeightsError::NotSafetensors(_))
        ));
    }
    for short in [&[][..], &[1, 2], &[9, 0, 0, 0, 0, 0, 0, 0, b'{']] {
        assert!(matches!(
            Tensors::open(&file_of(short)),
            Err(WeightsError::Io(_))
        ));
    }
}

#[test]
fn a_part_of_a_file_is_mapped_at_any_offset_and_never_beyond_its_end() {
    let bytes: Vec<u8> = (0..9000_u32).map(|i| (i % 251) as u8).collect();
    let file = file_of(&bytes);
    for (start, length) in [
        (0, 9000),
        (1, 8),
        (4095, 2),
        (4096, 4904),
        (8999, 1),
        (9000, 0),
    ] {
        let mapped = Mapped::new(&file, start, length).unwrap();
        assert_eq!(*mapped, bytes[start as usize..][..length as usize]);
    }
    for (start, length) in [
        (0, 9001),
        (8999, 2),
        (9001, 0),
        (u64::MAX, 1),
        (1, u64::MAX),
    ] {
        let error = Mapped::new(&file, start, length).err().unwrap();
        assert!(error.to_string().contains("the file has 9000"), "{error}");
    }
}

/// Settings that a careless library could leave behind: every way of rounding, with and without flushing to zero.
#[cfg(target_arch = "x86_64")]
fn foreign_settings() -> Vec<ieee::Settings> {
    let flush = 1 << 15 | 1 << 6;
    let ways = [0, 1, 2, 3].map(|way| 0x1f80 | way << 13);
    ways.iter().flat_map(|way| [*way, way | flush]).collect()
}

#[cfg(target_arch = "aarch64")]
fn foreign_settings() -> Vec<ieee::Settings> {
    let ways = [0, 1, 2, 3].map(|way| way << 22);
    ways.iter().flat_map(|way| [*way, way | 1 << 24]).collect()
}

/// Do `work` under foreign settings, then put the thread's own back; says what `work` left behind.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
fn under<T>(settings: ieee::Settings, work: impl FnOnce() -> T) -> (T, ieee::Settings) {
    let own = ieee::settings();
    ieee::set(settings);
    let result = black_box(work());
    let left = ieee::settings();
    ieee::set(own);
    (result, left)
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn the_callers_settings_change_no_bit_and_are_its_own_again() {
    let mut numbers = Numbers(5);
    let [a, b, c]: [Sixteen; 3] = std::array::from_fn(|_| std::array::from_fn(|_| numbers.wide(4)));
    for kernel in Kernel::available() {
        let every = || {
            let mut out = Vec::new();
            kernel.call(EveryOperation {
                a: &a,
                b: &b,
                c: &c,
                out: &mut out,
            });
            bits(&out)
        };
        let expected = every();
        for settings in foreign_settings() {
            let (got, left) = under(settings, || ieee::by_default(every));
            assert_eq!(got, expected, "{} {settings:#x}", kernel.name());
            assert_eq!(left, settings);
        }
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn subnormals_survive_inside_and_not_where_the_caller_flushes_them() {
    let half = || black_box(2e-40_f32) * black_box(0.5);
    for settings in foreign_settings() {
        let (inside, left) = under(settings, || ieee::by_default(half));
        assert_eq!((inside, left), (1e-40, settings));
    }
    let (flushed, _) = under(*foreign_settings().last().unwrap(), half);
    assert_eq!(flushed, 0.0, "or the settings do nothing here");
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[test]
fn a_panic_gives_the_callers_settings_back() {
    let settings = *foreign_settings().last().unwrap();
    let (result, left) = under(settings, || {
        std::panic::catch_unwind(|| ieee::by_default(|| assert_eq!(black_box(1), 2, "meant")))
    });
    assert!(result.is_err());
    assert_eq!(left, settings);
}

#[test]
fn texts_are_grouped_in_order_and_none_is_lost() {
    let texts: Vec<Vec<u32>> = [228, 20, 8, 1, 256, 3, 254]
        .iter()
        .map(|n| vec![7; *n])
        .collect();
    let sizes: Vec<Vec<usize>> = super::groups(&texts)
        .map(|group| group.iter().map(Vec::len).collect())
        .collect();
    assert_eq!(
        sizes,
        [vec![228, 20, 8], vec![1], vec![256], vec![3], vec![254]]
    );
    assert_eq!(super::groups(&[]).count(), 0);
}

#[test]
fn a_whole_file_is_hashed_wherever_it_is_read_from() {
    let bytes: Vec<u8> = (0..(1 << 20) + 17_u32).map(|i| (i % 253) as u8).collect();
    for bytes in [&bytes[..], &bytes[..1 << 20], &[]] {
        let file = file_of(bytes);
        assert_eq!(sha256_of(&file).unwrap(), sha256(&[bytes]));
        assert_eq!(sha256_of(&file).unwrap(), sha256(&[bytes]));
    }
}
