// Coarse scores and the best of each tile, for a ragged list of work.
//
// One workgroup takes one work item: a tile of up to 256 rows of one gallery against one probe (score_one)
// or four (score_four). Invocation i scores row i. The gallery lies in panels of 32 rows with the dimension
// outermost, so that 32 neighbouring invocations read 128 neighbouring bytes. The matrix of all scores is never
// written: each score finds its rank within the tile by counting, and only the best `keep` leave the workgroup,
// sorted. The host proves from them that nothing was lost, or scans again (Merge in src/gpu/plan.rs).
//
// Structs and constants have twins in src/layout.rs. Every store is guarded, every loop ends: the module is trusted.

const PANEL_ROWS: u32 = 32u;
const TILE_ROWS: u32 = 256u;

struct WorkItem {
    panel_start: u32,
    dims: u32,
    row_first: u32,
    rows: u32,
    probe_start: u32,
    keep: u32,
    result_start: u32,
    padding: u32,
}

struct Candidate {
    score: f32,
    row: u32,
}

@group(0) @binding(0) var<storage, read> slab: array<f32>;
@group(0) @binding(1) var<storage, read> probes: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> work: array<WorkItem>;
@group(0) @binding(3) var<storage, read_write> results: array<Candidate>;

var<workgroup> tile_one: array<f32, TILE_ROWS>;
var<workgroup> tile_four: array<vec4<f32>, TILE_ROWS>;

// Probes of score_one lie row-major: the vec4 at k / 4 holds the dimensions k to k + 3 of the one probe.
@compute @workgroup_size(256)
fn score_one(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let item = work[group.y * groups.x + group.x];
    var sum = 0.0;
    if lane < item.rows {
        var at = item.panel_start + (lane / PANEL_ROWS) * item.dims * PANEL_ROWS + lane % PANEL_ROWS;
        for (var k = 0u; k < item.dims / 4u; k += 1u) {
            let values = probes[item.probe_start + k];
            sum = fma(slab[at], values.x, sum);
            sum = fma(slab[at + PANEL_ROWS], values.y, sum);
            sum = fma(slab[at + 2u * PANEL_ROWS], values.z, sum);
            sum = fma(slab[at + 3u * PANEL_ROWS], values.w, sum);
            at += 4u * PANEL_ROWS;
        }
    }
    tile_one[lane] = sum;
    workgroupBarrier();
    if lane >= item.rows {
        return;
    }
    var rank = 0u;
    for (var other = 0u; other < item.rows; other += 1u) {
        let score = tile_one[other];
        rank += select(0u, 1u, score > sum || (score == sum && other < lane));
    }
    if rank < item.keep {
        results[item.result_start + rank] = Candidate(sum, item.row_first + lane);
    }
}

// Probes of score_four lie with the dimension outermost: the vec4 at k holds dimension k of the four probes.
@compute @workgroup_size(256)
fn score_four(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let item = work[group.y * groups.x + group.x];
    var sum = vec4<f32>(0.0);
    if lane < item.rows {
        var at = item.panel_start + (lane / PANEL_ROWS) * item.dims * PANEL_ROWS + lane % PANEL_ROWS;
        for (var k = 0u; k < item.dims; k += 1u) {
            sum = fma(vec4<f32>(slab[at]), probes[item.probe_start + k], sum);
            at += PANEL_ROWS;
        }
    }
    tile_four[lane] = sum;
    workgroupBarrier();
    if lane >= item.rows {
        return;
    }
    var rank = vec4<u32>(0u);
    for (var other = 0u; other < item.rows; other += 1u) {
        let score = tile_four[other];
        let before = (score > sum) | ((score == sum) & vec4<bool>(other < lane));
        rank += select(vec4<u32>(0u), vec4<u32>(1u), before);
    }
    for (var place = 0u; place < 4u; place += 1u) {
        if rank[place] < item.keep {
            results[item.result_start + place * item.keep + rank[place]] = Candidate(sum[place], item.row_first + lane);
        }
    }
}
