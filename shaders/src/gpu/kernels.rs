//! The sources of the kernels, and what a device needs for them.

use super::kernel_set::{DeviceKernel, Gathering, Side, Sweeping, TALL, Width};

/// The features that cooperative matrices of sixteen-bit factors need.
pub(super) const MATRICES: wgpu::Features =
    wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(wgpu::Features::SHADER_F16).union(wgpu::Features::SUBGROUP);

/// Blocks that a matrix kernel's workgroup multiplies. Twin of `BLOCKS` in the shader.
pub(super) const BLOCKS: usize = 8;

/// Rows that a matrix kernel's workgroup keeps until its end. Twin of `REACHED` in the shader.
const REACHED: usize = 128;

/// How many pairs of groups of four codes a matrix kernel may work on at a time: the more, the better. The fewest make
/// one matrix.
const DEPTHS: [usize; 3] = [8, 4, 2];

/// Groups of four codes that the other kernels read at a time, so that a device waits for all of them together.
const AHEAD: usize = 16;

/// A module and the entry points of the kernels in it.
pub(super) struct Module {
    pub(super) name: String,
    pub(super) source: String,
    pub(super) kernels: Vec<(DeviceKernel, &'static str)>,
}

/// Repeats each line of a source that has a placeholder in it, such as `$q`, with each number below `times` in its
/// place. So sums stay in registers, where arrays that a loop indexes may not.
fn repeat(source: &str, placeholders: &[(&str, usize)]) -> String {
    let mut lines: Vec<String> = source.lines().map(str::to_owned).collect();
    for (placeholder, times) in placeholders {
        let repeated = lines.into_iter().flat_map(|line| {
            let times = if line.contains(placeholder) { *times } else { 1 };
            (0..times).map(move |number| line.replace(placeholder, &number.to_string()))
        });
        lines = repeated.collect();
    }
    lines.join("\n")
}

/// A whole source: `constants`, which WGSL wants first because of its extensions, then what all kernels share, then
/// `parts`.
fn source(constants: &str, parts: &[&str]) -> String {
    [&[constants, include_str!("../../wgsl/layout.wgsl")], parts].concat().join("\n")
}

fn gathering(gathering: Gathering) -> &'static str {
    match gathering {
        Gathering::Atomics => include_str!("../../wgsl/gather.wgsl"),
        Gathering::Subgroups => include_str!("../../wgsl/gather_by_subgroups.wgsl"),
    }
}

/// The kernels that every device takes, or the same with subgroups.
pub(super) fn by(how: Gathering) -> Vec<Module> {
    let mut modules = vec![Module {
        name: format!("cull.wgsl, {how:?}"),
        source: source("", &[gathering(how), &repeat(include_str!("../../wgsl/cull.wgsl"), &[("$s", 3)])]),
        kernels: vec![(DeviceKernel::SetFloor(how), "set_floor"), (DeviceKernel::Cull(how), "cull")],
    }];
    for width in [Width::One, Width::Four, Width::Sixteen] {
        for sweeping in Sweeping::ALL {
            let peaks = sweeping == Sweeping::Peaks;
            let (probes, quads) = (width.probes(), width.probes() / 4);
            let constants =
                format!("const WIDTH: u32 = {probes}u;\nconst QUADS: u32 = {quads}u;\nconst PEAKS: bool = {peaks};");
            let kernel = match width {
                Width::One => include_str!("../../wgsl/sieve_one.wgsl"),
                _ => include_str!("../../wgsl/sieve_quads.wgsl"),
            };
            let kernel = repeat(kernel, &[("$u", AHEAD), ("$q", quads)]);
            modules.push(Module {
                name: format!("sieve.wgsl, {sweeping:?}, {width:?}, {how:?}"),
                source: source(&constants, &[gathering(how), include_str!("../../wgsl/sieve.wgsl"), &kernel]),
                kernels: vec![(DeviceKernel::Sweep(sweeping, width, how), "sieve")],
            });
        }
    }
    modules
}

/// The kernels for a device with such matrices. `memory` is that of a workgroup, in bytes.
pub(super) fn by_matrices(side: Side, info: &wgpu::AdapterInfo, memory: u32) -> Vec<Module> {
    let (length, invocations) = (side.length(), BLOCKS * info.subgroup_min_size as usize);
    let matrix = format!("coop_mat{length}x{length}");
    // Where all subgroups have one size it is a constant, and loops over them are unrolled.
    let sizes = match info.subgroup_min_size == info.subgroup_max_size {
        true => format!(
            "fn size_of(size: u32) -> u32 {{ return {}u; }}\nfn count_of(count: u32) -> u32 {{ return {BLOCKS}u; }}",
            info.subgroup_min_size
        ),
        false => {
            "fn size_of(size: u32) -> u32 { return size; }\nfn count_of(count: u32) -> u32 { return count; }".to_owned()
        }
    };
    let mut modules = Vec::new();
    for width in [Width::Matrices(side), Width::WideMatrices(side)] {
        let Some(depth) = depth(width, side, memory) else { continue };
        for sweeping in Sweeping::ALL {
            let peaks = sweeping == Sweeping::Peaks;
            let across = width.probes() / (4 * length);
            let constants = format!(
                "enable f16;\nenable wgpu_cooperative_matrix;\n\
                 alias Left = {matrix}<f16, A>;\nalias Right = {matrix}<f16, B>;\nalias Sums = {matrix}<f32, C>;\n\
                 const SIDE: u32 = {length}u;\nconst INVOCATIONS: u32 = {invocations}u;\n{sizes}\n\
                 const TALL: u32 = {TALL}u;\nconst ACROSS: u32 = {across}u;\nconst DEPTH: u32 = {depth}u;\n\
                 const PEAKS: bool = {peaks};"
            );
            let times = |words: usize| words.div_ceil(invocations);
            let placeholders = [
                ("$n", TALL),
                ("$m", 4),
                ("$r", times(width.tile_rows() * depth)),
                ("$c", times(width.probes() * depth)),
            ];
            let kernel = repeat(include_str!("../../wgsl/sieve_by_matrices.wgsl"), &placeholders);
            modules.push(Module {
                name: format!("sieve_by_matrices.wgsl, {sweeping:?}, {width:?}"),
                source: source(&constants, &[&kernel]),
                kernels: vec![(DeviceKernel::Sweep(sweeping, width, Gathering::Subgroups), "sieve")],
            });
        }
    }
    modules
}

/// The largest of [`DEPTHS`] for which a device has the memory.
fn depth(width: Width, side: Side, bytes: u32) -> Option<usize> {
    let (rows, probes) = (width.tile_rows(), width.probes());
    let others = (rows + probes) * 8 + probes * 4 + BLOCKS * side.length().pow(2) * 4 + REACHED * 16 + 4;
    DEPTHS.into_iter().find(|depth| others + (rows + probes) * (depth + 1) * 16 <= bytes as usize)
}

/// The matrices that an adapter multiplies, if the kernel can use any.
pub(super) fn matrices(adapter: &wgpu::Adapter, info: &wgpu::AdapterInfo) -> Option<Side> {
    let (limits, least) = (adapter.limits(), info.subgroup_min_size as usize);
    let invocations = BLOCKS * least;
    let most = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x) as usize;
    // Each subgroup must be whole, and have one block or more.
    let subgroups_fit = least.is_power_of_two() && info.subgroup_max_size as usize <= invocations;
    let has = |side: &Side| {
        let bytes = limits.max_compute_workgroup_storage_size;
        [Width::Matrices(*side), Width::WideMatrices(*side)]
            .into_iter()
            .all(|width| depth(width, *side, bytes).is_some())
            && adapter.cooperative_matrix_properties().iter().any(|matrix| {
                [matrix.m_size, matrix.n_size, matrix.k_size] == [side.length() as u32; 3]
                    && matrix.ab_type == wgpu::CooperativeScalarType::F16
                    && matrix.cr_type == wgpu::CooperativeScalarType::F32
            })
    };
    let usable = adapter.features().contains(MATRICES) && subgroups_fit && invocations <= most;
    [Side::Sixteen, Side::Eight].into_iter().filter(|_| usable).find(has)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_with_placeholders_are_repeated_and_others_are_not() {
        let source = "var sum$q = 0;\nfor {\nsum$q += row$u;\n}";
        let expected =
            "var sum0 = 0;\nvar sum1 = 0;\nfor {\nsum0 += row0;\nsum1 += row0;\nsum0 += row1;\nsum1 += row1;\n}";
        assert_eq!(repeat(source, &[("$u", 2), ("$q", 2)]), expected);
    }
}
