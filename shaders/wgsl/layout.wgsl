// What the kernels share; put in front of each of them.
//
// A gallery lies in the panels that the CPU reads too (src/panel.rs): groups of four codes of 32 rows, so that 32
// neighbouring invocations read 128 neighbouring bytes, then the rows' scales, then their errors. A row's sum of products
// is exact; its upper bound, `scale * sum + error * reach`, is rounded at most three times, for which its error allows
// (src/quantise.rs).
//
// Structs and constants have twins in src/layout.rs. Every store is guarded, every loop ends: the modules are trusted.

const PANEL_ROWS: u32 = 32u;
const TILE_ROWS: u32 = 256u;
// A gallery's codes are stored plus 128.
const OFFSET: u32 = 0x80808080u;

struct WorkItem {
    panel_start: u32,
    dims: u32,
    row_first: u32,
    rows: u32,
    probe_start: u32,
    keep: u32,
    result_start: u32,
    count_start: u32,
}

struct Candidate {
    upper: f32,
    row: u32,
}

@group(0) @binding(0) var<storage, read> slab: array<u32>;
@group(0) @binding(1) var<storage, read> probes: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> work: array<WorkItem>;
@group(0) @binding(3) var<storage, read_write> results: array<Candidate>;
@group(0) @binding(4) var<storage, read_write> counts: array<atomic<u32>>;

// Where the first group of codes is of a row, counted from the item's first.
fn first_group(item: WorkItem, row: u32) -> u32 {
    return item.panel_start + (row / PANEL_ROWS) * (item.dims * PANEL_ROWS / 4u + 2u * PANEL_ROWS) + row % PANEL_ROWS;
}
