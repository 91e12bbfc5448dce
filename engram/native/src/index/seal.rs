//! Parts become one: their living rows as a segment.
use super::fast;
use super::segment::{Aligned, Builder, Pick};
use super::signs;
use super::simd::Kernel;
use super::view::{Part, Rows};

/// A segment of some parts. `head_rows`: how many of the head's first rows it takes the place of.
#[derive(Debug)]
pub struct Built {
    pub bytes: Aligned,
    pub rows: usize,
    pub head_rows: usize,
}

/// Build the segment of the rows of these parts that are not dead. The same rows give the same bytes.
///
/// `most_head_rows`: a head has its first rows sealed, so many at most, and keeps the rest.
pub fn build(kernel: Kernel, dim: usize, parts: &[Part], most_head_rows: usize) -> Built {
    let mut picks = Vec::new();
    let mut head_rows = 0;
    for part in parts {
        let is_head = matches!(part.rows, Rows::Head(_));
        let most = if is_head { most_head_rows } else { usize::MAX };
        part.rows.for_each_slab(|first, slab| {
            let sealed = slab.rows().min(most.saturating_sub(first));
            let rows = (0..sealed).filter(|row| part.is_alive(first + row));
            let rows = rows.map(|row| row as u32).collect();
            picks.push(Pick { slab, rows });
        });
        if is_head {
            head_rows = part.rows.count().min(most);
        }
    }
    let builder = Builder::new(dim, &picks);
    let rows = builder.slab().rows();
    let fast = fast::earn(kernel, dim, &[(builder.slab(), None)]);
    let mut signs = Vec::new();
    if let Some(fast) = &fast {
        signs::extend(&mut signs, 0, &builder.slab(), fast.mean.as_deref());
    }
    Built {
        bytes: builder.finish(fast.as_ref().map(|fast| (fast, &signs[..]))),
        rows,
        head_rows,
    }
}
