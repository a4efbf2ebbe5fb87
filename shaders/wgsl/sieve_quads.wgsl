// The sieve for QUADS times four probes. For each group of codes those of the probes lie side by side.

var<workgroup> codes: array<vec4<u32>, 256u * QUADS>;

fn products(row: u32, codes: vec4<u32>) -> vec4<i32> {
    return vec4<i32>(
        dot4I8Packed(row, codes.x),
        dot4I8Packed(row, codes.y),
        dot4I8Packed(row, codes.z),
        dot4I8Packed(row, codes.w),
    );
}

@compute @workgroup_size(256)
fn sieve(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = place_of(group.y * groups.x + group.x, TILE_ROWS, WIDTH);
    if place.row >= place.sweep.rows {
        return;
    }
    let code_groups = place.sweep.dims / 4u;
    let first = place.sweep.probe_start + place.own_set * code_groups * QUADS;
    for (var k = lane; k < code_groups * QUADS; k += TILE_ROWS) {
        codes[k] = probes[first + k];
    }
    prepare(place, lane);
    workgroupBarrier();
    var at = first_group(place.sweep, min(place.row + lane, place.sweep.rows - 1u));
    var sum$q = vec4<i32>(0);
    var k = 0u;
    for (; k + 16u <= code_groups; k += 16u) {
        let row$u = slab[at + $uu * PANEL_ROWS] ^ OFFSET;
        sum$q += products(row$u, codes[(k + $uu) * QUADS + $qu]);
        at += 16u * PANEL_ROWS;
    }
    for (; k < code_groups; k += 1u) {
        let row = slab[at] ^ OFFSET;
        sum$q += products(row, codes[k * QUADS + $qu]);
        at += PANEL_ROWS;
    }
    let row = row_of(place, lane, at);
    take(place, row, $qu * 4u, sum$q.x);
    take(place, row, $qu * 4u + 1u, sum$q.y);
    take(place, row, $qu * 4u + 2u, sum$q.z);
    take(place, row, $qu * 4u + 3u, sum$q.w);
    finish(place, lane);
}
