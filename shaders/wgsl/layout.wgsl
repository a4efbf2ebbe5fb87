// What the kernels share. The host puts it in front of each of them.
//
// A gallery lies in the panels that the CPU reads too (src/panel.rs): groups of four codes of 32 rows, so that 32
// neighbouring invocations read 128 neighbouring bytes, then the rows' scales, then their errors. A row's sum of
// products is exact. Its bounds, `scale * sum` plus and minus `error * reach`, are rounded at most three times, which
// its error allows for (src/bound.rs).
//
// Structs and constants have twins in src/layout.rs. The modules are compiled without checks, so every store is guarded
// and every loop ends.

const PANEL_ROWS: u32 = 32u;
// A gallery's codes are stored plus 128.
const OFFSET: u32 = 0x80808080u;
// A bound below that of every row, and a floor that nothing reaches.
const NOTHING: f32 = -3.40282347e38;
const EVERYTHING: f32 = 3.40282347e38;
const NO_MASK: u32 = 0xffffffffu;

// A run of panels against sets of probes. Each of its workgroups in the dispatch has one tile and one set.
struct Sweep {
    // Workgroups of the dispatch that belong to the sweeps before this one.
    group_first: u32,
    panel_start: u32,
    dims: u32,
    row_first: u32,
    rows: u32,
    mask_start: u32,
    probe_start: u32,
    task_first: u32,
    probes: u32,
    sets: u32,
    stride: u32,
    peak_first: u32,
}

// A probe, and where its candidates go.
struct Task {
    reach: f32,
    margin: f32,
    floor: f32,
    k: u32,
    list_start: u32,
    room: u32,
    peaks: u32,
    found_start: u32,
    keep: u32,
}

struct Candidate {
    upper: f32,
    lower: f32,
    row: u32,
}

@group(0) @binding(0) var<storage, read> slab: array<u32>;
// Codes of probes, and masks of rows.
@group(0) @binding(1) var<storage, read> probes: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read> work: array<Sweep>;
@group(0) @binding(3) var<storage, read> tasks: array<Task>;
// For each task first its peaks, then the rows that reach its floor.
@group(0) @binding(4) var<storage, read_write> lists: array<Candidate>;
// For each task the bits of its floor, and how many rows have reached it.
@group(0) @binding(5) var<storage, read_write> state: array<atomic<u32>>;
// For each task how many rows are left, the bits of the floor that all of them reach, how many rows had reached the
// floor of the sieve, and the candidates.
@group(0) @binding(6) var<storage, read_write> found: array<u32>;

// The work of a workgroup.
struct Place {
    sweep: Sweep,
    // The first row of its tile, counted within the sweep.
    row: u32,
    // Which set of probes it is, how many probes it has, and the task of the first.
    own_set: u32,
    probe_count: u32,
    task_first: u32,
    // Where the tile's peak goes, counted within a list.
    peak: u32,
}

fn place_of(group: u32, tile_rows: u32, width: u32) -> Place {
    var low = 0u;
    var high = arrayLength(&work);
    while high - low > 1u {
        let middle = (low + high) / 2u;
        if work[middle].group_first <= group {
            low = middle;
        } else {
            high = middle;
        }
    }
    let sweep = work[low];
    let own = group - sweep.group_first;
    // Successive workgroups take the same tile against one set after the other, so that it is read once.
    let tile = own / sweep.sets;
    let own_set = own % sweep.sets;
    let first = own_set * width;
    return Place(
        sweep,
        tile * sweep.stride * tile_rows,
        own_set,
        min(width, sweep.probes - first),
        sweep.task_first + first,
        sweep.peak_first + tile,
    );
}

// Where the first group of codes of a row is. The row is counted from the sweep's first.
fn first_group(sweep: Sweep, row: u32) -> u32 {
    return sweep.panel_start + (row / PANEL_ROWS) * (sweep.dims * PANEL_ROWS / 4u + 2u * PANEL_ROWS) + row % PANEL_ROWS;
}

// Whether a row is there and was not removed.
fn is_live(sweep: Sweep, row: u32) -> bool {
    if row >= sweep.rows {
        return false;
    }
    if sweep.mask_start == NO_MASK {
        return true;
    }
    let panel = row / PANEL_ROWS;
    return (probes[sweep.mask_start + panel / 4u][panel % 4u] >> (row % PANEL_ROWS) & 1u) != 0u;
}

fn give(task: u32, upper: f32, lower: f32, row: u32) {
    let slot = atomicAdd(&state[2u * task + 1u], 1u);
    if slot < tasks[task].room {
        lists[tasks[task].list_start + slot] = Candidate(upper, lower, row);
    }
}

fn floor_of(task: u32) -> f32 {
    return bitcast<f32>(atomicLoad(&state[2u * task]));
}

// A whole number with the order of the values.
fn key_of(value: f32) -> u32 {
    let bits = bitcast<u32>(value);
    return select(bits ^ 0x80000000u, ~bits, bits >= 0x80000000u);
}

fn value_of(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key ^ 0x80000000u, key >= 0x80000000u));
}
