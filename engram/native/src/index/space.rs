//! The writer's side of a namespace: rows come and go here, and readers see them when it publishes.
//!
//! A row is known by its location. One thread writes; publishing never waits for a reader, nor a reader for the writer:
//! what a view holds is shared, and copied before it is changed.
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use super::IndexError;
use super::codes::{Batch, check_dim};
use super::head::Head;
use super::maps::{BodyMaps, Maps, vector_of};
use super::mask::{is_set, set};
use super::rows::{Stored, tag_of};
use super::simd::Kernel;
use super::view::{Part, Rows, View};
use crate::attributes::Columns;
use crate::hash::Digest;

/// The next part's id. Never used again in this process, so that what is remembered of a part is of no other.
static NEXT_ID: AtomicU64 = AtomicU64::new(1);

/// The rows of one namespace, in the hands of its one writer.
#[derive(Debug)]
pub struct Space {
    dim: usize,
    kernel: Kernel,
    bodies: Arc<BodyMaps>,
    sealed: Vec<Part>,
    head: Head,
    head_id: u64,
    head_columns: Arc<Mutex<Columns>>,
    head_dead: Option<Arc<Vec<u64>>>,
    highest: u64,
    living: usize,
    widening: usize,
}

/// Where a living row is: in a sealed part, or in the head.
enum Place {
    Sealed(usize, usize),
    Head(usize),
}

impl Space {
    /// Make an empty space for rows of `dim` components.
    pub fn new(dim: usize, kernel: Kernel, bodies: Arc<BodyMaps>) -> Result<Self, IndexError> {
        check_dim(dim)?;
        Ok(Self {
            dim,
            kernel,
            bodies,
            sealed: Vec::new(),
            head: Head::default(),
            head_id: next_id(),
            head_columns: Arc::default(),
            head_dead: None,
            highest: 0,
            living: 0,
            widening: 1,
        })
    }

    /// The number of components of a row.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// Have fast searches look at `times` as many rows as the parts' self-tests say; more of what is published next.
    pub fn widen(&mut self, times: usize) {
        self.widening = times.max(1);
    }

    /// The number of living rows.
    pub fn living(&self) -> usize {
        self.living
    }

    /// The number of rows of the head, dead ones included.
    pub fn head_rows(&self) -> usize {
        self.head.rows()
    }

    /// Add the rows of bodies, each named by digest and location; give the locations of those that are not what they
    /// should be, which are left out. A row that lives already stays as it is.
    pub fn add(&mut self, rows: &[(Digest, u64)]) -> Result<Vec<u64>, IndexError> {
        let room = u32::MAX as usize - self.head.rows();
        if rows.len() > room {
            return Err(IndexError::TooManyRows);
        }
        let maps = self.bodies.maps();
        let mut refused = Vec::new();
        // A part of them at a time: what is coded waits beside the head, and need not be as large.
        for rows in rows.chunks(ROWS_A_BATCH) {
            let mut batch = Batch::new(self.dim)?;
            let mut highest = self.highest;
            for (digest, location) in rows {
                let seen = *location <= highest;
                if seen && (batch.locations.contains(location) || self.place(*location).is_some()) {
                    continue;
                }
                highest = highest.max(*location);
                if !push(&maps, &mut batch, digest, *location) {
                    refused.push(*location);
                }
            }
            self.highest = highest;
            self.living += batch.locations.len();
            self.head.append(self.kernel, &batch);
        }
        Ok(refused)
    }

    /// Take the row at a location off what is published next; say whether there was one.
    pub fn remove(&mut self, location: u64) -> bool {
        let (dead, row) = match self.place(location) {
            None => return false,
            Some(Place::Sealed(part, row)) => (&mut self.sealed[part].dead, row),
            Some(Place::Head(row)) => (&mut self.head_dead, row),
        };
        set(Arc::make_mut(dead.get_or_insert_default()), row);
        self.living -= 1;
        true
    }

    /// Give readers what is here now.
    pub fn publish(&self) -> View {
        let mut parts = self.sealed.clone();
        parts.push(Part {
            id: self.head_id,
            rows: Rows::Head(self.head.clone()),
            columns: Arc::clone(&self.head_columns),
            dead: self.head_dead.clone(),
        });
        View {
            dim: self.dim,
            parts,
            bodies: Arc::clone(&self.bodies),
            living: self.living,
            widening: self.widening,
        }
    }

    /// Put a sealed part in the place of those that it was made of, by their ids: of the head, of its first `head_rows`.
    ///
    /// What died meanwhile is dead in it; None where nothing lived. Nothing changes where one of the parts is not here, or
    /// where it lacks a row that lives in them.
    pub fn adopt(
        &mut self,
        stored: Option<Arc<dyn Stored>>,
        replaces: &[u64],
        head_rows: usize,
    ) -> Result<(), IndexError> {
        let known = |id: &u64| *id == self.head_id || self.sealed.iter().any(|part| part.id == *id);
        if !replaces.iter().all(known) || head_rows > self.head.rows() {
            return Err(IndexError::NotReplaced);
        }
        let living = self.living_in(replaces, head_rows);
        let locations = stored
            .as_ref()
            .map_or(&[][..], |stored| stored.slab().locations);
        let dead = dead_but(locations, &living).ok_or(IndexError::NotReplaced)?;
        self.highest = self.highest.max(locations.last().copied().unwrap_or(0));
        self.sealed.retain(|part| !replaces.contains(&part.id));
        self.sealed.extend(stored.map(|stored| Part {
            id: next_id(),
            columns: stored.columns(),
            rows: Rows::Sealed(stored),
            dead: dead.map(Arc::new),
        }));
        if head_rows > 0 {
            self.drop_from_head(head_rows);
        }
        Ok(())
    }

    fn drop_from_head(&mut self, rows: usize) {
        self.head_dead = self.head_dead.take().and_then(|dead| {
            let mut left = Vec::new();
            let behind = (rows..self.head.rows()).filter(|&row| is_set(&dead, row));
            behind.for_each(|row| set(&mut left, row - rows));
            Some(left).filter(|left| !left.is_empty()).map(Arc::new)
        });
        self.head.drop_first(self.kernel, self.dim, rows);
        self.head_id = next_id();
        self.head_columns = Arc::default();
    }

    /// Have the living rows be those at these locations, as far as they are here; give the locations that no part holds.
    pub fn reconcile(&mut self, mut live: Vec<u64>) -> Vec<u64> {
        live.sort_unstable();
        live.dedup();
        let mut held = vec![false; live.len()];
        let mut claim = |location: u64| {
            let found = live.binary_search(&location);
            found.is_ok_and(|at| !std::mem::replace(&mut held[at], true))
        };
        for part in &mut self.sealed {
            part.dead = dead_of(&part.rows, &mut claim);
        }
        self.head_dead = dead_of(&Rows::Head(self.head.clone()), &mut claim);
        self.living = held.iter().filter(|&&held| held).count();
        let missing = live.iter().zip(held).filter(|(_, held)| !held);
        missing.map(|(&location, _)| location).collect()
    }

    fn place(&self, location: u64) -> Option<Place> {
        for (number, part) in self.sealed.iter().enumerate() {
            if let Rows::Sealed(stored) = &part.rows
                && let Ok(row) = stored.slab().locations.binary_search(&location)
                && part.is_alive(row)
            {
                return Some(Place::Sealed(number, row));
            }
        }
        let mut rows = self.head.at(location);
        let alive = |row: &usize| {
            let dead = self.head_dead.as_ref();
            dead.is_none_or(|dead| !is_set(dead, *row))
        };
        rows.find(alive).map(Place::Head)
    }

    /// List the locations of the living rows of some parts, ascending.
    fn living_in(&self, ids: &[u64], head_rows: usize) -> Vec<u64> {
        let mut living = Vec::new();
        for part in self.publish().parts {
            let rows = match &part.rows {
                Rows::Sealed(_) if ids.contains(&part.id) => part.rows.count(),
                Rows::Sealed(_) => 0,
                Rows::Head(_) => head_rows,
            };
            part.rows.for_each_slab(|first, slab| {
                let locations = slab.locations.iter().enumerate();
                living.extend(
                    locations
                        .filter(|&(row, _)| first + row < rows && part.is_alive(first + row))
                        .map(|(_, &location)| location),
                );
            });
        }
        living.sort(); // runs that ascend, one a part, which are merged and not sorted anew
        living
    }
}

/// Rows that are coded before they are appended.
const ROWS_A_BATCH: usize = 4096;

fn next_id() -> u64 {
    NEXT_ID.fetch_add(1, Ordering::Relaxed)
}

fn push(maps: &Maps, batch: &mut Batch, digest: &Digest, location: u64) -> bool {
    let tag = tag_of(digest);
    let body = maps.proved(location, Some(tag));
    body.filter(|body| body.digest == *digest)
        .is_some_and(|body| {
            vector_of(&body.payload, batch.dim())
                .is_some_and(|vector| batch.push(vector, tag, location).is_ok())
        })
}

/// Give the bits of the rows whose location is not among the living; None for the bits where all are. None at all where
/// a living one has no row.
fn dead_but(locations: &[u64], living: &[u64]) -> Option<Option<Vec<u64>>> {
    let mut left = living.iter().peekable();
    let mut dead = Vec::new();
    for (row, location) in locations.iter().enumerate() {
        if left.next_if_eq(&location).is_none() {
            set(&mut dead, row);
        }
    }
    left.next()
        .is_none()
        .then(|| Some(dead).filter(|dead| !dead.is_empty()))
}

fn dead_of(rows: &Rows, mut claim: impl FnMut(u64) -> bool) -> Option<Arc<Vec<u64>>> {
    let mut dead = Vec::new();
    rows.for_each_slab(|first, slab| {
        for (row, &location) in slab.locations.iter().enumerate() {
            if !claim(location) {
                set(&mut dead, first + row);
            }
        }
    });
    Some(dead).filter(|dead| !dead.is_empty()).map(Arc::new)
}
