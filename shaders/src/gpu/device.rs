//! Finds an adapter, opens it and compiles the kernels for it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::block_on::block_on;
use super::cache::PipelineCache;
use super::kernel_set::{DeviceKernel, Gathering, KernelSet, Side, Sweeping, Width};
use super::kernels::{self, Module};

/// An open device with the pipelines on it.
pub(super) struct Device {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) layout: wgpu::BindGroupLayout,
    pipelines: BTreeMap<DeviceKernel, wgpu::ComputePipeline>,
    /// Set by wgpu's callbacks when the device is lost or refuses something. Never cleared.
    pub(super) failed: Arc<AtomicBool>,
    pub(super) info: wgpu::AdapterInfo,
}

impl Device {
    /// # Panics
    /// Where the device does not have this kernel; see [`Device::fullest`].
    pub(super) fn pipeline(&self, kernel: DeviceKernel) -> &wgpu::ComputePipeline {
        &self.pipelines[&kernel]
    }

    /// The most special kernels that this device has.
    pub(super) fn fullest(&self) -> KernelSet {
        let has = |kernel: DeviceKernel| self.pipelines.contains_key(&kernel);
        let subgroups = has(DeviceKernel::Cull(Gathering::Subgroups));
        let by_matrices = |side: &Side| {
            let widths = [Width::Matrices(*side), Width::WideMatrices(*side)];
            let kernels = widths
                .map(|width| Sweeping::ALL.map(|sweeping| DeviceKernel::Sweep(sweeping, width, Gathering::Subgroups)));
            kernels.as_flattened().iter().all(|kernel| has(*kernel))
        };
        KernelSet {
            gathering: if subgroups { Gathering::Subgroups } else { Gathering::Atomics },
            matrices: [Side::Sixteen, Side::Eight].into_iter().find(by_matrices),
            for_few: false,
        }
    }
}

/// Whether the adapter computes on the CPU.
pub(super) fn is_software(info: &wgpu::AdapterInfo) -> bool {
    info.device_type == wgpu::DeviceType::Cpu
}

/// Opens the most capable adapter, or says in words why there is none. Software adapters come last, and only where
/// `software_too` asks for them. `cache` is a folder for compiled pipelines.
pub(super) fn open(software_too: bool, with_special: bool, cache: Option<&Path>) -> Result<Device, String> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        // Vulkan's validation layers check drivers and wgpu, which is not this crate's work.
        flags: wgpu::InstanceFlags::empty(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let mut adapters = block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    adapters.sort_by_key(|adapter| match adapter.get_info().device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 1,
        wgpu::DeviceType::VirtualGpu => 2,
        wgpu::DeviceType::Other => 3,
        wgpu::DeviceType::Cpu => 4,
    });
    let Some(adapter) = adapters.first() else {
        return Err("there is none".to_owned());
    };
    let info = adapter.get_info();
    if is_software(&info) && !software_too {
        return Err(format!("only the software adapter {} is there", info.name));
    }
    open_adapter(adapter, info, with_special, cache)
}

fn open_adapter(
    adapter: &wgpu::Adapter,
    info: wgpu::AdapterInfo,
    with_special: bool,
    cache: Option<&Path>,
) -> Result<Device, String> {
    let (device, queue, matrices) = request(adapter, &info, with_special)?;
    let refusal = Refusal::watch(&device);
    let layout = layout(&device);
    let cache = cache.and_then(|folder| PipelineCache::open(folder, &device, &info));
    let compile = |module| compile(&device, &layout, cache.as_ref(), module);
    let mut pipelines: BTreeMap<_, _> = kernels::by(Gathering::Atomics).into_iter().flat_map(compile).collect();
    if refusal.failed.load(Ordering::Acquire) {
        let refused = refusal.words.get().map_or("it was lost", String::as_str);
        return Err(format!("{} does not take the kernels: {refused}", info.name));
    }
    let memory = device.limits().max_compute_workgroup_storage_size;
    let by_subgroups = device.features().contains(wgpu::Features::SUBGROUP).then(|| kernels::by(Gathering::Subgroups));
    let by_matrices = matrices.map(|side| kernels::by_matrices(side, &info, memory));
    for module in by_subgroups.into_iter().chain(by_matrices).flatten() {
        // Where the driver refuses a special module, the device does without it.
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let compiled = compile(module);
        if block_on(scope.pop()).is_none() {
            pipelines.extend(compiled);
        }
    }
    if let Some(cache) = &cache {
        cache.save();
    }
    Ok(Device { device, queue, layout, pipelines, failed: refusal.failed, info })
}

/// Opens the adapter with the features for special kernels, as far as it has them and they are wanted. Returns also the
/// matrices that it then multiplies.
fn request(
    adapter: &wgpu::Adapter,
    info: &wgpu::AdapterInfo,
    with_special: bool,
) -> Result<(wgpu::Device, wgpu::Queue, Option<Side>), String> {
    let special = if with_special { wgpu::Features::SUBGROUP } else { wgpu::Features::empty() };
    let features = adapter.features() & (wgpu::Features::PIPELINE_CACHE | special);
    let request = |features: wgpu::Features| {
        block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("score"),
            // The default limits are those of a phone; a binding is to be as large as this adapter can have it.
            required_limits: adapter.limits(),
            required_features: features,
            experimental_features: match features.contains(kernels::MATRICES) {
                // SAFETY: matrices are the only experimental feature in use, and the self-test checks their answers at
                // each start.
                true => unsafe { wgpu::ExperimentalFeatures::enabled() },
                false => wgpu::ExperimentalFeatures::disabled(),
            },
            ..wgpu::DeviceDescriptor::default()
        }))
    };
    let matrices = kernels::matrices(adapter, info).filter(|_| with_special);
    if let Some(side) = matrices
        && let Ok((device, queue)) = request(features | kernels::MATRICES)
    {
        return Ok((device, queue, Some(side)));
    }
    let (device, queue) = request(features).map_err(|error| format!("{} cannot be opened: {error}", info.name))?;
    Ok((device, queue, None))
}

/// What wgpu's callbacks say of a device.
struct Refusal {
    failed: Arc<AtomicBool>,
    /// The first refusal, in wgpu's words.
    words: Arc<OnceLock<String>>,
}

impl Refusal {
    fn watch(device: &wgpu::Device) -> Refusal {
        let refusal = Refusal { failed: Arc::new(AtomicBool::new(false)), words: Arc::new(OnceLock::new()) };
        let (on_lost, on_error, words) = (refusal.failed.clone(), refusal.failed.clone(), refusal.words.clone());
        device.set_device_lost_callback(move |_, _| on_lost.store(true, Ordering::Release));
        device.on_uncaptured_error(Arc::new(move |error| {
            let _ = words.set(error.to_string());
            on_error.store(true, Ordering::Release);
        }));
        refusal
    }
}

/// The bindings of all kernels, as `wgsl/layout.wgsl` numbers them: four that are read, three that are written.
fn layout(device: &wgpu::Device) -> wgpu::BindGroupLayout {
    let entries: [_; 7] = std::array::from_fn(|binding| wgpu::BindGroupLayoutEntry {
        binding: binding as u32,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Storage { read_only: binding < 4 },
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    });
    device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some("score"), entries: &entries })
}

/// The pipelines of a module's kernels.
fn compile(
    device: &wgpu::Device,
    layout: &wgpu::BindGroupLayout,
    cache: Option<&PipelineCache>,
    module: Module,
) -> Vec<(DeviceKernel, wgpu::ComputePipeline)> {
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some("score"),
        bind_group_layouts: &[Some(layout)],
        immediate_size: 0,
    });
    let descriptor = wgpu::ShaderModuleDescriptor {
        label: Some(&module.name),
        source: wgpu::ShaderSource::Wgsl(module.source.into()),
    };
    // SAFETY: the modules are ours. Their loops end and their stores are guarded; `Plan` writes only sweeps and tasks
    // whose panels, codes, masks, lists and answers lie within the buffers that are bound.
    let compiled = unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) };
    let pipeline = |entry_point| {
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(entry_point),
            layout: Some(&pipeline_layout),
            module: &compiled,
            entry_point: Some(entry_point),
            compilation_options: wgpu::PipelineCompilationOptions {
                // The kernels read nothing behind a barrier that was not written before it.
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: cache.map(PipelineCache::cache),
        })
    };
    module.kernels.into_iter().map(|(kernel, entry_point)| (kernel, pipeline(entry_point))).collect()
}
