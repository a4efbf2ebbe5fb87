// The sieve for one probe. Its groups of codes lie one behind the other; the last vec4 is filled up with zeros.

var<workgroup> codes: array<vec4<u32>, 64>;

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
    let fours = (code_groups + 3u) / 4u;
    if lane < fours {
        codes[lane] = probes[place.sweep.probe_start + place.own_set * fours + lane];
    }
    prepare(place, lane);
    workgroupBarrier();
    var at = first_group(place.sweep, min(place.row + lane, place.sweep.rows - 1u));
    var sum = 0;
    var k = 0u;
    for (; k + 16u <= code_groups; k += 16u) {
        let row$u = slab[at + $uu * PANEL_ROWS] ^ OFFSET;
        sum += dot4I8Packed(row$u, codes[k / 4u + $uu / 4u][$uu % 4u]);
        at += 16u * PANEL_ROWS;
    }
    for (; k < code_groups; k += 1u) {
        sum += dot4I8Packed(slab[at] ^ OFFSET, codes[k / 4u][k % 4u]);
        at += PANEL_ROWS;
    }
    take(place, row_of(place, lane, at), 0u, sum);
    finish(place, lane);
}
