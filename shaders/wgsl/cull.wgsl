// Culls by a task's own candidates: `set_floor` makes a floor of its peaks before the sieve, and behind the sieve
// `cull` drops from its list the rows that the list's bounds exclude.
//
// At least k rows reach the k-th highest of some rows' lower bounds. So no row of the answer has an upper bound below
// that by more than the task's margin (`Reach::threshold` in src/bound.rs). The host proves it once more from the rows
// that are left: a wrong computation here costs the proof, never the answer (src/gpu/proof.rs).

// The most keys of lower bounds that are kept in workgroup memory, where they are read again and again.
const CACHED: u32 = 2048u;
const LANES: u32 = 256u;
// The cells: the highest key, the highest complement of a key, three counts for each step of the search, the complement
// of the k-th highest key, and the number of rows that are left.
const HIGHEST: u32 = 0u;
const LOWEST: u32 = 1u;
const STEPS: u32 = 2u;
const STEPS_MAX: u32 = 17u;
const KTH: u32 = 60u;
const LEFT: u32 = 61u;

var<workgroup> cached: array<u32, CACHED>;

fn key_at(start: u32, i: u32) -> u32 {
    if i < CACHED {
        return cached[i];
    }
    return key_of(lists[start + i].lower);
}

// The k-th highest lower bound of `count` candidates, or NOTHING where they are fewer than k. All invocations call it
// together.
fn kth_lower(start: u32, count: u32, k: u32, lane: u32) -> f32 {
    if lane < 64u {
        atomicStore(&cells[lane], 0u);
    }
    workgroupBarrier();
    if count < k {
        return NOTHING;
    }
    var highest = 0u;
    var lowest = 0u;
    for (var i = lane; i < count; i += LANES) {
        let key = key_of(lists[start + i].lower);
        if i < CACHED {
            cached[i] = key;
        }
        highest = max(highest, key);
        lowest = max(lowest, ~key);
    }
    raise(HIGHEST, lane, highest);
    raise(LOWEST, lane, lowest);
    workgroupBarrier();
    // At least k keys reach the lower end, and fewer than k are above the upper end. Each step leaves a quarter.
    var low = ~atomicLoad(&cells[LOWEST]);
    var high = atomicLoad(&cells[HIGHEST]);
    for (var step = 0u; step < STEPS_MAX && low < high; step += 1u) {
        let quarter = (high - low) / 4u + 1u;
        let key$s = low + min($su * quarter + quarter, high - low);
        var reached$s = 0u;
        for (var i = lane; i < count; i += LANES) {
            let key = key_at(start, i);
            reached$s += select(0u, 1u, key >= key$s);
        }
        add(STEPS + 3u * step + $su, lane, reached$s);
        workgroupBarrier();
        let all$s = atomicLoad(&cells[STEPS + 3u * step + $su]);
        if all2 >= k {
            low = key2;
        } else if all1 >= k {
            low = key1;
            high = key2 - 1u;
        } else if all0 >= k {
            low = key0;
            high = key1 - 1u;
        } else {
            high = key0 - 1u;
        }
        if all0 == k || all1 == k || all2 == k {
            break;
        }
    }
    // The lowest of the keys that reach the lower end.
    lowest = 0u;
    for (var i = lane; i < count; i += LANES) {
        let key = key_at(start, i);
        lowest = max(lowest, select(0u, ~key, key >= low));
    }
    raise(KTH, lane, lowest);
    workgroupBarrier();
    return value_of(~atomicLoad(&cells[KTH]));
}

@compute @workgroup_size(256)
fn set_floor(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let task = tasks[group.x];
    let floor = max(task.floor, kth_lower(task.list_start, task.peaks, task.k, lane) - task.margin);
    if lane == 0u {
        atomicStore(&state[2u * group.x], bitcast<u32>(floor));
        atomicStore(&state[2u * group.x + 1u], 0u);
    }
}

@compute @workgroup_size(256)
fn cull(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let task = tasks[group.x];
    let all = atomicLoad(&state[2u * group.x + 1u]);
    let count = min(all, task.room);
    let floor = max(floor_of(group.x), kth_lower(task.list_start, count, task.k, lane) - task.margin);
    for (var i = lane; i < count; i += LANES) {
        let candidate = lists[task.list_start + i];
        if candidate.upper >= floor {
            let slot = atomicAdd(&cells[LEFT], 1u);
            if slot < task.keep {
                let at = task.found_start + 3u + 3u * slot;
                found[at] = bitcast<u32>(candidate.upper);
                found[at + 1u] = bitcast<u32>(candidate.lower);
                found[at + 2u] = candidate.row;
            }
        }
    }
    workgroupBarrier();
    if lane == 0u {
        found[task.found_start] = atomicLoad(&cells[LEFT]);
        found[task.found_start + 1u] = bitcast<u32>(floor);
        found[task.found_start + 2u] = all;
    }
}
