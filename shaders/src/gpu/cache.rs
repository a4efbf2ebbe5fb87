//! Compiled pipelines on disk: they save a driver up to seconds of compiling.

use std::fs;
use std::path::{Path, PathBuf};

/// The file of one adapter's pipelines: a CRC-32, then the driver's data. A driver trusts its own data, so damaged data
/// must not reach it.
pub(super) struct PipelineCache {
    file: PathBuf,
    cache: wgpu::PipelineCache,
}

impl PipelineCache {
    /// Reads the file of this adapter in `folder`; none where the adapter does not give its pipelines away.
    pub(super) fn open(folder: &Path, device: &wgpu::Device, info: &wgpu::AdapterInfo) -> Option<PipelineCache> {
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let file = folder.join(wgpu::util::pipeline_cache_key(info)?);
        // A file that is not there, or cannot be read, is as good as an empty one.
        let stored = fs::read(&file).unwrap_or_default();
        let data = stored.split_first_chunk().filter(|(sum, data)| crc32fast::hash(data).to_le_bytes() == **sum);
        let descriptor = wgpu::PipelineCacheDescriptor {
            label: Some("score"),
            data: data.map(|(_, data)| data),
            // Data of another version of the driver is ignored.
            fallback: true,
        };
        // SAFETY: the data is what `get_data` gave for this adapter: the file is named for it, and its sum is right.
        let cache = unsafe { device.create_pipeline_cache(&descriptor) };
        Some(PipelineCache { file, cache })
    }

    pub(super) fn cache(&self) -> &wgpu::PipelineCache {
        &self.cache
    }

    /// Writes what the driver has compiled. Without the file the next start compiles again, so a failure is no error.
    pub(super) fn save(&self) {
        let Some(data) = self.cache.get_data() else { return };
        let sum = crc32fast::hash(&data).to_le_bytes();
        let unfinished = self.file.with_extension("new");
        let written = self.file.parent().map_or(Ok(()), fs::create_dir_all);
        let written = written.and_then(|()| fs::write(&unfinished, [&sum, data.as_slice()].concat()));
        let _ = written.and_then(|()| fs::rename(&unfinished, &self.file));
    }
}
