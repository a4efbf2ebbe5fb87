// Coarse scores in eight bits and the best of each tile, for a ragged list of work.
//
// One workgroup takes one work item: a tile of up to 256 rows of one gallery against one probe (score_one)
// or four (score_four). Invocation i scores row i. The matrix of all bounds is never written: each finds its rank within
// the tile by counting, and only the best `keep` leave the workgroup, sorted. The host proves from them that nothing was
// lost, or scans again (Merge in src/gpu/merge.rs).

var<workgroup> tile_one: array<f32, TILE_ROWS>;
var<workgroup> tile_four: array<vec4<f32>, TILE_ROWS>;

// A probe's reach stands in front of its codes. Of one probe the vec4 at k holds the groups 4 k to 4 k + 3, the last one
// filled up with zeros.
@compute @workgroup_size(256)
fn score_one(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let item = work[group.y * groups.x + group.x];
    var upper = 0.0;
    if lane < item.rows {
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
        upper = bitcast<f32>(slab[at]) * f32(sum) + bitcast<f32>(slab[at + PANEL_ROWS]) * reach;
    }
    tile_one[lane] = upper;
    workgroupBarrier();
    if lane >= item.rows {
        return;
    }
    var rank = 0u;
    for (var other = 0u; other < item.rows; other += 1u) {
        let bound = tile_one[other];
        rank += select(0u, 1u, bound > upper || (bound == upper && other < lane));
    }
    if rank < item.keep {
        results[item.result_start + rank] = Candidate(upper, item.row_first + lane);
    }
}

// The four reaches stand in front; the vec4 at k holds group k of the four probes.
@compute @workgroup_size(256)
fn score_four(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let item = work[group.y * groups.x + group.x];
    var upper = vec4<f32>(0.0);
    if lane < item.rows {
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
        upper = bitcast<f32>(slab[at]) * vec4<f32>(sum) + bitcast<f32>(slab[at + PANEL_ROWS]) * reach;
    }
    tile_four[lane] = upper;
    workgroupBarrier();
    if lane >= item.rows {
        return;
    }
    var rank = vec4<u32>(0u);
    for (var other = 0u; other < item.rows; other += 1u) {
        let bound = tile_four[other];
        let before = (bound > upper) | ((bound == upper) & vec4<bool>(other < lane));
        rank += select(vec4<u32>(0u), vec4<u32>(1u), before);
    }
    for (var place = 0u; place < 4u; place += 1u) {
        if rank[place] < item.keep {
            results[item.result_start + place * item.keep + rank[place]] = Candidate(upper[place], item.row_first + lane);
        }
    }
}
