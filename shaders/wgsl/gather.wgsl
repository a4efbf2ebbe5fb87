// Gathers the results of the invocations of a workgroup, by atomics alone.

var<workgroup> cells: array<atomic<u32>, 64>;

fn raise(cell: u32, lane: u32, value: u32) {
    atomicMax(&cells[cell], value);
}

fn add(cell: u32, lane: u32, value: u32) {
    if value > 0u {
        atomicAdd(&cells[cell], value);
    }
}
