//! The matrix product: every output is one chain of fused multiply-adds over k, ascending, that starts at its bias.
//!
//! Columns are the lanes and rows are blocked, so neither the register width nor the block size touches the order of k:
//! that is what makes the bits the same on every CPU and for any company of rows.
use super::simd::{Lanes, Sixteen, Task};
use super::weights::Number;

/// A matrix of `depth` rows, cut into panels of sixteen columns that are each contiguous over k.
#[derive(Debug)]
pub struct Panels {
    depth: usize,
    sixteens: Vec<Sixteen>,
}

impl Panels {
    /// Room for `columns` (rounded up to sixteen) by `depth`, all zero.
    pub fn zeros(depth: usize, columns: usize) -> Self {
        Self {
            depth,
            sixteens: vec![[0.0; 16]; columns.div_ceil(16) * depth],
        }
    }

    /// Pack the transpose of `outputs` x `depth` weights, the layout in which a model file has them.
    pub fn pack(weights: &[Number], depth: usize) -> Self {
        let mut panels = Self {
            depth,
            sixteens: Vec::with_capacity(weights.len() / 16),
        };
        panels.append(weights);
        panels
    }

    /// Add more outputs of the same depth; their number is a multiple of sixteen.
    pub fn append(&mut self, weights: &[Number]) {
        let depth = self.depth;
        assert_eq!(
            weights.len() % (16 * depth),
            0,
            "outputs come by the sixteen"
        );
        self.sixteens.reserve_exact(weights.len() / 16);
        for panel in weights.chunks_exact(16 * depth) {
            let sixteen =
                |k| std::array::from_fn(|column| f32::from_le_bytes(panel[column * depth + k]));
            self.sixteens.extend((0..depth).map(sixteen));
        }
    }

    /// Change the shape and forget the contents, which are unspecified afterwards.
    pub fn reshape(&mut self, depth: usize, columns: usize) {
        self.depth = depth;
        self.sixteens
            .resize(columns.div_ceil(16) * depth, [0.0; 16]);
    }

    pub fn panel_mut(&mut self, index: usize) -> &mut [Sixteen] {
        &mut self.sixteens[index * self.depth..][..self.depth]
    }

    fn panel(&self, index: usize) -> &[Sixteen] {
        &self.sixteens[index * self.depth..][..self.depth]
    }

    fn count(&self) -> usize {
        self.sixteens.len() / self.depth
    }
}

/// A view of a row-major matrix inside a larger one: row `i` starts at `start + i * stride`.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    pub start: usize,
    pub stride: usize,
}

impl Place {
    /// A matrix that fills its memory, of `stride` columns.
    pub fn whole(stride: usize) -> Self {
        Self { start: 0, stride }
    }

    fn row(self, i: usize) -> usize {
        self.start + i * self.stride
    }
}

/// `out = left * panels + bias`, over `rows` rows. No bias is a bias of zeros.
pub struct Product<'a> {
    pub rows: usize,
    pub left: &'a [f32],
    pub left_at: Place,
    pub panels: &'a Panels,
    pub bias: Option<&'a [Sixteen]>,
    pub out: &'a mut [f32],
    pub out_at: Place,
}

impl Task for Product<'_> {
    #[inline(always)]
    fn run<L: Lanes>(mut self, lanes: L) {
        let count = self.panels.count();
        let mut panel = 0;
        while panel < count {
            if L::PANELS == 3 && count - panel >= 3 {
                self.columns::<L, 3>(lanes, panel);
                panel += 3;
            } else {
                self.columns::<L, 1>(lanes, panel);
                panel += 1;
            }
        }
    }
}

impl Product<'_> {
    /// All rows of `P` panels, in blocks of nearly the same height.
    #[inline(always)]
    fn columns<L: Lanes, const P: usize>(&mut self, lanes: L, panel: usize) {
        let blocks = self.rows.div_ceil(L::ROWS);
        let mut row = 0;
        for block in 0..blocks {
            let height = (self.rows - row).div_ceil(blocks - block);
            match height {
                1 => self.block::<L, 1, P>(lanes, row, panel),
                2 => self.block::<L, 2, P>(lanes, row, panel),
                3 => self.block::<L, 3, P>(lanes, row, panel),
                4 => self.block::<L, 4, P>(lanes, row, panel),
                5 => self.block::<L, 5, P>(lanes, row, panel),
                6 => self.block::<L, 6, P>(lanes, row, panel),
                7 => self.block::<L, 7, P>(lanes, row, panel),
                8 => self.block::<L, 8, P>(lanes, row, panel),
                _ => unreachable!("no kernel has blocks of more than eight rows"),
            }
            row += height;
        }
    }

    /// `R` rows by `P` panels, kept in registers over the whole of k.
    #[inline(always)]
    fn block<L: Lanes, const R: usize, const P: usize>(
        &mut self,
        lanes: L,
        row: usize,
        panel: usize,
    ) {
        let depth = self.panels.depth;
        let left: [&[f32]; R] =
            std::array::from_fn(|r| &self.left[self.left_at.row(row + r)..][..depth]);
        let right: [&[Sixteen]; P] =
            std::array::from_fn(|p| &self.panels.panel(panel + p)[..depth]);
        let start: [L::V; P] = std::array::from_fn(|p| match self.bias {
            Some(bias) => lanes.load(&bias[panel + p]),
            None => lanes.splat(0.0),
        });
        let mut sums = [start; R];
        for k in 0..depth {
            let b: [L::V; P] = std::array::from_fn(|p| lanes.load(&right[p][k]));
            for r in 0..R {
                let a = lanes.splat(left[r][k]);
                for p in 0..P {
                    sums[r][p] = lanes.fma(a, b[p], sums[r][p]);
                }
            }
        }
        for (r, sums) in sums.iter().enumerate() {
            let out = &mut self.out[self.out_at.row(row + r) + panel * 16..][..P * 16];
            for (sixteen, sum) in out.as_chunks_mut().0.iter_mut().zip(sums) {
                lanes.store(sixteen, *sum);
            }
        }
    }
}
