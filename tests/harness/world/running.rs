//! What a process has in memory of a shard that runs.

use cluster_config::ids::{ContentHash, GalleryVersion};
use node_core::shard::{Content, Replica};

use super::content::Ready;

/// A shard that runs on a node.
pub struct Running {
    run: u64,
    /// What decides.
    pub core: Replica,
    /// What is searched.
    pub serving: Option<Ready>,
    /// What stands ready.
    pub staged: Vec<Ready>,
    /// Whether a build is under way.
    pub building: bool,
}

impl Running {
    /// A shard that has nothing yet.
    pub fn new(run: u64, core: Replica) -> Self {
        Self { run, core, serving: None, staged: Vec::new(), building: false }
    }

    /// Which start of it this is.
    pub fn run(&self) -> u64 {
        self.run
    }

    pub fn core(&self) -> &Replica {
        &self.core
    }

    /// What can be searched.
    pub fn loaded(&self) -> Option<Ready> {
        self.serving.clone()
    }

    /// The version that can be searched; 0 is none.
    pub fn version(&self) -> GalleryVersion {
        self.serving.as_ref().map(|loaded| loaded.head.version).unwrap_or_default()
    }

    /// Version and hash of what can be searched.
    pub fn content(&self) -> Option<(GalleryVersion, ContentHash)> {
        self.serving.as_ref().map(|loaded| (loaded.head.version, loaded.hash))
    }

    /// What can be searched, and under which epoch.
    pub fn serving(&self) -> Option<(Ready, cluster_config::ids::Epoch)> {
        self.serving.clone().map(|loaded| (loaded, self.core.epoch()))
    }

    /// Takes what stands ready.
    pub fn take_staged(&mut self, content: Content) -> Option<Ready> {
        let is = |loaded: &Ready| loaded.head.version == content.version && loaded.hash == content.hash;
        let place = self.staged.iter().position(is)?;
        Some(self.staged.swap_remove(place))
    }
}
