//! all-MiniLM-L6-v2: BERT of six layers, mean over all tokens, L2 norm 1. The forward pass, one plain file.
use std::fs::File;

use super::attention::{self, attend};
use super::gemm::{Panels, Place, Product};
use super::math::gelu;
use super::shape::HIDDEN;
use super::simd::{LANES, Lanes, Sixteen, Task};
use super::weights::{Number, Tensor, Tensors, WeightsError};

const LAYERS: usize = 6;
const INTERMEDIATE: usize = 1536;
/// Token ids that the model has a row for: all below this.
pub const VOCABULARY: usize = 30_522;
const POSITIONS: usize = 512;
const EPSILON: f32 = 1e-12;

/// Most tokens of one text, [CLS] and [SEP] included. The model was trained on no longer ones.
pub const MAX_TOKENS: usize = 256;

/// A vector a text, of norm 1.
pub type Vector = [f32; HIDDEN];

/// The weights, read only: the layers' packed into memory of our own, 43 MB, the words' where the file has them.
pub struct Model {
    words: Tensor,
    /// Position plus token type 0.
    positions: Vec<f32>,
    norm: Norm,
    layers: Vec<Layer>,
}

struct Layer {
    qkv: Dense,
    attended: Dense,
    attended_norm: Norm,
    intermediate: Dense,
    output: Dense,
    output_norm: Norm,
}

struct Dense {
    panels: Panels,
    bias: Vec<Sixteen>,
}

struct Norm {
    weight: Vec<Sixteen>,
    bias: Vec<Sixteen>,
}

impl Model {
    /// Pack the weights of a safetensors file, tensor by tensor, so that there is never a second copy.
    ///
    /// The rows of words stay in the file, which must not be cut short as long as this lives.
    pub fn read(file: &File) -> Result<Self, WeightsError> {
        let tensors = Tensors::open(file)?;
        let words = tensors.map("embeddings.word_embeddings.weight", &[VOCABULARY, HIDDEN])?;
        let positions = tensors.map(
            "embeddings.position_embeddings.weight",
            &[POSITIONS, HIDDEN],
        )?;
        let types = tensors.map("embeddings.token_type_embeddings.weight", &[2, HIDDEN])?;
        let positions = positions[..MAX_TOKENS * HIDDEN]
            .iter()
            .zip(types[..HIDDEN].iter().cycle())
            .map(|(position, kind)| f32::from_le_bytes(*position) + f32::from_le_bytes(*kind))
            .collect();
        let norm = Norm::read(&tensors, "embeddings.LayerNorm")?;
        let layers = (0..LAYERS)
            .map(|i| Layer::read(&tensors, i))
            .collect::<Result<_, _>>()?;
        Ok(Self {
            words,
            positions,
            norm,
            layers,
        })
    }

    /// Embed texts of 1 to `MAX_TOKENS` token ids each.
    ///
    /// The rows of all texts go through the matrix products side by side, which reads the weights once; a row's bits do
    /// not depend on its neighbours. Attention, the only thing that mixes rows, is done text by text.
    pub fn forward<L: Lanes>(&self, lanes: L, texts: &[Vec<u32>]) -> Vec<Vector> {
        let rows = texts.iter().map(Vec::len).sum();
        let mut state = State::new(rows);
        self.embed_tokens(texts, &mut state.hidden);
        lanes.vectorize(Normalize {
            rows: &mut state.hidden,
            added: None,
            norm: &self.norm,
        });
        for layer in &self.layers {
            layer.forward(lanes, texts, &mut state);
        }
        let mut vectors = Vec::with_capacity(texts.len());
        let mut hidden = &state.hidden[..];
        for text in texts {
            let (rows, rest) = hidden.split_at(text.len() * HIDDEN);
            hidden = rest;
            let mut vector = [0.0; HIDDEN];
            lanes.vectorize(Pool {
                rows,
                vector: &mut vector,
            });
            vectors.push(vector);
        }
        vectors
    }

    fn embed_tokens(&self, texts: &[Vec<u32>], hidden: &mut [f32]) {
        let placed = texts.iter().flat_map(|text| text.iter().enumerate());
        for (row, (position, id)) in hidden.chunks_exact_mut(HIDDEN).zip(placed) {
            let word = &self.words[*id as usize * HIDDEN..][..HIDDEN];
            let place = &self.positions[position * HIDDEN..][..HIDDEN];
            for ((x, w), p) in row.iter_mut().zip(word).zip(place) {
                *x = f32::from_le_bytes(*w) + p;
            }
        }
    }
}

/// What flows through the layers; a row a token.
struct State {
    rows: usize,
    hidden: Vec<f32>,
    /// q, k, v side by side, or the intermediate activations.
    wide: Vec<f32>,
    context: Vec<f32>,
    dense: Vec<f32>,
    scratch: attention::Scratch,
}

impl State {
    fn new(rows: usize) -> Self {
        let zeros = |columns| vec![0.0; rows * columns];
        let scratch = attention::Scratch::default();
        Self {
            rows,
            hidden: zeros(HIDDEN),
            wide: zeros(INTERMEDIATE),
            context: zeros(HIDDEN),
            dense: zeros(HIDDEN),
            scratch,
        }
    }
}

impl Layer {
    fn read(tensors: &Tensors, index: usize) -> Result<Self, WeightsError> {
        let at = |part: &str| format!("encoder.layer.{index}.{part}");
        let mut qkv = Dense::read(tensors, &at("attention.self.query"), HIDDEN, HIDDEN)?;
        qkv.append(tensors, &at("attention.self.key"), HIDDEN, HIDDEN)?;
        qkv.append(tensors, &at("attention.self.value"), HIDDEN, HIDDEN)?;
        Ok(Self {
            qkv,
            attended: Dense::read(tensors, &at("attention.output.dense"), HIDDEN, HIDDEN)?,
            attended_norm: Norm::read(tensors, &at("attention.output.LayerNorm"))?,
            intermediate: Dense::read(tensors, &at("intermediate.dense"), INTERMEDIATE, HIDDEN)?,
            output: Dense::read(tensors, &at("output.dense"), HIDDEN, INTERMEDIATE)?,
            output_norm: Norm::read(tensors, &at("output.LayerNorm"))?,
        })
    }

    fn forward<L: Lanes>(&self, lanes: L, texts: &[Vec<u32>], state: &mut State) {
        let State {
            rows,
            hidden,
            wide,
            context,
            dense,
            scratch,
        } = state;
        let qkv = &mut wide[..*rows * 3 * HIDDEN];
        self.qkv.apply(lanes, hidden, qkv, *rows);
        let (mut left, mut out) = (&*qkv, &mut context[..]);
        for text in texts {
            let (mine, rest) = left.split_at(text.len() * 3 * HIDDEN);
            let (to, out_rest) = out.split_at_mut(text.len() * HIDDEN);
            attend(lanes, mine, to, scratch);
            (left, out) = (rest, out_rest);
        }
        self.attended.apply(lanes, context, dense, *rows);
        lanes.vectorize(Normalize {
            rows: hidden,
            added: Some(dense),
            norm: &self.attended_norm,
        });
        self.intermediate.apply(lanes, hidden, wide, *rows);
        lanes.vectorize(Gelu(wide));
        self.output.apply(lanes, wide, dense, *rows);
        lanes.vectorize(Normalize {
            rows: hidden,
            added: Some(dense),
            norm: &self.output_norm,
        });
    }
}

impl Dense {
    fn read(t: &Tensors, name: &str, outputs: usize, inputs: usize) -> Result<Self, WeightsError> {
        let mut dense = Self {
            panels: Panels::pack(&[], inputs),
            bias: Vec::new(),
        };
        dense.append(t, name, outputs, inputs)?;
        Ok(dense)
    }

    /// Read more outputs of the same inputs.
    fn append(
        &mut self,
        tensors: &Tensors,
        name: &str,
        outputs: usize,
        inputs: usize,
    ) -> Result<(), WeightsError> {
        self.panels
            .append(&tensors.map(&format!("{name}.weight"), &[outputs, inputs])?);
        self.bias
            .extend(sixteens(&tensors.map(&format!("{name}.bias"), &[outputs])?));
        Ok(())
    }

    fn apply<L: Lanes>(&self, lanes: L, left: &[f32], out: &mut [f32], rows: usize) {
        let (inputs, outputs) = (left.len() / rows, out.len() / rows);
        lanes.vectorize(Product {
            rows,
            left,
            left_at: Place::whole(inputs),
            panels: &self.panels,
            bias: Some(&self.bias),
            out,
            out_at: Place::whole(outputs),
        });
    }
}

impl Norm {
    fn read(tensors: &Tensors, name: &str) -> Result<Self, WeightsError> {
        let weight = sixteens(&tensors.map(&format!("{name}.weight"), &[HIDDEN])?);
        Ok(Self {
            weight,
            bias: sixteens(&tensors.map(&format!("{name}.bias"), &[HIDDEN])?),
        })
    }
}

fn sixteens(values: &[Number]) -> Vec<Sixteen> {
    let sixteen = |numbers: &[Number; 16]| numbers.map(f32::from_le_bytes);
    values.as_chunks().0.iter().map(sixteen).collect()
}

/// Layer normalisation of each row, after adding the row of `added`: (x - mean) / sqrt(variance + epsilon) * weight + bias.
struct Normalize<'a> {
    rows: &'a mut [f32],
    added: Option<&'a [f32]>,
    norm: &'a Norm,
}

impl Task for Normalize<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        for (i, row) in self.rows.chunks_exact_mut(HIDDEN).enumerate() {
            let row = row.as_chunks_mut().0;
            if let Some(added) = self.added {
                for (x, more) in row
                    .iter_mut()
                    .zip(added[i * HIDDEN..][..HIDDEN].as_chunks().0)
                {
                    lanes.store(x, lanes.add(lanes.load(x), lanes.load(more)));
                }
            }
            normalize_row(lanes, row, self.norm);
        }
    }
}

#[inline(always)]
fn normalize_row<L: Lanes>(lanes: L, row: &mut [Sixteen], norm: &Norm) {
    let mut total = lanes.splat(0.0);
    for x in &*row {
        total = lanes.add(total, lanes.load(x));
    }
    let mean = lanes.splat(lanes.sum(total) / HIDDEN as f32);
    let mut squares = lanes.splat(0.0);
    for x in &mut *row {
        let centred = lanes.sub(lanes.load(x), mean);
        squares = lanes.fma(centred, centred, squares);
        lanes.store(x, centred);
    }
    let variance = lanes.sum(squares) / HIDDEN as f32;
    let scale = lanes.splat(1.0 / (variance + EPSILON).sqrt());
    for ((x, weight), bias) in row.iter_mut().zip(&norm.weight).zip(&norm.bias) {
        let scaled = lanes.mul(lanes.load(x), scale);
        lanes.store(x, lanes.fma(scaled, lanes.load(weight), lanes.load(bias)));
    }
}

struct Gelu<'a>(&'a mut [f32]);

impl Task for Gelu<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        for x in self.0.as_chunks_mut().0 {
            lanes.store(x, gelu(lanes, lanes.load(x)));
        }
    }
}

/// The mean over all rows (tokens in ascending order), divided by its length.
struct Pool<'a> {
    rows: &'a [f32],
    vector: &'a mut Vector,
}

impl Task for Pool<'_> {
    #[inline(always)]
    fn run<L: Lanes>(self, lanes: L) {
        let vector = self.vector.as_chunks_mut::<LANES>().0;
        for row in self.rows.chunks_exact(HIDDEN) {
            for (sum, x) in vector.iter_mut().zip(row.as_chunks().0) {
                lanes.store(sum, lanes.add(lanes.load(sum), lanes.load(x)));
            }
        }
        let tokens = lanes.splat((self.rows.len() / HIDDEN) as f32);
        let mut squares = lanes.splat(0.0);
        for x in &mut *vector {
            let mean = lanes.div(lanes.load(x), tokens);
            squares = lanes.fma(mean, mean, squares);
            lanes.store(x, mean);
        }
        let length = lanes.splat(lanes.sum(squares).sqrt());
        for x in vector {
            lanes.store(x, lanes.div(lanes.load(x), length));
        }
    }
}
