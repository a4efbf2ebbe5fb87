// Ranks a tile's rows by subgroups: each sorts its own rows without memory or barrier, and a row that is among the best there
// finds its place among the others' by bisection. Of 256 rows in subgroups of 32 that is 32 exchanges and 7 times 6 reads
// in place of 256.
//
// Rows are in order of their upper bounds, equal ones of their subgroups, within one of their lanes. What is ranked wrongly
// on a device whose subgroups are not whole would be found by the self-test.

struct Subgroup {
    // Which of the workgroup's, and how many they are.
    own: u32,
    count: u32,
    // Its invocations, and which of them this one is.
    size: u32,
    lane: u32,
}

// Of each probe the bounds of each subgroup's rows, the highest first.
var<workgroup> sorted: array<f32, 4u * TILE_ROWS>;

fn rank_within(subgroup: Subgroup, upper: f32) -> u32 {
    var rank = 0u;
    for (var other = 0u; other < subgroup.size; other += 1u) {
        let bound = subgroupShuffle(upper, other);
        rank += select(0u, 1u, bound > upper || (bound == upper && other < subgroup.lane));
    }
    return rank;
}

// Sorts the subgroup's rows; returns this one's rank among them.
fn sort(subgroup: Subgroup, place: u32, upper: f32) -> u32 {
    let rank = rank_within(subgroup, upper);
    sorted[place * TILE_ROWS + min(subgroup.own * subgroup.size + rank, TILE_ROWS - 1u)] = upper;
    return rank;
}

fn is_before(bound: f32, upper: f32, is_earlier: bool) -> bool {
    return bound > upper || (bound == upper && is_earlier);
}

// How many rows of other subgroups come before this one.
fn rank_elsewhere(subgroup: Subgroup, place: u32, upper: f32) -> u32 {
    var rank = 0u;
    for (var other = 0u; other < subgroup.count; other += 1u) {
        if other == subgroup.own {
            continue;
        }
        let first = place * TILE_ROWS + other * subgroup.size;
        var before = 0u;
        for (var step = subgroup.size / 2u; step > 0u; step /= 2u) {
            if is_before(sorted[first + before + step - 1u], upper, other < subgroup.own) {
                before += step;
            }
        }
        rank += before + select(0u, 1u, is_before(sorted[first + before], upper, other < subgroup.own));
    }
    return rank;
}

@compute @workgroup_size(256)
fn score_one(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) own: u32,
    @builtin(num_subgroups) count: u32,
    @builtin(subgroup_size) size: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    let item = work[group.y * groups.x + group.x];
    let subgroup = Subgroup(own, count, size, subgroup_lane);
    let upper = upper_one(item, lane);
    let rank = sort(subgroup, 0u, upper);
    workgroupBarrier();
    if rank < item.keep {
        give(item, lane, 0u, upper, rank + rank_elsewhere(subgroup, 0u, upper));
    }
}

@compute @workgroup_size(256)
fn score_four(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) own: u32,
    @builtin(num_subgroups) count: u32,
    @builtin(subgroup_size) size: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    let item = work[group.y * groups.x + group.x];
    let subgroup = Subgroup(own, count, size, subgroup_lane);
    let upper = upper_four(item, lane);
    var rank = vec4<u32>(0u);
    for (var place = 0u; place < 4u; place += 1u) {
        rank[place] = sort(subgroup, place, upper[place]);
    }
    workgroupBarrier();
    for (var place = 0u; place < 4u; place += 1u) {
        if rank[place] < item.keep {
            give(item, lane, place, upper[place], rank[place] + rank_elsewhere(subgroup, place, upper[place]));
        }
    }
}
