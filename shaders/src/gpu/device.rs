//! Finding an adapter and opening it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::block_on;
use super::cache::PipelineCache;
use super::plan::DeviceKernel;

/// An open device with the pipelines on it.
pub(super) struct Device {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) layout: wgpu::BindGroupLayout,
    score_one: wgpu::ComputePipeline,
    score_four: wgpu::ComputePipeline,
    sieve_four: wgpu::ComputePipeline,
    sieve_sixteen: wgpu::ComputePipeline,
    /// Set by wgpu's callbacks when the device is lost or refuses something; never cleared.
    pub(super) failed: Arc<AtomicBool>,
    pub(super) info: wgpu::AdapterInfo,
}

impl Device {
    pub(super) fn pipeline(&self, kernel: DeviceKernel) -> &wgpu::ComputePipeline {
        match kernel {
            DeviceKernel::ScoreOne => &self.score_one,
            DeviceKernel::ScoreFour => &self.score_four,
            DeviceKernel::SieveFour => &self.sieve_four,
            DeviceKernel::SieveSixteen => &self.sieve_sixteen,
        }
    }
}

/// A kernel's source, behind what all share.
fn source(constants: &str, kernel: &str) -> String {
    [include_str!("../../wgsl/layout.wgsl"), constants, kernel].join("\n")
}

/// The sieving kernel's source, for sets of four times `quads` probes.
fn sieve(quads: usize) -> String {
    source(&format!("const QUADS: u32 = {quads}u;"), include_str!("../../wgsl/sieve.wgsl"))
}

/// Whether the adapter computes on the CPU.
pub(super) fn is_software(info: &wgpu::AdapterInfo) -> bool {
    info.device_type == wgpu::DeviceType::Cpu
}

/// Opens the most capable adapter, or says in words why there is none. Software adapters come last and only
/// where `software_too` asks for them.
/// `cache` is a folder for compiled pipelines.
pub(super) fn open(software_too: bool, cache: Option<&Path>) -> Result<Device, String> {
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
    open_adapter(adapter, info, cache)
}

fn open_adapter(adapter: &wgpu::Adapter, info: wgpu::AdapterInfo, cache: Option<&Path>) -> Result<Device, String> {
    let (device, queue) = block_on(adapter.request_device(&wgpu::DeviceDescriptor {
        label: Some("score"),
        // The default limits are those of a phone; a binding is to be as large as this adapter can have it.
        required_limits: adapter.limits(),
        required_features: adapter.features() & wgpu::Features::PIPELINE_CACHE,
        ..wgpu::DeviceDescriptor::default()
    }))
    .map_err(|error| format!("{} cannot be opened: {error}", info.name))?;

    let failed = Arc::new(AtomicBool::new(false));
    let (on_lost, on_error) = (failed.clone(), failed.clone());
    device.set_device_lost_callback(move |_, _| on_lost.store(true, Ordering::Release));
    device.on_uncaptured_error(Arc::new(move |_| on_error.store(true, Ordering::Release)));

    let module = |label, source: String| {
        let descriptor =
            wgpu::ShaderModuleDescriptor { label: Some(label), source: wgpu::ShaderSource::Wgsl(source.into()) };
        // SAFETY: the modules are ours; their loops end, their stores are guarded, and `Plan` writes only work items whose
        // tiles, probes, results and counts lie within the buffers that are bound.
        unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
    };
    let score = module("score.wgsl", source("", include_str!("../../wgsl/score.wgsl")));
    let four = module("sieve.wgsl, four probes", sieve(DeviceKernel::SieveFour.set_probes() / 4));
    let sixteen = module("sieve.wgsl, sixteen probes", sieve(DeviceKernel::SieveSixteen.set_probes() / 4));
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
        entries: &[storage(0, true), storage(1, true), storage(2, true), storage(3, false), storage(4, false)],
    });
    let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some("score"),
        bind_group_layouts: &[Some(&layout)],
        immediate_size: 0,
    });
    let cache = cache.and_then(|folder| PipelineCache::open(folder, &device, &info));
    let pipeline = |module, entry_point| {
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(entry_point),
            layout: Some(&pipeline_layout),
            module,
            entry_point: Some(entry_point),
            compilation_options: wgpu::PipelineCompilationOptions {
                // What is read behind a barrier was written before it.
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: cache.as_ref().map(PipelineCache::cache),
        })
    };
    let (score_one, score_four) = (pipeline(&score, "score_one"), pipeline(&score, "score_four"));
    let (sieve_four, sieve_sixteen) = (pipeline(&four, "sieve"), pipeline(&sixteen, "sieve"));
    if failed.load(Ordering::Acquire) {
        return Err(format!("{} does not take the kernels", info.name));
    }
    if let Some(cache) = &cache {
        cache.save();
    }
    Ok(Device { device, queue, layout, score_one, score_four, sieve_four, sieve_sixteen, failed, info })
}
