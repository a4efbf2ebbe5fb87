// Ranks a tile's rows by counting: each row is compared with all others.

var<workgroup> tile_one: array<f32, TILE_ROWS>;
var<workgroup> tile_four: array<vec4<f32>, TILE_ROWS>;

@compute @workgroup_size(256)
fn score_one(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let item = work[group.y * groups.x + group.x];
    let upper = upper_one(item, lane);
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
    give(item, lane, 0u, upper, rank);
}

@compute @workgroup_size(256)
fn score_four(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let item = work[group.y * groups.x + group.x];
    let upper = upper_four(item, lane);
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
        give(item, lane, place, upper[place], rank[place]);
    }
}
