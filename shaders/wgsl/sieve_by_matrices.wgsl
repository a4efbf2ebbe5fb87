// The sieve (sieve.wgsl) by cooperative matrices, for many probes: what a device's matrix units do with sixteen-bit factors and
// sums of 32 bits.
//
// The factors are the same codes of eight bits as everywhere, which sixteen bits hold exactly, and no sum of products exceeds
// 127 * 127 * 1024 < 2^24: whatever the order in which it adds, a device with 24 bits of sum has the same sums as the
// other kernels, to the last bit. That it has them is what the self-test looks at.
//
// The host puts in front: SIDE, of the square matrices; INVOCATIONS; and the types Left, Right and Sums of matrices. A workgroup
// multiplies a tile of 8 SIDE rows by a set of 4 SIDE probes, in eight blocks of two by two matrices, of which each of its
// subgroups has one, or more one after the other.

const ROWS: u32 = 8u * SIDE;
const PROBES: u32 = 4u * SIDE;
const BLOCKS: u32 = 8u;
// Groups of four codes that lie in workgroup memory at a time, and how far apart rows lie: 16 bytes more than they need,
// so that neighbouring rows lie in different banks.
const DEPTH: u32 = 8u;
const PITCH: u32 = DEPTH + 2u;

var<workgroup> rows: array<vec4<f16>, ROWS * PITCH>;
var<workgroup> columns: array<vec4<f16>, PROBES * PITCH>;
// Of each subgroup one matrix of sums.
var<workgroup> products: array<f32, BLOCKS * SIDE * SIDE>;

struct Task {
    item: WorkItem,
    // The first row of the tile, and where the set's reaches start.
    row: u32,
    reaches: u32,
    // The first probe of the set, counted from the item's first.
    probe: u32,
}

// Spreads the codes of some groups from `first` on over workgroup memory.
fn spread(task: Task, first: u32, lane: u32) {
    let code_groups = task.item.dims / 4u;
    for (var i = lane; i < ROWS * DEPTH; i += INVOCATIONS) {
        let row = i % ROWS;
        let group = first + i / ROWS;
        var codes = vec4<i32>(0);
        if task.row + row < task.item.rows && group < code_groups {
            codes = unpack4xI8(slab[first_group(task.item, task.row + row) + group * PANEL_ROWS] ^ OFFSET);
        }
        rows[row * PITCH + i / ROWS] = vec4<f16>(codes);
    }
    for (var i = lane; i < PROBES / 4u * DEPTH; i += INVOCATIONS) {
        let four = i % (PROBES / 4u);
        let group = first + i / (PROBES / 4u);
        var codes = vec4<u32>(0u);
        if group < code_groups {
            codes = probes[task.reaches + PROBES / 2u + group * (PROBES / 4u) + four];
        }
        for (var place = 0u; place < 4u; place += 1u) {
            columns[(four * 4u + place) * PITCH + i / (PROBES / 4u)] = vec4<f16>(unpack4xI8(codes[place]));
        }
    }
}

// Gives back the rows of one matrix of sums, from `row` and `probe` of the tile on, that reach their probe's floor.
fn give(task: Task, row: u32, probe: u32, start: u32, lane: u32, size: u32) {
    for (var i = lane; i < SIDE * SIDE; i += size) {
        let of_row = task.row + row + i / SIDE;
        let of_probe = probe + i % SIDE;
        if of_row < task.item.rows {
            let at = first_group(task.item, of_row) + task.item.dims / 4u * PANEL_ROWS;
            let reach = bitcast<f32>(probes[task.reaches + of_probe / 4u][of_probe % 4u]);
            let floor = bitcast<f32>(probes[task.reaches + (PROBES + of_probe) / 4u][of_probe % 4u]);
            let upper = bitcast<f32>(slab[at]) * products[start + i] + bitcast<f32>(slab[at + PANEL_ROWS]) * reach;
            if upper >= floor {
                let slot = atomicAdd(&counts[task.item.count_start + task.probe + of_probe], 1u);
                if slot < task.item.keep {
                    results[task.item.result_start + (task.probe + of_probe) * task.item.keep + slot] =
                        Candidate(upper, task.item.row_first + of_row);
                }
            }
        }
    }
}

@compute @workgroup_size(INVOCATIONS)
fn sieve(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) own: u32,
    @builtin(num_subgroups) count: u32,
    @builtin(subgroup_size) size: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    let item = work[0];
    let code_groups = item.dims / 4u;
    let task = Task(
        item,
        group.y * ROWS,
        item.probe_start + group.x * (PROBES / 4u) * (2u + code_groups),
        group.x * PROBES,
    );
    let start = own * SIDE * SIDE;
    for (var first = 0u; first < BLOCKS; first += count) {
        let block = first + own;
        let row = block % 4u * 2u * SIDE;
        let probe = block / 4u * 2u * SIDE;
        var a = Sums();
        var b = Sums();
        var c = Sums();
        var d = Sums();
        for (var k = 0u; k < code_groups; k += DEPTH) {
            workgroupBarrier();
            spread(task, k, lane);
            workgroupBarrier();
            for (var at = 0u; at < DEPTH; at += SIDE / 4u) {
                let upper = coopLoadT<Left>(&rows[row * PITCH + at], PITCH);
                let lower = coopLoadT<Left>(&rows[(row + SIDE) * PITCH + at], PITCH);
                let left = coopLoad<Right>(&columns[probe * PITCH + at], PITCH);
                let right = coopLoad<Right>(&columns[(probe + SIDE) * PITCH + at], PITCH);
                a = coopMultiplyAdd(upper, left, a);
                b = coopMultiplyAdd(upper, right, b);
                c = coopMultiplyAdd(lower, left, c);
                d = coopMultiplyAdd(lower, right, d);
            }
        }
        coopStoreT(a, &products[start], SIDE);
        workgroupBarrier();
        give(task, row, probe, start, subgroup_lane, size);
        workgroupBarrier();
        coopStoreT(b, &products[start], SIDE);
        workgroupBarrier();
        give(task, row, probe + SIDE, start, subgroup_lane, size);
        workgroupBarrier();
        coopStoreT(c, &products[start], SIDE);
        workgroupBarrier();
        give(task, row + SIDE, probe, start, subgroup_lane, size);
        workgroupBarrier();
        coopStoreT(d, &products[start], SIDE);
        workgroupBarrier();
        give(task, row + SIDE, probe + SIDE, start, subgroup_lane, size);
        workgroupBarrier();
    }
}
