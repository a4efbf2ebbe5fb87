//! Sealed files: a large gallery packed once, and mapped into memory instead of loaded.
//!
//! The system keeps of a mapped file what is used and there is room for, so that a gallery of millions of templates is
//! searched in bounded memory. People are added and removed in memory ([`Gallery::with_added`],
//! [`Gallery::with_removed`]); the next file takes in what has changed.
//!
//! Layout, little endian: a page of head (magic, format, dims, rows, sum of the rows' errors), the panels of codes, the
//! `f32` rows, both beginning at a page, then a CRC-32 for each mebibyte before, and a CRC-32 of these.
//!
//! **Not encrypted.** The templates lie in the file as they are in memory: it belongs into memory-backed or encrypted
//! storage, and is to be deleted like a gallery is dropped.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use crate::error::Error;
use crate::gallery::block::Block;
use crate::gallery::{Gallery, check_dims, check_rows};
use crate::layout::PANEL_ROWS;
use crate::panel::{self, Panel, panel_bytes};
use crate::storage::Storage;

const MAGIC: [u8; 4] = *b"TVSP";
const FORMAT: u32 = 1;

/// Sections begin at multiples of it, as mappings do.
const PAGE_BYTES: u64 = 4096;

/// What one checksum covers: small enough to say where a file is damaged.
const CHUNK_BYTES: u64 = 1 << 20;

/// Why a sealed file cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SealedError {
    /// The file system refuses.
    #[error("sealed gallery {path}: cannot {doing}")]
    File {
        /// The file.
        path: PathBuf,
        /// What was tried.
        doing: &'static str,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// The file is not as it was written.
    #[error("sealed gallery {path}: {problem}: delete it and write it again from its sources")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong, and where.
        problem: String,
    },
    /// The templates handed in cannot be a gallery; rows are counted from the file's first.
    #[error("sealed gallery {path}")]
    Templates {
        /// The file.
        path: PathBuf,
        /// What is wrong with them.
        #[source]
        source: Error,
    },
}

/// Where the sections of a file lie.
#[derive(Clone, Copy, Debug)]
struct Layout {
    dims: usize,
    rows: u32,
}

impl Layout {
    fn panels_start(&self) -> u64 {
        PAGE_BYTES
    }

    fn panels_end(&self) -> u64 {
        let panels = u64::from(self.rows).div_ceil(PANEL_ROWS as u64);
        self.panels_start() + panels * panel_bytes(self.dims) as u64
    }

    fn rows_start(&self) -> u64 {
        self.panels_end().next_multiple_of(PAGE_BYTES)
    }

    fn rows_end(&self) -> u64 {
        self.rows_start() + u64::from(self.rows) * (self.dims * size_of::<f32>()) as u64
    }

    fn file_end(&self) -> u64 {
        self.rows_end() + (self.rows_end().div_ceil(CHUNK_BYTES) + 1) * size_of::<u32>() as u64
    }
}

/// Writes a sealed file, some rows at a time. It appears under its name when it is whole.
#[derive(Debug)]
pub struct SealedWriter {
    path: PathBuf,
    unfinished: PathBuf,
    file: File,
    layout: Layout,
    written: u32,
    error_sum: f64,
    /// Rows that do not fill a panel yet.
    waiting: Vec<f32>,
}

impl SealedWriter {
    /// Begins a file of `rows` templates of `dims` values; it is written beside `path` until it is whole.
    ///
    /// # Errors
    /// [`SealedError::Templates`] for a width that is not supported, [`SealedError::File`].
    pub fn create(path: &Path, dims: usize, rows: u32) -> Result<SealedWriter, SealedError> {
        check_dims(dims).map_err(|source| SealedError::Templates { path: path.to_owned(), source })?;
        let mut name = path.as_os_str().to_owned();
        name.push(".unfinished");
        let unfinished = PathBuf::from(name);
        let open = File::options().read(true).write(true).create(true).truncate(true).open(&unfinished);
        let file = open.map_err(failed(&unfinished, "create it"))?;
        let layout = Layout { dims, rows };
        Ok(SealedWriter {
            path: path.to_owned(),
            unfinished,
            file,
            layout,
            written: 0,
            error_sum: 0.0,
            waiting: Vec::new(),
        })
    }

    /// Adds templates, `n x dims` values.
    ///
    /// # Errors
    /// [`SealedError::Templates`] with the first bad row, or where they are more than announced; [`SealedError::File`].
    pub fn push(&mut self, rows: &[f32]) -> Result<(), SealedError> {
        let dims = self.layout.dims;
        let before = self.written as usize + self.waiting.len() / dims;
        let templates = |source| SealedError::Templates { path: self.path.clone(), source };
        let count = check_rows(dims, before, rows).map_err(|error| {
            templates(match error {
                Error::Row { row, problem } => Error::Row { row: before + row, problem },
                other => other,
            })
        })?;
        if before + count > self.layout.rows as usize {
            return Err(templates(Error::GalleryRows { rows: before + count }));
        }
        self.waiting.extend_from_slice(rows);
        let whole = self.waiting.len() / (dims * PANEL_ROWS) * dims * PANEL_ROWS;
        let waiting = self.waiting.split_off(whole);
        let ready = std::mem::replace(&mut self.waiting, waiting);
        self.write_panels(&ready)
    }

    /// Writes what is left, the checksums and the head, makes it all durable and gives the file its name.
    ///
    /// # Errors
    /// [`SealedError::Templates`] where fewer rows came than were announced, [`SealedError::File`].
    pub fn finish(mut self) -> Result<(), SealedError> {
        let ready = std::mem::take(&mut self.waiting);
        self.write_panels(&ready)?;
        if self.written != self.layout.rows {
            let source = Error::GalleryRows { rows: self.written as usize };
            return Err(SealedError::Templates { path: self.path, source });
        }
        let file_error = failed(&self.unfinished, "write it");
        self.seal().map_err(file_error)?;
        std::fs::rename(&self.unfinished, &self.path).map_err(failed(&self.path, "give it its name"))?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let synced = File::open(folder).and_then(|folder| folder.sync_all());
        synced.map_err(failed(&self.path, "make its name durable"))
    }

    fn write_panels(&mut self, rows: &[f32]) -> Result<(), SealedError> {
        let dims = self.layout.dims;
        let mut codes = vec![0; dims];
        for rows in rows.chunks(dims * PANEL_ROWS) {
            let mut storage = Storage::zeroed(panel_bytes(dims));
            if let Some(bytes) = storage.bytes_mut() {
                panel::write_rows(bytes, dims, 0, rows, &mut codes);
            }
            let errors = Panel::new(storage.bytes()).errors;
            self.error_sum += errors.iter().map(|error| f64::from(*error)).sum::<f64>();
            let panel = u64::from(self.written) / PANEL_ROWS as u64;
            let panel_at = self.layout.panels_start() + panel * panel_bytes(dims) as u64;
            let rows_at = self.layout.rows_start() + u64::from(self.written) * (dims * size_of::<f32>()) as u64;
            let written = write_at(&mut self.file, panel_at, storage.bytes())
                .and_then(|()| write_at(&mut self.file, rows_at, bytemuck::cast_slice(rows)));
            written.map_err(failed(&self.unfinished, "write it"))?;
            self.written += (rows.len() / dims) as u32;
        }
        Ok(())
    }

    fn seal(&mut self) -> std::io::Result<()> {
        let mut head = Vec::new();
        head.extend_from_slice(&MAGIC);
        head.extend_from_slice(&FORMAT.to_le_bytes());
        head.extend_from_slice(&(self.layout.dims as u32).to_le_bytes());
        head.extend_from_slice(&self.layout.rows.to_le_bytes());
        head.extend_from_slice(&self.error_sum.to_le_bytes());
        write_at(&mut self.file, 0, &head)?;
        self.file.set_len(self.layout.rows_end())?;
        self.file.seek(SeekFrom::Start(0))?;
        let mut sums = Vec::new();
        let mut chunk = vec![0; CHUNK_BYTES as usize];
        let mut left = self.layout.rows_end();
        while left > 0 {
            let chunk = &mut chunk[..left.min(CHUNK_BYTES) as usize];
            self.file.read_exact(chunk)?;
            sums.extend_from_slice(&crc32fast::hash(chunk).to_le_bytes());
            left -= chunk.len() as u64;
        }
        let of_sums = crc32fast::hash(&sums);
        sums.extend_from_slice(&of_sums.to_le_bytes());
        self.file.write_all(&sums)?;
        self.file.sync_all()
    }
}

impl Gallery {
    /// Maps a sealed file and checks all of its checksums: it is read once, from front to end. That the templates are
    /// of unit norm was checked when it was written.
    ///
    /// The file must not be changed or shortened while a gallery of it is held; deleting it is fine.
    ///
    /// # Errors
    /// [`SealedError::File`], [`SealedError::Damaged`].
    pub fn open_sealed(path: &Path) -> Result<Gallery, SealedError> {
        let damaged = |problem: String| SealedError::Damaged { path: path.to_owned(), problem };
        let file = File::open(path).map_err(failed(path, "open it"))?;
        let map = map_file(&file).map_err(failed(path, "map it"))?;
        let Some(head) = map.first_chunk::<24>() else {
            return Err(damaged(format!("{} bytes are no head", map.len())));
        };
        let word = |at: usize| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        if head[..4] != MAGIC || word(4) != FORMAT {
            return Err(damaged(format!("it is not of format {FORMAT}")));
        }
        let layout = Layout { dims: word(8) as usize, rows: word(12) };
        check_dims(layout.dims).map_err(|error| damaged(error.to_string()))?;
        if map.len() as u64 != layout.file_end() {
            return Err(damaged(format!("{} bytes where {} belong", map.len(), layout.file_end())));
        }
        let (body, sums) = map.split_at(layout.rows_end() as usize);
        let (sums, of_sums) = sums.split_at(sums.len() - size_of::<u32>());
        if crc32fast::hash(sums).to_le_bytes() != of_sums {
            return Err(damaged("its checksums were changed".to_owned()));
        }
        for (index, (chunk, sum)) in body.chunks(CHUNK_BYTES as usize).zip(sums.as_chunks::<4>().0).enumerate() {
            if crc32fast::hash(chunk).to_le_bytes() != *sum {
                return Err(damaged(format!("mebibyte {index} was changed")));
            }
        }
        let mut error_sum = [0; 8];
        error_sum.copy_from_slice(&head[16..24]);
        let section = |start: u64, end: u64| Storage::file(&map, start as usize..end as usize);
        let rows = section(layout.rows_start(), layout.rows_end());
        let (Some(panels), Some(rows)) = (section(layout.panels_start(), layout.panels_end()), rows) else {
            return Err(damaged("its sections do not fit".to_owned()));
        };
        let error_sum = f64::from_le_bytes(error_sum);
        Ok(Gallery::of_block(Block::from_file(layout.dims, layout.rows as usize, rows, panels, error_sum)))
    }
}

fn failed(path: &Path, doing: &'static str) -> impl FnOnce(std::io::Error) -> SealedError + use<> {
    let path = path.to_owned();
    move |source| SealedError::File { path, doing, source }
}

fn write_at(file: &mut File, at: u64, bytes: &[u8]) -> std::io::Result<()> {
    file.seek(SeekFrom::Start(at))?;
    file.write_all(bytes)
}

/// Maps a file for reading.
fn map_file(file: &File) -> std::io::Result<Arc<Mmap>> {
    // SAFETY: a mapping is a slice whose bytes must not change while it is borrowed. Sealed files are written under another
    // name and never again once they have theirs; `Gallery::open_sealed` says so to its callers.
    unsafe { Mmap::map(file) }.map(Arc::new)
}
