//! From groups of probes to lists of work for the device. Nothing here knows wgpu.

use std::collections::BTreeMap;

use super::merge::Merge;
use crate::batch::{Group, K_MAX, Probe};
use crate::gallery::Part;
use crate::layout::{PANEL_ROWS, TILE_PANELS, TILE_PROBES, WorkItem};
use crate::panel::{GROUP, panel_bytes};
use crate::quantise::{Reach, quantise};
use crate::select::Selection;

/// Candidates kept of each tile: on random data as many rows again as wanted lie within the error bound of the k-th score,
/// and some more where few are wanted: of 400 rows 21 in the median and 40 at most for the best five. A tile that has more of
/// them makes its probe overflow, which costs one CPU pass.
const fn kept(k: usize) -> usize {
    2 * k + 32
}

const _: () = assert!(kept(K_MAX) <= TILE_PANELS * PANEL_ROWS);

/// Candidates that come back in one round, 8 MiB of them: enough to fill any device with work, little enough
/// for every adapter's limits and for a software device to finish a round within seconds.
pub(super) const ROUND_CANDIDATES_MAX: usize = 1 << 20;

/// Some panels of one block that lie one behind the other in one slab.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Segment {
    pub(super) slab: usize,
    /// Position in the slab, in words.
    pub(super) start: u32,
    /// The first panel, counted within the block.
    pub(super) panel_first: usize,
    pub(super) panels: usize,
}

/// Where the parts of a gallery lie.
pub(super) type Placed<'a> = Vec<(&'a Part, Vec<Segment>)>;

/// The segments, each with the part that it belongs to.
pub(super) fn segments<'p, 'a: 'p>(placed: &'p Placed<'a>) -> impl Iterator<Item = (&'a Part, &'p Segment)> {
    placed.iter().flat_map(|(part, segments)| segments.iter().map(|segment| (*part, segment)))
}

/// How a tile's rows find their ranks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ranking {
    #[default]
    Counting,
    Subgroups,
}

/// Rows and columns of the square matrices that a device multiplies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Side {
    Eight,
    Sixteen,
}

impl Side {
    pub(super) const fn length(self) -> usize {
        match self {
            Side::Eight => 8,
            Side::Sixteen => 16,
        }
    }
}

/// The kernels: two that rank the rows of a tile, and those that sieve a gallery, for some probes a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum DeviceKernel {
    ScoreOne(Ranking),
    ScoreFour(Ranking),
    SieveFour,
    SieveSixteen,
    SieveMatrices(Side),
}

impl DeviceKernel {
    /// Probes in a set.
    pub(super) const fn set_probes(self) -> usize {
        match self {
            DeviceKernel::ScoreOne(_) => 1,
            DeviceKernel::ScoreFour(_) | DeviceKernel::SieveFour => TILE_PROBES,
            DeviceKernel::SieveSixteen => 16,
            DeviceKernel::SieveMatrices(side) => 4 * side.length(),
        }
    }

    /// Panels in a tile.
    pub(super) const fn tile_panels(self) -> usize {
        match self {
            DeviceKernel::SieveMatrices(side) => 8 * side.length() / PANEL_ROWS,
            _ => TILE_PANELS,
        }
    }
}

/// Whatever the kernel, a set has no more probes.
pub(super) const SET_PROBES_MAX: usize = DeviceKernel::SieveMatrices(Side::Sixteen).set_probes();

/// Which of the kernels that do the same are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ways {
    pub(super) ranking: Ranking,
    /// Matrices where they are used for many probes.
    pub(super) matrices: Option<Side>,
}

/// A sorted run of candidates of one probe within a round's results.
#[derive(Debug, PartialEq)]
pub(super) struct Piece {
    /// Which probe, counted over all groups of the call.
    pub(super) probe: usize,
    pub(super) start: usize,
    pub(super) length: usize,
    /// Whether the tile has rows that did not come back.
    pub(super) cut: bool,
}

/// A segment against sets of probes: one dispatch.
#[derive(Debug, PartialEq)]
pub(super) struct Sieve {
    pub(super) slab: usize,
    pub(super) kernel: DeviceKernel,
    pub(super) item: WorkItem,
    pub(super) sets: u32,
    pub(super) tiles: u32,
}

/// Places for the rows of one probe that reach its floor, in any order; how many there are is counted beside, in the order of
/// the lots.
#[derive(Debug, PartialEq)]
pub(super) struct Lot {
    /// Which probe, counted over all groups of the call.
    pub(super) probe: usize,
    pub(super) start: usize,
    pub(super) length: usize,
}

/// One submission: work by slab and kernel, and where each probe's candidates will be found.
#[derive(Debug, Default)]
pub(super) struct Round {
    pub(super) work: BTreeMap<(usize, DeviceKernel), Vec<WorkItem>>,
    pub(super) pieces: Vec<Piece>,
    pub(super) sieves: Vec<Sieve>,
    pub(super) lots: Vec<Lot>,
    pub(super) candidates: usize,
}

/// Work for the device whose rounds do not wait for each other.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    pub(super) ways: Ways,
    /// The probes as the kernels read them; see the comments at the entry points of the shader.
    pub(super) probes: Vec<u32>,
    pub(super) rounds: Vec<Round>,
    /// For each probe, counted over all groups, what gathers its candidates.
    pub(super) merges: Vec<Merge<'a>>,
}

impl<'a> Plan<'a> {
    pub(super) fn new(ways: Ways) -> Plan<'a> {
        Plan { ways, probes: Vec::new(), rounds: Vec::new(), merges: Vec::new() }
    }

    /// Adds one group, whose gallery's parts lie in `placed`: of every `stride` tiles the first one.
    pub(super) fn rank(&mut self, group: &Group<'a>, placed: &Placed<'a>, stride: usize) {
        let dims = group.gallery.dims();
        let panel_words = panel_bytes(dims) / size_of::<u32>();
        for probes in group.probes.chunks(TILE_PROBES) {
            let probe_first = self.merges.len();
            let probe_start = self.pack(group, probes);
            let keep = kept(probes.iter().map(|probe| probe.wanted.k).max().unwrap_or(0));
            for (part, segment) in segments(placed) {
                for panel in (0..segment.panels).step_by(TILE_PANELS * stride) {
                    let panels = TILE_PANELS.min(segment.panels - panel);
                    let row_first = (segment.panel_first + panel) * PANEL_ROWS;
                    let rows = (panels * PANEL_ROWS).min(part.block.row_count() - row_first);
                    let item = WorkItem {
                        panel_start: segment.start + (panel * panel_words) as u32,
                        dims: dims as u32,
                        row_first: part.first + row_first as u32,
                        rows: rows as u32,
                        probe_start,
                        keep: keep as u32,
                        result_start: 0,
                        count_start: 0,
                    };
                    self.push_item(segment.slab, item, probe_first, probes.len());
                }
            }
        }
    }

    /// Quantises and packs up to four probes; returns where they start, in groups of four words.
    fn pack(&mut self, group: &Group<'a>, probes: &[Probe<'_>]) -> u32 {
        let dims = group.gallery.dims();
        let start = self.probes.len();
        // One probe's groups lie one behind the other, those of four side by side.
        let (width, words) = match probes {
            [_] => (1, (dims / GROUP).next_multiple_of(TILE_PROBES)),
            _ => (TILE_PROBES, dims / GROUP * TILE_PROBES),
        };
        self.probes.resize(start + TILE_PROBES + words, 0);
        let mut codes = vec![0i8; dims];
        for (place, probe) in probes.iter().enumerate() {
            let quantised = quantise(probe.values, &mut codes);
            let reach = Reach::new(&quantised, dims);
            self.probes[start + place] = reach.reach.to_bits();
            let slots = self.probes[start + TILE_PROBES + place..].iter_mut().step_by(width);
            for (slot, group) in slots.zip(codes.as_chunks::<GROUP>().0) {
                *slot = u32::from_le_bytes(group.map(|code| code as u8));
            }
            self.merges.push(Merge::new(group.gallery, Selection::new(probe.wanted, reach)));
        }
        (start / TILE_PROBES) as u32
    }

    fn push_item(&mut self, slab: usize, mut item: WorkItem, probe_first: usize, probe_count: usize) {
        let keep = item.keep as usize;
        let (kernel, width) = match probe_count {
            1 => (DeviceKernel::ScoreOne(self.ways.ranking), 1),
            _ => (DeviceKernel::ScoreFour(self.ways.ranking), TILE_PROBES),
        };
        if self.rounds.last().is_none_or(|round| round.candidates + width * keep > ROUND_CANDIDATES_MAX) {
            self.rounds.push(Round::default());
        }
        let Some(round) = self.rounds.last_mut() else {
            return;
        };
        item.result_start = round.candidates as u32;
        for place in 0..probe_count {
            round.pieces.push(Piece {
                probe: probe_first + place,
                start: round.candidates + place * keep,
                length: keep.min(item.rows as usize),
                cut: item.rows as usize > keep,
            });
        }
        round.candidates += width * keep;
        round.work.entry((slab, kernel)).or_default().push(item);
    }
}
