// Bounds of scores in eight bits: what the kernels for one probe and for several share.
//
// A workgroup scores a tile of 256 rows against a set of WIDTH probes, whose codes it keeps; invocation i scores row i.
// Where PEAKS, it gives back the highest lower bound of each probe, else the rows that reach their probe's floor. The
// host puts WIDTH and PEAKS in front.

const TILE_ROWS: u32 = 256u;

// For each probe its reach and its floor.
var<workgroup> limits: array<vec2<f32>, WIDTH>;

fn prepare(place: Place, lane: u32) {
    if lane < 64u {
        atomicStore(&cells[lane], 0u);
    }
    if lane < WIDTH {
        let task = place.task_first + lane;
        if lane < place.probe_count {
            limits[lane] = vec2<f32>(tasks[task].reach, floor_of(task));
        } else {
            limits[lane] = vec2<f32>(0.0, EVERYTHING);
        }
    }
}

struct Row {
    row: u32,
    lane: u32,
    live: bool,
    scale: f32,
    error: f32,
}

fn row_of(place: Place, lane: u32, at: u32) -> Row {
    let row = place.row + lane;
    return Row(row, lane, is_live(place.sweep, row), bitcast<f32>(slab[at]), bitcast<f32>(slab[at + PANEL_ROWS]));
}

fn take(place: Place, row: Row, probe: u32, sum: i32) {
    let centre = row.scale * f32(sum);
    let radius = row.error * limits[probe].x;
    if PEAKS {
        raise(probe, row.lane, key_of(select(NOTHING, centre - radius, row.live)));
    } else if row.live && centre + radius >= limits[probe].y {
        give(place.task_first + probe, centre + radius, centre - radius, place.sweep.row_first + row.row);
    }
}

fn finish(place: Place, lane: u32) {
    if PEAKS {
        workgroupBarrier();
        if lane < place.probe_count {
            lists[tasks[place.task_first + lane].list_start + place.peak].lower = value_of(atomicLoad(&cells[lane]));
        }
    }
}
