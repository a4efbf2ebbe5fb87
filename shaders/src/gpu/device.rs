//! Finding an adapter and opening it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use super::block_on::block_on;
use super::cache::PipelineCache;
use super::kernels::{self, Module};
use super::plan::{DeviceKernel, Gathering, Side, Sweeping, Ways, Width};

/// An open device with the pipelines on it.
pub(super) struct Device {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) layout: wgpu::BindGroupLayout,
    pipelines: BTreeMap<DeviceKernel, wgpu::ComputePipeline>,
    /// Set by wgpu's callbacks when the device is lost or refuses something; never cleared.
    pub(super) failed: Arc<AtomicBool>,
    pub(super) info: wgpu::AdapterInfo,
}

impl Device {
    /// # Panics
    /// Where the device has no such kernel; see [`Device::fullest`].
    pub(super) fn pipeline(&self, kernel: DeviceKernel) -> &wgpu::ComputePipeline {
        &self.pipelines[&kernel]
    }

    /// Of each kind the kernel that needs most of a device, as far as this one has what it needs.
    pub(super) fn fullest(&self) -> Ways {
        let has = |kernel: DeviceKernel| self.pipelines.contains_key(&kernel);
        let subgroups = has(DeviceKernel::Cull(Gathering::Subgroups));
        let by_matrices = |side: &Side| {
            let widths = [Width::Matrices(*side), Width::WideMatrices(*side)];
            let kernels = widths
                .map(|width| Sweeping::ALL.map(|sweeping| DeviceKernel::Sweep(sweeping, width, Gathering::Subgroups)));
            kernels.as_flattened().iter().all(|kernel| has(*kernel))
        };
        Ways {
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

/// Opens the most capable adapter, or says in words why there is none. Software adapters come last and only
/// where `software_too` asks for them.
/// `cache` is a folder for compiled pipelines.
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
    let limits = adapter.limits();
    let mut matrices = kernels::matrices(adapter, &info).filter(|_| with_special);
    let special = if with_special { wgpu::Features::SUBGROUP } else { wgpu::Features::empty() };
    let features = adapter.features() & (wgpu::Features::PIPELINE_CACHE | special);
    let request = |features: wgpu::Features| {
        block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("score"),
            // The default limits are those of a phone; a binding is to be as large as this adapter can have it.
            required_limits: limits.clone(),
            required_features: features,
            experimental_features: match features.contains(kernels::MATRICES) {
                // SAFETY: only matrices are used of what is experimental, and what they answer is tested at each start.
                true => unsafe { wgpu::ExperimentalFeatures::enabled() },
                false => wgpu::ExperimentalFeatures::disabled(),
            },
            ..wgpu::DeviceDescriptor::default()
        }))
    };
    let with_matrices = matrices.and_then(|_| request(features | kernels::MATRICES).ok());
    let (device, queue) = match with_matrices {
        Some(opened) => opened,
        None => {
            matrices = None;
            request(features).map_err(|error| format!("{} cannot be opened: {error}", info.name))?
        }
    };

    let failed = Arc::new(AtomicBool::new(false));
    // What the device refused first, in its own words.
    let refused = Arc::new(OnceLock::new());
    let (on_lost, on_error, on_refused) = (failed.clone(), failed.clone(), refused.clone());
    device.set_device_lost_callback(move |_, _| on_lost.store(true, Ordering::Release));
    device.on_uncaptured_error(Arc::new(move |error| {
        let _ = on_refused.set(error.to_string());
        on_error.store(true, Ordering::Release);
    }));

    let storage = |binding, read_only| wgpu::BindGroupLayoutEntry {
        binding,
        visibility: wgpu::ShaderStages::COMPUTE,
        ty: wgpu::BindingType::Buffer {
            ty: wgpu::BufferBindingType::Storage { read_only },
            has_dynamic_offset: false,
            min_binding_size: None,
        },
        count: None,
    };
    let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
        label: Some("score"),
        entries: &[
            storage(0, true),
            storage(1, true),
            storage(2, true),
            storage(3, true),
            storage(4, false),
            storage(5, false),
            storage(6, false),
        ],
    });
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some("score"),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let cache = cache.and_then(|folder| PipelineCache::open(folder, &device, &info));
    let compile = |module: Module| -> Vec<(DeviceKernel, wgpu::ComputePipeline)> {
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(&module.name),
            source: wgpu::ShaderSource::Wgsl(module.source.into()),
        };
        // SAFETY: the modules are ours; their loops end, their stores are guarded, and `Plan` writes only sweeps and tasks whose
        // panels, codes, masks, lots and answers lie within the buffers that are bound.
        let compiled =
            unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) };
        let pipeline = |entry_point| {
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(entry_point),
                layout: Some(&pipeline_layout),
                module: &compiled,
                entry_point: Some(entry_point),
                compilation_options: wgpu::PipelineCompilationOptions {
                    // What is read behind a barrier was written before it.
                    zero_initialize_workgroup_memory: false,
                    ..Default::default()
                },
                cache: cache.as_ref().map(PipelineCache::cache),
            })
        };
        module.kernels.into_iter().map(|(kernel, entry_point)| (kernel, pipeline(entry_point))).collect()
    };
    let mut pipelines: BTreeMap<_, _> = kernels::by(Gathering::Atomics).into_iter().flat_map(&compile).collect();
    if failed.load(Ordering::Acquire) {
        return Err(format!(
            "{} does not take the kernels: {}",
            info.name,
            refused.get().map_or("it was lost", String::as_str)
        ));
    }
    let by_subgroups = device.features().contains(wgpu::Features::SUBGROUP).then(|| kernels::by(Gathering::Subgroups));
    let by_matrices = matrices.map(|side| kernels::by_matrices(side, &info, limits.max_compute_workgroup_storage_size));
    for module in by_subgroups.into_iter().chain(by_matrices).flatten() {
        // A driver that does not take them goes on without.
        let scope = device.push_error_scope(wgpu::ErrorFilter::Validation);
        let compiled = compile(module);
        if block_on(scope.pop()).is_none() {
            pipelines.extend(compiled);
        }
    }
    if let Some(cache) = &cache {
        cache.save();
    }
    Ok(Device { device, queue, layout, pipelines, failed, info })
}
