//! A search over the parts of a view: which rows may be found, which of them can be among the best, and the best.
//!
//! Fast, the signs of each part that has earned it name the rows whose codes are looked at; exactly, the codes of every
//! row are. From there on both are the same: one bound for all parts, then the cosines of the few rows that reach it,
//! then the bodies of the best, proved. A body that is not what was written is left out and the search made again
//! without it: it neither comes out nor takes the place of one that would.
use std::cmp::Ordering;

use super::exact::Cosines;
use super::maps::Maps;
use super::mask::Mask;
use super::query::Query;
use super::rows::Slab;
use super::scan::{Best, Near, RowId, refine, scan, scan_some};
use super::signs::Nearest;
use super::simd::Kernel;
use super::view::{Allowed, Part, View};
use crate::hash::Digest;

/// Allowed rows up to which a search is exact without being asked to be.
pub const EXACT_ROWS: usize = 20_000;
/// What a search takes, about: components a nanosecond that it goes over by signs and by codes, nanoseconds for each row
/// that the signs let pass, and for each that is given.
const FAST_A_NS: usize = 500;
const CODES_A_NS: usize = 15;
const NS_A_ROW: usize = 40;
const NS_A_HIT: usize = 2000;
/// Damaged bodies that searches meet, after which every body is proved before one more.
const ROUNDS: usize = 8;

/// What is asked for besides the query.
///
/// `excluded`: ranges of locations of bodies that are known to be damaged. `clock` gives microseconds; without it no
/// step is measured.
#[derive(Clone, Copy)]
pub struct Ask<'a> {
    pub kernel: Kernel,
    pub k: usize,
    pub exact: bool,
    pub allowed: Option<&'a Allowed>,
    pub excluded: &'a [(u64, u64)],
    pub clock: Option<&'a (dyn Fn() -> f64 + Sync)>,
}

/// How a search found what it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// As brute force would.
    Exact,
    /// By the signs of a part at least: the nearest with the recall that the part has shown.
    Fast,
}

/// A row found, and its body.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    pub digest: Digest,
    pub location: u64,
    pub score: f32,
    pub payload: Vec<u8>,
}

/// A step of a search: its name, the rows that it left, and how many microseconds it took.
pub type Step = (&'static str, usize, f64);

/// What a search found: the best first, equal scores by digest. `damaged`: where bodies were met that are not whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    pub hits: Vec<Hit>,
    pub mode: Mode,
    pub steps: Vec<Step>,
    pub damaged: Vec<u64>,
}

impl View {
    /// Find the `k` allowed, living, sound rows nearest to the query; all of them if there are fewer.
    pub fn search(&self, query: &Query, ask: &Ask<'_>) -> Found {
        assert_eq!(query.dim(), self.dim, "the query is of another dimension");
        let maps = self.bodies.maps();
        let mut excluded = ask.excluded.to_vec();
        let mut damaged = Vec::new();
        loop {
            let excluded_now = joined(&mut excluded);
            let mut search = Search::new(self, query, ask, &maps, excluded_now);
            let mut bad = match search.run() {
                Ok(hits) => {
                    return Found {
                        hits,
                        mode: search.mode,
                        steps: search.steps.taken,
                        damaged,
                    };
                }
                Err(bad) => bad,
            };
            if damaged.len() + bad.len() > ROUNDS {
                bad.extend(self.unsound(query, ask, &maps, excluded_now));
                bad.sort_unstable();
                bad.dedup();
            }
            excluded.extend(bad.iter().map(|&location| (location, location + 1)));
            damaged.append(&mut bad);
        }
    }

    /// Say about how many nanoseconds a search of all rows takes, for whoever has to choose a thread for it.
    pub fn expected_ns(&self, k: usize, exact: bool) -> usize {
        let fast = !exact && self.living > EXACT_ROWS;
        let of_part = |part: &Part| {
            let rows = part.rows.count();
            match part.fast_for(self.breadth(k), Mask(None)) {
                Some((_, r1)) if fast => rows * self.dim / FAST_A_NS + r1 * NS_A_ROW,
                _ => rows * self.dim / CODES_A_NS,
            }
        };
        let fixed = k.min(self.living).saturating_mul(NS_A_HIT);
        self.parts.iter().map(of_part).sum::<usize>() + fixed
    }

    /// List the locations of living rows, of those not known yet, whose bodies are not sound, or not those that they were
    /// coded from as far as this query can tell.
    fn unsound(
        &self,
        query: &Query,
        ask: &Ask<'_>,
        maps: &Maps,
        excluded: &[(u64, u64)],
    ) -> Vec<u64> {
        let all = Ask {
            k: usize::MAX,
            allowed: None,
            clock: None,
            ..*ask
        };
        let mut search = Search::new(self, query, &all, maps, excluded);
        let near = search.near(vec![None; self.parts.len()]);
        let mut found = search.rank(&near).err().unwrap_or_default();
        for row in near {
            let (slab, at) = search.find(row.id);
            let (location, tag) = (slab.locations[at], slab.tags[at]);
            if maps.proved(location, Some(tag)).is_none() {
                found.push(location);
            }
        }
        found
    }
}

struct Steps<'a> {
    clock: Option<&'a (dyn Fn() -> f64 + Sync)>,
    last: f64,
    taken: Vec<Step>,
}

impl<'a> Steps<'a> {
    fn new(clock: Option<&'a (dyn Fn() -> f64 + Sync)>) -> Self {
        Self {
            clock,
            last: clock.map_or(0.0, |clock| clock()),
            taken: Vec::new(),
        }
    }

    fn end(&mut self, name: &'static str, rows: impl FnOnce() -> usize) {
        if let Some(clock) = self.clock {
            let now = clock();
            self.taken.push((name, rows(), now - self.last));
            self.last = clock();
        }
    }
}

struct Ranked {
    score: f32,
    digest: Digest,
    location: u64,
    tag: u32,
}

impl Ranked {
    fn order(&self, other: &Self) -> Ordering {
        let scores = other.score.total_cmp(&self.score);
        scores.then_with(|| self.digest.cmp(&other.digest))
    }
}

struct Search<'a> {
    view: &'a View,
    query: &'a Query,
    ask: &'a Ask<'a>,
    maps: &'a Maps,
    masks: Vec<Option<Vec<u64>>>,
    mode: Mode,
    steps: Steps<'a>,
}

impl<'a> Search<'a> {
    fn new(
        view: &'a View,
        query: &'a Query,
        ask: &'a Ask<'a>,
        maps: &'a Maps,
        excluded: &[(u64, u64)],
    ) -> Self {
        let steps = Steps::new(ask.clock);
        let masks = view
            .parts
            .iter()
            .map(|part| part.mask(ask.allowed, excluded));
        Self {
            masks: masks.collect(),
            view,
            query,
            ask,
            maps,
            mode: Mode::Exact,
            steps,
        }
    }

    /// Find the best, or the locations of damaged bodies that were in the way.
    fn run(&mut self) -> Result<Vec<Hit>, Vec<u64>> {
        let allowed = (0..self.masks.len()).map(|part| self.allowed(part)).sum();
        self.steps.end("allowed", || allowed);
        let signed = self.signed(allowed > EXACT_ROWS && !self.ask.exact);
        let near = self.near(signed);
        let ranked = self.rank(&near)?;
        self.prove(ranked)
    }

    fn mask(&self, part: usize) -> Mask<'_> {
        Mask(self.masks[part].as_deref())
    }

    fn allowed(&self, part: usize) -> usize {
        self.mask(part).count(self.view.parts[part].rows.count())
    }

    fn find(&self, id: RowId) -> (Slab<'a>, usize) {
        self.view.parts[id.part].rows.find(id.row)
    }

    /// Give what the signs let pass of each part that is searched by them; None for one whose codes are all looked at.
    fn signed(&mut self, fast: bool) -> Vec<Option<Vec<RowId>>> {
        let kernel = self.ask.kernel;
        let mut signed = Vec::with_capacity(self.masks.len());
        for (number, part) in self.view.parts.iter().enumerate() {
            let mask = self.mask(number);
            let Some((way, r1)) = part
                .fast_for(self.view.breadth(self.ask.k), mask)
                .filter(|_| fast)
            else {
                signed.push(None);
                continue;
            };
            let query = self.query.signs(way.mean.as_deref());
            let slabs = |work: &mut dyn FnMut(usize, Slab<'a>)| {
                part.rows.for_each_slab(work);
            };
            let nearest = Nearest::new(self.view.dim, r1).of(kernel, &query, mask, slabs);
            let ids = nearest.into_iter().map(|row| RowId {
                part: number,
                row: row as usize,
            });
            signed.push(Some(ids.collect()));
            self.mode = Mode::Fast;
        }
        if self.mode == Mode::Fast {
            let left = |(part, ids): (usize, &Option<Vec<RowId>>)| {
                ids.as_ref().map_or_else(|| self.allowed(part), Vec::len)
            };
            let left = signed.iter().enumerate().map(left).sum();
            self.steps.end("signs", || left);
        }
        signed
    }

    /// Give the rows that can be among the best by their codes: under one bound, whatever part they are in.
    fn near(&mut self, signed: Vec<Option<Vec<RowId>>>) -> Vec<Near> {
        let (kernel, query, k) = (self.ask.kernel, self.query, self.ask.k);
        let mut best = Best::new(k);
        // Those that the signs chose first: they raise the bound at once.
        for ids in signed.iter().flatten() {
            scan_some(kernel, query, ids, |id| self.find(id), &mut best);
        }
        for (number, part) in self.view.parts.iter().enumerate() {
            if signed[number].is_none() {
                let mask = self.mask(number);
                part.rows.for_each_slab(|row, slab| {
                    let first = RowId { part: number, row };
                    scan(kernel, query, first, &slab, mask, &mut best);
                });
            }
        }
        let mut near = best.finish();
        if near.len() > k {
            near = refine(kernel, query, k, &near, |id| self.find(id));
        }
        self.steps.end("codes", || near.len());
        near
    }

    /// Score the rows by their vectors. One whose score its codes rule out has another vector than it was coded from.
    fn rank(&mut self, near: &[Near]) -> Result<Vec<Ranked>, Vec<u64>> {
        let mut cosines = Cosines::new(self.ask.kernel, self.query.dim(), self.query.bytes())
            .expect("the query was coded, so it has a direction");
        let mut vector = vec![0; self.query.bytes().len()];
        let (mut ranked, mut damaged) = (Vec::with_capacity(near.len()), Vec::new());
        for &Near { id, value, margin } in near {
            let (slab, at) = self.find(id);
            let (location, tag) = (slab.locations[at], slab.tags[at]);
            let digest = self.maps.vector(location, tag, &mut vector);
            let score = cosines.score(&vector).ok();
            match (digest, score) {
                (Some(digest), Some(score)) if (f64::from(score) - value).abs() <= margin => {
                    ranked.push(Ranked {
                        score,
                        digest,
                        location,
                        tag,
                    });
                }
                _ => damaged.push(location),
            }
        }
        if !damaged.is_empty() {
            return Err(damaged);
        }
        let k = self.ask.k;
        if ranked.len() > k {
            ranked.select_nth_unstable_by(k, Ranked::order);
            ranked.truncate(k);
        }
        ranked.sort_unstable_by(Ranked::order);
        self.steps.end("cosines", || ranked.len());
        Ok(ranked)
    }

    fn prove(&mut self, ranked: Vec<Ranked>) -> Result<Vec<Hit>, Vec<u64>> {
        let (mut hits, mut damaged) = (Vec::with_capacity(ranked.len()), Vec::new());
        for row in ranked {
            match self.maps.proved(row.location, Some(row.tag)) {
                Some(body) if body.digest == row.digest => hits.push(Hit {
                    digest: row.digest,
                    location: row.location,
                    score: row.score,
                    payload: body.payload,
                }),
                _ => damaged.push(row.location),
            }
        }
        if !damaged.is_empty() {
            return Err(damaged);
        }
        self.steps.end("bodies", || hits.len());
        Ok(hits)
    }
}

/// Sort ranges and join those that meet.
fn joined(ranges: &mut Vec<(u64, u64)>) -> &[(u64, u64)] {
    ranges.sort_unstable();
    ranges.dedup_by(|next, before| {
        let meets = next.0 <= before.1;
        if meets {
            before.1 = before.1.max(next.1);
        }
        meets
    });
    ranges
}
