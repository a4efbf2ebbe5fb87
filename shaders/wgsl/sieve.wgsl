// Coarse scores in eight bits of a large gallery: only the rows that reach their probe's floor leave the device.
//
// The host knows the floors from a sample of the tiles (src/gpu/sieve.rs). The grid is sets of probes by tiles of 256 rows:
// workgroups that follow each other take the same tile against one set after the other, so that a tile is read from memory
// once. A set has 4 QUADS probes, whose codes the workgroup keeps; the host puts the constant QUADS in front. Invocation i
// scores row i of the tile against the whole set.
//
// Of a set there lie in `probes` first the reaches, then the floors, then for each group of codes the probes side by side.

var<workgroup> codes: array<vec4<u32>, 256u * QUADS>;

@compute @workgroup_size(256)
fn sieve(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let item = work[0];
    let code_groups = item.dims / 4u;
    let reaches = item.probe_start + group.x * QUADS * (2u + code_groups);
    let floors = reaches + QUADS;
    for (var k = lane; k < code_groups * QUADS; k += TILE_ROWS) {
        codes[k] = probes[floors + QUADS + k];
    }
    workgroupBarrier();
    let row = group.y * TILE_ROWS + lane;
    if row >= item.rows {
        return;
    }
    var at = first_group(item, row);
    var sums: array<vec4<i32>, QUADS>;
    for (var k = 0u; k < code_groups; k += 1u) {
        let row_codes = slab[at] ^ OFFSET;
        for (var quad = 0u; quad < QUADS; quad += 1u) {
            let probe_codes = codes[k * QUADS + quad];
            sums[quad] += vec4<i32>(
                dot4I8Packed(row_codes, probe_codes.x),
                dot4I8Packed(row_codes, probe_codes.y),
                dot4I8Packed(row_codes, probe_codes.z),
                dot4I8Packed(row_codes, probe_codes.w),
            );
        }
        at += PANEL_ROWS;
    }
    let scale = bitcast<f32>(slab[at]);
    let error = bitcast<f32>(slab[at + PANEL_ROWS]);
    for (var quad = 0u; quad < QUADS; quad += 1u) {
        let upper = scale * vec4<f32>(sums[quad]) + error * bitcast<vec4<f32>>(probes[reaches + quad]);
        let passes = upper >= bitcast<vec4<f32>>(probes[floors + quad]);
        for (var place = 0u; place < 4u; place += 1u) {
            if passes[place] {
                let probe = (group.x * QUADS + quad) * 4u + place;
                let slot = atomicAdd(&counts[item.count_start + probe], 1u);
                if slot < item.keep {
                    results[item.result_start + probe * item.keep + slot] = Candidate(upper[place], item.row_first + row);
                }
            }
        }
    }
}
