// The sieve (sieve.wgsl) by cooperative matrices, for many probes: a device's matrix units multiply sixteen-bit factors
// and add in 32 bits.
//
// The factors are the codes of eight bits of the other kernels, which sixteen bits hold exactly. No sum of products
// exceeds 127 * 127 * 1024 < 2^24. So a device that keeps 24 bits of its sums has the same sums as the other kernels,
// to the last bit, in whatever order it adds. The self-test checks that the device does.
//
// The host puts in front: SIDE, the length of the square matrices; INVOCATIONS; TALL; ACROSS; DEPTH; PEAKS; the matrix
// types Left, Right and Sums; and size_of and count_of, the size and the number of subgroups. A workgroup multiplies a
// tile of rows by a set of 4 SIDE ACROSS probes. It does so in eight blocks of TALL by four matrices, ACROSS blocks
// side by side. Each subgroup has one block, or several one after the other.

const BLOCKS: u32 = 8u;
const DOWN: u32 = BLOCKS / ACROSS;
const TILE_ROWS: u32 = DOWN * TALL * SIDE;
const WIDTH: u32 = ACROSS * 4u * SIDE;
// DEPTH pairs of groups of four codes lie in workgroup memory at a time, each as eight factors of sixteen bits. Lines
// lie one pair further apart than they need, so that neighbouring lines lie in different banks.
const PITCH: u32 = 2u * DEPTH + 2u;
const QUARTER: u32 = SIDE / 4u;

var<workgroup> rows: array<vec4<f16>, TILE_ROWS * PITCH>;
var<workgroup> columns: array<vec4<f16>, WIDTH * PITCH>;
// For each subgroup one matrix of sums; a vector has four probes of a row.
var<workgroup> products: array<vec4<f32>, BLOCKS * SIDE * QUARTER>;
// For each row its scale and its error. The error of a row that does not count makes its bounds such that they do not
// count.
var<workgroup> row_limits: array<vec2<f32>, TILE_ROWS>;
// For each probe its reach and its floor, and the key of its peak.
var<workgroup> probe_limits: array<vec2<f32>, WIDTH>;
var<workgroup> peaks: array<atomic<u32>, WIDTH>;
// Rows that reached a floor: task, row, and the bits of both bounds. They are written out at the end, because an
// invocation that waits for memory keeps the others waiting at the next barrier.
const REACHED: u32 = 128u;
var<workgroup> reached: array<vec4<u32>, REACHED>;
var<workgroup> reached_count: atomic<u32>;

fn keep(task: u32, upper: f32, lower: f32, row: u32) {
    let slot = atomicAdd(&reached_count, 1u);
    if slot < REACHED {
        reached[slot] = vec4<u32>(task, row, bitcast<u32>(upper), bitcast<u32>(lower));
    } else {
        give(task, upper, lower, row);
    }
}

// A row's codes as they are stored, of two groups from `group` on. Beyond the last group they are such that they become
// zeros.
fn row_codes(place: Place, group: u32, i: u32) -> vec2<u32> {
    let own = group + i / TILE_ROWS * 2u;
    let code_groups = place.sweep.dims / 4u;
    let row = min(place.row + i % TILE_ROWS, place.sweep.rows - 1u);
    let at = first_group(place.sweep, row);
    let last = code_groups - 1u;
    let codes = vec2<u32>(slab[at + min(own, last) * PANEL_ROWS], slab[at + min(own + 1u, last) * PANEL_ROWS]);
    return select(vec2<u32>(OFFSET), codes, vec2<bool>(own <= last, own < last));
}

// As row_codes, for a probe.
fn probe_codes(place: Place, group: u32, i: u32) -> vec2<u32> {
    let own = group + i / WIDTH * 2u;
    let code_groups = place.sweep.dims / 4u;
    let probe = i % WIDTH;
    let at = place.sweep.probe_start + place.own_set * code_groups * (WIDTH / 4u) + probe / 4u;
    let last = code_groups - 1u;
    let codes = vec2<u32>(
        probes[at + min(own, last) * (WIDTH / 4u)][probe % 4u],
        probes[at + min(own + 1u, last) * (WIDTH / 4u)][probe % 4u],
    );
    return select(vec2<u32>(OFFSET), codes ^ vec2<u32>(OFFSET), vec2<bool>(own <= last, own < last));
}

// The value of a stored code. Its bits become those of 2^23 plus the stored code, and 2^23 and 128 are taken off again.
// That is exact, and quicker than a device's conversion of whole numbers.
fn number(code: u32) -> f32 {
    return bitcast<f32>(0x4b000000u | (code & 0xffu)) - 8388736.0;
}

fn factors(codes: u32) -> vec4<f16> {
    return vec4<f16>(vec4<f32>(number(codes), number(codes >> 8u), number(codes >> 16u), number(codes >> 24u)));
}

fn store_row(i: u32, codes: vec2<u32>) {
    if i < TILE_ROWS * DEPTH {
        let at = i % TILE_ROWS * PITCH + i / TILE_ROWS * 2u;
        rows[at] = factors(codes.x);
        rows[at + 1u] = factors(codes.y);
    }
}

fn store_probe(i: u32, codes: vec2<u32>) {
    if i < WIDTH * DEPTH {
        let at = i % WIDTH * PITCH + i / WIDTH * 2u;
        columns[at] = factors(codes.x);
        columns[at + 1u] = factors(codes.y);
    }
}

// Takes one matrix of sums: of rows of the tile from `row` on and probes of the set from `probe` on.
fn take(place: Place, row: u32, probe: u32, start: u32, lane: u32, size: u32) {
    // A subgroup takes several rows at a time, or a row in several parts.
    for (var quarter = lane % QUARTER; quarter < QUARTER; quarter += min(size, QUARTER)) {
        let own = probe + quarter * 4u;
        let a = probe_limits[own];
        let b = probe_limits[own + 1u];
        let c = probe_limits[own + 2u];
        let d = probe_limits[own + 3u];
        let reach = vec4<f32>(a.x, b.x, c.x, d.x);
        let floor = vec4<f32>(a.y, b.y, c.y, d.y);
        var peak = vec4<f32>(NOTHING);
        for (var line = lane / QUARTER; line < SIDE; line += max(size / QUARTER, 1u)) {
            let limit = row_limits[row + line];
            let centre = limit.x * products[start + line * QUARTER + quarter];
            let radius = limit.y * reach;
            if PEAKS {
                peak = max(peak, centre - radius);
            } else {
                let upper = centre + radius;
                if any(upper >= floor) {
                    let lower = centre - radius;
                    let task = place.task_first + own;
                    let number = place.sweep.row_first + place.row + row + line;
                    if upper.x >= floor.x { keep(task, upper.x, lower.x, number); }
                    if upper.y >= floor.y { keep(task + 1u, upper.y, lower.y, number); }
                    if upper.z >= floor.z { keep(task + 2u, upper.z, lower.z, number); }
                    if upper.w >= floor.w { keep(task + 3u, upper.w, lower.w, number); }
                }
            }
        }
        if PEAKS {
            atomicMax(&peaks[own], key_of(peak.x));
            atomicMax(&peaks[own + 1u], key_of(peak.y));
            atomicMax(&peaks[own + 2u], key_of(peak.z));
            atomicMax(&peaks[own + 3u], key_of(peak.w));
        }
    }
}

// Takes one matrix of sums, with the barriers that must stand between writing and reading.
fn take_all(place: Place, row: u32, probe: u32, start: u32, lane: u32, size: u32) {
    workgroupBarrier();
    take(place, row, probe, start, lane, size);
    workgroupBarrier();
}

@compute @workgroup_size(INVOCATIONS)
fn sieve(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) own: u32,
    @builtin(num_subgroups) subgroups: u32,
    @builtin(subgroup_size) subgroup_size: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    // A workgroup without a tile must not leave early, because control flow would not be uniform. None of its rows
    // counts.
    let place = place_of(group.y * groups.x + group.x, TILE_ROWS, WIDTH);
    let code_groups = place.sweep.dims / 4u;
    if lane == 0u {
        atomicStore(&reached_count, 0u);
    }
    for (var i = lane; i < WIDTH; i += INVOCATIONS) {
        atomicStore(&peaks[i], 0u);
        if i < place.probe_count {
            let task = place.task_first + i;
            // At least a floor that is below the bounds of all rows but above those of rows that do not count.
            probe_limits[i] = vec2<f32>(tasks[task].reach, max(floor_of(task), -1e29));
        } else {
            probe_limits[i] = vec2<f32>(0.0, EVERYTHING);
        }
    }
    for (var i = lane; i < TILE_ROWS; i += INVOCATIONS) {
        let row = min(place.row + i, place.sweep.rows - 1u);
        let at = first_group(place.sweep, row) + code_groups * PANEL_ROWS;
        row_limits[i] = vec2<f32>(bitcast<f32>(slab[at]), bitcast<f32>(slab[at + PANEL_ROWS]));
        if !is_live(place.sweep, place.row + i) {
            row_limits[i] = vec2<f32>(0.0, select(-1e30, 1e30, PEAKS));
        }
    }
    let count = count_of(subgroups);
    let size = size_of(subgroup_size);
    let start = own * SIDE * QUARTER;
    for (var first = 0u; first < BLOCKS; first += count) {
        let block = first + own;
        let row = block % DOWN * TALL * SIDE;
        let probe = block / DOWN * 4u * SIDE;
        var sums$n_$m = Sums();
        // The codes of the next step are on their way while those of this step are multiplied.
        var row_next$r = row_codes(place, 0u, lane + $ru * INVOCATIONS);
        var probe_next$c = probe_codes(place, 0u, lane + $cu * INVOCATIONS);
        for (var k = 0u; k < code_groups; k += 2u * DEPTH) {
            workgroupBarrier();
            store_row(lane + $ru * INVOCATIONS, row_next$r);
            store_probe(lane + $cu * INVOCATIONS, probe_next$c);
            workgroupBarrier();
            row_next$r = row_codes(place, k + 2u * DEPTH, lane + $ru * INVOCATIONS);
            probe_next$c = probe_codes(place, k + 2u * DEPTH, lane + $cu * INVOCATIONS);
            for (var at = 0u; at < 2u * DEPTH; at += SIDE / 4u) {
                let left$n = coopLoadT<Left>(&rows[(row + $nu * SIDE) * PITCH + at], PITCH);
                let right$m = coopLoad<Right>(&columns[(probe + $mu * SIDE) * PITCH + at], PITCH);
                sums$n_$m = coopMultiplyAdd(left$n, right$m, sums$n_$m);
            }
        }
        let row$n = row + $nu * SIDE;
        let probe$m = probe + $mu * SIDE;
        // The host repeats this line for each matrix: a matrix is taken before the next one is stored in its place.
        coopStoreT(sums$n_$m, &products[start], QUARTER); take_all(place, row$n, probe$m, start, subgroup_lane, size);
    }
    for (var i = lane; i < min(atomicLoad(&reached_count), REACHED); i += INVOCATIONS) {
        let row = reached[i];
        give(row.x, bitcast<f32>(row.z), bitcast<f32>(row.w), row.y);
    }
    if PEAKS && place.row < place.sweep.rows {
        for (var i = lane; i < place.probe_count; i += INVOCATIONS) {
            lists[tasks[place.task_first + i].list_start + place.peak].lower = value_of(atomicLoad(&peaks[i]));
        }
    }
}
