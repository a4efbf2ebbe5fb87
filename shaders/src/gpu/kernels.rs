//! The kernels' sources, and what a device has to have for them.

use super::plan::{DeviceKernel, Ranking, Side};

/// What cooperative matrices of sixteen-bit factors need.
pub(super) const MATRICES: wgpu::Features =
    wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX.union(wgpu::Features::SHADER_F16).union(wgpu::Features::SUBGROUP);

/// Blocks of a matrix kernel's workgroup. Twin of `BLOCKS` in the shader.
const BLOCKS: u32 = 8;

/// A module and the entry points of the kernels in it.
pub(super) struct Module {
    pub(super) name: &'static str,
    pub(super) source: String,
    pub(super) kernels: Vec<(DeviceKernel, &'static str)>,
}

/// A kernel's source, behind what all share; `constants` stand before both, as WGSL wants its extensions to.
fn source(constants: &str, kernel: &[&str]) -> String {
    [&[constants, include_str!("../../wgsl/layout.wgsl")], kernel].concat().join("\n")
}

fn ranking(name: &'static str, kernel: &str, ranking: Ranking) -> Module {
    Module {
        name,
        source: source("", &[include_str!("../../wgsl/score.wgsl"), kernel]),
        kernels: vec![(DeviceKernel::ScoreOne(ranking), "score_one"), (DeviceKernel::ScoreFour(ranking), "score_four")],
    }
}

fn sieving(name: &'static str, constants: &str, kernel_source: &str, kernel: DeviceKernel) -> Module {
    Module { name, source: source(constants, &[kernel_source]), kernels: vec![(kernel, "sieve")] }
}

/// What every device takes.
pub(super) fn plain() -> Vec<Module> {
    let sieve = |name, kernel: DeviceKernel| {
        let constants = format!("const QUADS: u32 = {}u;", kernel.set_probes() / 4);
        sieving(name, &constants, include_str!("../../wgsl/sieve.wgsl"), kernel)
    };
    vec![
        ranking("rank_by_counting.wgsl", include_str!("../../wgsl/rank_by_counting.wgsl"), Ranking::Counting),
        sieve("sieve.wgsl, four probes", DeviceKernel::SieveFour),
        sieve("sieve.wgsl, sixteen probes", DeviceKernel::SieveSixteen),
    ]
}

/// What a device with these features takes besides.
pub(super) fn special(features: wgpu::Features, matrices: Option<Side>, info: &wgpu::AdapterInfo) -> Vec<Module> {
    let mut modules = Vec::new();
    if features.contains(wgpu::Features::SUBGROUP) {
        let kernel = include_str!("../../wgsl/rank_by_subgroups.wgsl");
        modules.push(ranking("rank_by_subgroups.wgsl", kernel, Ranking::Subgroups));
    }
    if let Some(side) = matrices {
        let (length, invocations) = (side.length(), BLOCKS * info.subgroup_min_size);
        let matrix = format!("coop_mat{length}x{length}");
        let constants = format!(
            "enable f16;\nenable wgpu_cooperative_matrix;\nalias Left = {matrix}<f16, A>;\nalias Right = {matrix}<f16, B>;\n\
             alias Sums = {matrix}<f32, C>;\nconst SIDE: u32 = {length}u;\nconst INVOCATIONS: u32 = {invocations}u;"
        );
        let kernel = include_str!("../../wgsl/sieve_by_matrices.wgsl");
        modules.push(sieving("sieve_by_matrices.wgsl", &constants, kernel, DeviceKernel::SieveMatrices(side)));
    }
    modules
}

/// The matrices that an adapter multiplies, if it has any that the kernel can use.
pub(super) fn matrices(adapter: &wgpu::Adapter, info: &wgpu::AdapterInfo) -> Option<Side> {
    let (limits, least) = (adapter.limits(), info.subgroup_min_size);
    let invocations = BLOCKS * least;
    // Each subgroup is whole, and has a block or several.
    let subgroups_fit = least.is_power_of_two() && info.subgroup_max_size <= invocations;
    let most = limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x);
    let has = |side: &Side| {
        let length = side.length() as u32;
        // Rows and columns of ten times four values of two bytes, and a matrix of sums a block.
        let memory = 12 * length * 80 + BLOCKS * length * length * 4;
        limits.max_compute_workgroup_storage_size >= memory
            && adapter.cooperative_matrix_properties().iter().any(|matrix| {
                [matrix.m_size, matrix.n_size, matrix.k_size] == [length; 3]
                    && matrix.ab_type == wgpu::CooperativeScalarType::F16
                    && matrix.cr_type == wgpu::CooperativeScalarType::F32
            })
    };
    let usable = adapter.features().contains(MATRICES) && subgroups_fit && invocations <= most;
    [Side::Sixteen, Side::Eight].into_iter().find(|side| usable && has(side))
}
