// Gathers the results of the invocations of a workgroup: first within each subgroup, without memory, then by atomics.

var<workgroup> cells: array<atomic<u32>, 64>;

fn raise(cell: u32, lane: u32, value: u32) {
    let highest = subgroupMax(value);
    if subgroupBroadcastFirst(lane) == lane {
        atomicMax(&cells[cell], highest);
    }
}

fn add(cell: u32, lane: u32, value: u32) {
    let sum = subgroupAdd(value);
    if subgroupBroadcastFirst(lane) == lane {
        atomicAdd(&cells[cell], sum);
    }
}
