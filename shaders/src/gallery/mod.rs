//! A gallery: checked once, packed once, then immutable and shared. A changed gallery is a new one that shares the
//! blocks that did not change.

pub(crate) mod block;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::Error;
use crate::layout::PANEL_ROWS;
use crate::template::{check_dims, check_rows};
use block::Block;

/// The most rows of a block that still takes additions: two panels. An addition copies that block, so this bounds its
/// cost.
const GROWING_ROWS_MAX: usize = 2 * PANEL_ROWS;

/// A gallery of more parts is packed anew when it changes: a search takes each part by itself.
const PARTS_MAX: usize = 16;
/// A gallery with more than one gap in so many rows is packed anew when it changes: a search scores the gaps too.
const ROWS_A_GAP_MIN: usize = 4;

/// Some consecutive rows of a gallery.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// Number of the block's first row within the gallery.
    pub(crate) first: u32,
    pub(crate) block: Arc<Block>,
    /// One word a panel, a bit for each row that was removed; none where all rows are there.
    removed: Option<Arc<[u32]>>,
}

impl Part {
    /// The rows of a panel, as bits, that exist and were not removed.
    pub(crate) fn live(&self, panel: usize) -> u32 {
        let rows = self.block.row_count() - panel * PANEL_ROWS;
        let there = if rows < PANEL_ROWS { (1 << rows) - 1 } else { u32::MAX };
        there & !self.removed.as_ref().map_or(0, |removed| removed[panel])
    }

    /// Whether any of its rows was removed.
    pub(crate) fn has_removed(&self) -> bool {
        self.removed.is_some()
    }
}

/// The templates of one shard: their `f32` values, for exact scores, and their eight-bit codes in panels of 32 rows,
/// for the coarse pass.
///
/// A row keeps its number in the galleries that share its block: a removed row leaves a gap that no search finds, and
/// an added one comes behind the last.
#[derive(Debug)]
pub struct Gallery {
    id: u64,
    dims: usize,
    parts: Vec<Part>,
    rows: usize,
    rows_live: usize,
}

impl Gallery {
    /// Checks and packs `rows`, row-major, `n x dims` values, each row of unit norm. May be empty.
    ///
    /// # Errors
    /// [`Error::Dims`], [`Error::GalleryLength`], [`Error::GalleryRows`], or [`Error::Row`] with the first bad row.
    pub fn new(dims: usize, rows: Vec<f32>) -> Result<Gallery, Error> {
        check_dims(dims)?;
        check_rows(dims, 0, &rows)?;
        Ok(Gallery::of_block(Block::new(dims, rows)))
    }

    fn of_block(block: Block) -> Gallery {
        let (dims, rows) = (block.dims(), block.row_count());
        Gallery::of(dims, vec![Part { first: 0, block: Arc::new(block), removed: None }], rows)
    }

    /// A gallery of parts, each of which begins where the one before ends; `rows_live` of their rows were not removed.
    fn of(dims: usize, parts: Vec<Part>, rows_live: usize) -> Gallery {
        static NEXT_ID: AtomicU64 = AtomicU64::new(1);
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        let rows = parts.last().map_or(0, |part| part.first as usize + part.block.row_count());
        Gallery { id, dims, parts, rows, rows_live }
    }

    /// This gallery with one or more templates added, `n x dims` values. They get the row numbers from
    /// [`Gallery::rows`] on. Searches that run on this gallery are not disturbed; the blocks are shared.
    fn with_added(&self, rows: &[f32]) -> Result<Gallery, Error> {
        let added = check_rows(self.dims, self.rows, rows)?;
        let mut parts = self.parts.clone();
        match parts.last_mut() {
            Some(last) if last.block.row_count() + added <= GROWING_ROWS_MAX => {
                last.block = Arc::new(last.block.with(rows));
                last.removed = last.removed.as_ref().map(|removed| {
                    let panels = last.block.panel_count();
                    removed.iter().copied().chain(std::iter::repeat(0)).take(panels).collect()
                });
            }
            _ => parts.push(Part {
                first: self.rows as u32,
                block: Arc::new(Block::new(self.dims, rows.to_vec())),
                removed: None,
            }),
        }
        Ok(Gallery::of(self.dims, parts, self.rows_live + added))
    }

    /// This gallery without some rows, which are there, in ascending order. The other rows keep their numbers, and the
    /// templates are shared: a removed one stays in memory, unsearched, until the galleries that share its block are
    /// dropped.
    pub(crate) fn without(&self, rows: &[u32]) -> Gallery {
        let mut parts = self.parts.clone();
        for rows in rows.chunk_by(|a, b| self.part_of(*a as usize) == self.part_of(*b as usize)) {
            let part = &mut parts[self.part_of(rows[0] as usize)];
            let mut removed = match &part.removed {
                Some(removed) => removed.to_vec(),
                None => vec![0; part.block.panel_count()],
            };
            for row in rows {
                let place = (row - part.first) as usize;
                removed[place / PANEL_ROWS] |= 1 << (place % PANEL_ROWS);
            }
            part.removed = Some(removed.into());
        }
        Gallery::of(self.dims, parts, self.rows_live - rows.len())
    }

    /// A gallery of `rows`, and the number of each of them in it.
    ///
    /// The new gallery shares memory with this one. `rows` may begin with rows of this gallery in their order: those
    /// keep their numbers. This gallery's other rows are removed, and the rest of `rows` is added. The gallery is
    /// packed anew where little stays, and now and then where it was changed often. The numbers ascend, so that rows of
    /// equal scores are found in the same order as in a gallery that was packed anew. `rows` are checked as by
    /// [`Gallery::new`].
    ///
    /// # Errors
    /// [`Error::GalleryLength`], [`Error::GalleryRows`], or [`Error::Row`] with the first bad row.
    pub fn turned_into(&self, rows: &[f32]) -> Result<(Gallery, Vec<u32>), Error> {
        let mut wanted = rows.chunks(self.dims).peekable();
        let (mut numbers, mut removed) = (Vec::with_capacity(wanted.len()), Vec::new());
        for row in self.live_rows() {
            let values: &[u8] = bytemuck::cast_slice(self.row(row as usize));
            match wanted.next_if(|wanted| bytemuck::cast_slice::<f32, u8>(wanted) == values) {
                Some(_) => numbers.push(row),
                None => removed.push(row),
            }
        }
        let (kept, added) = (numbers.len(), wanted.len());
        let gaps = self.rows - kept;
        if kept == 0 || gaps * ROWS_A_GAP_MIN > self.rows || self.parts.len() > PARTS_MAX {
            return Ok((Gallery::new(self.dims, rows.to_vec())?, (0..).take(kept + added).collect()));
        }
        let stays = self.without(&removed);
        if added == 0 {
            return Ok((stays, numbers));
        }
        numbers.extend((self.rows..).map(|row| row as u32).take(added));
        // An error names a row by its place in `rows`.
        let among_all = |error| match error {
            Error::Row { row, problem } => Error::Row { row: kept + row, problem },
            Error::GalleryLength { dims, .. } => Error::GalleryLength { values: rows.len(), dims },
            other => other,
        };
        Ok((stays.with_added(&rows[kept * self.dims..]).map_err(among_all)?, numbers))
    }

    /// Unique within this process, never used twice: a call's jobs are grouped by it.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// Number of rows that were ever there; row numbers are below it.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Number of rows that a search looks at.
    pub fn rows_live(&self) -> usize {
        self.rows_live
    }

    /// Whether `row` is there and was not removed.
    pub fn contains(&self, row: u32) -> bool {
        let inside = (row as usize) < self.rows;
        inside && {
            let part = &self.parts[self.part_of(row as usize)];
            let place = (row - part.first) as usize;
            part.live(place / PANEL_ROWS) & 1 << (place % PANEL_ROWS) != 0
        }
    }

    /// Values in one template.
    pub fn dims(&self) -> usize {
        self.dims
    }

    /// Template `row`, `dims()` values, even where it was removed.
    ///
    /// # Panics
    /// If `row` is not below `rows()`.
    pub fn row(&self, row: usize) -> &[f32] {
        let part = &self.parts[self.part_of(row)];
        part.block.row(row - part.first as usize)
    }

    /// Host memory of this gallery's templates, in bytes, both forms together. Memory that galleries share counts in
    /// each of them.
    pub fn bytes_resident(&self) -> usize {
        self.parts.iter().map(|part| part.block.bytes_resident()).sum()
    }

    /// The parts, in the order of their rows.
    pub(crate) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The numbers of the rows that are there, in order.
    fn live_rows(&self) -> impl Iterator<Item = u32> {
        self.parts.iter().flat_map(|part| {
            (0..part.block.panel_count()).flat_map(|panel| {
                let (first, live) = (part.first + (panel * PANEL_ROWS) as u32, part.live(panel));
                (0..PANEL_ROWS as u32).filter(move |lane| live & 1 << lane != 0).map(move |lane| first + lane)
            })
        })
    }

    /// Which part holds a row below `rows()`.
    fn part_of(&self, row: usize) -> usize {
        match self.parts.len() {
            1 => 0,
            _ => self.parts.partition_point(|part| part.first as usize <= row).saturating_sub(1),
        }
    }
}
