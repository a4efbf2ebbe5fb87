// Coarse scores in eight bits for a ragged list of work; what the kernels that rank a tile's rows share.
//
// One workgroup takes one work item: a tile of up to 256 rows of one gallery against one probe (score_one) or four
// (score_four). Invocation i scores row i. The matrix of all bounds is never written: each finds its rank within the tile,
// and only the best `keep` leave the workgroup, sorted. The host proves from them that nothing was lost, or scans again
// (Merge in src/gpu/merge.rs).

// What ranks behind every row.
const NOTHING: f32 = -3.40282347e38;

// The upper bound of a row against one probe. A probe's reach stands in front of its codes. Of one probe the vec4 at k
// holds the groups 4 k to 4 k + 3, the last one filled up with zeros.
fn upper_one(item: WorkItem, lane: u32) -> f32 {
    if lane >= item.rows {
        return NOTHING;
    }
    var at = first_group(item, lane);
    var sum = 0;
    let code_groups = item.dims / 4u;
    var probe = item.probe_start + 1u;
    for (var k = 0u; k < code_groups / 4u; k += 1u) {
        let codes = probes[probe];
        sum += dot4I8Packed(slab[at] ^ OFFSET, codes.x);
        sum += dot4I8Packed(slab[at + PANEL_ROWS] ^ OFFSET, codes.y);
        sum += dot4I8Packed(slab[at + 2u * PANEL_ROWS] ^ OFFSET, codes.z);
        sum += dot4I8Packed(slab[at + 3u * PANEL_ROWS] ^ OFFSET, codes.w);
        at += 4u * PANEL_ROWS;
        probe += 1u;
    }
    for (var k = 0u; k < code_groups % 4u; k += 1u) {
        sum += dot4I8Packed(slab[at] ^ OFFSET, probes[probe][k]);
        at += PANEL_ROWS;
    }
    let reach = bitcast<f32>(probes[item.probe_start].x);
    return bitcast<f32>(slab[at]) * f32(sum) + bitcast<f32>(slab[at + PANEL_ROWS]) * reach;
}

// The upper bounds of a row against four probes. Their reaches stand in front; the vec4 at k holds group k of the four.
fn upper_four(item: WorkItem, lane: u32) -> vec4<f32> {
    if lane >= item.rows {
        return vec4<f32>(NOTHING);
    }
    var at = first_group(item, lane);
    var sum = vec4<i32>(0);
    for (var k = 1u; k <= item.dims / 4u; k += 1u) {
        let row = slab[at] ^ OFFSET;
        let codes = probes[item.probe_start + k];
        sum += vec4<i32>(
            dot4I8Packed(row, codes.x),
            dot4I8Packed(row, codes.y),
            dot4I8Packed(row, codes.z),
            dot4I8Packed(row, codes.w),
        );
        at += PANEL_ROWS;
    }
    let reach = bitcast<vec4<f32>>(probes[item.probe_start]);
    return bitcast<f32>(slab[at]) * vec4<f32>(sum) + bitcast<f32>(slab[at + PANEL_ROWS]) * reach;
}

// Gives a row back, if it is among the best; `place` counts the item's probes.
fn give(item: WorkItem, lane: u32, place: u32, upper: f32, rank: u32) {
    if lane < item.rows && rank < item.keep {
        results[item.result_start + place * item.keep + rank] = Candidate(upper, item.row_first + lane);
    }
}
