//! The processes of a local cluster: started, signalled, ended, waited for.

use std::fs::File;
use std::process::{Child, Command, ExitStatus, Stdio};

use cluster_config::ids::NodeId;
use rustix::process::{Pid, Signal, kill_process};

use super::{Error, LocalCluster, LocalNode, ports};

impl LocalCluster {
    /// Starts a node that is not running.
    ///
    /// # Errors
    /// [`Error`] with the place.
    pub fn restart(&mut self, id: NodeId) -> Result<(), Error> {
        let filter = self.options.log.clone();
        let node = self.node_mut(id)?;
        let failed = |action| {
            let path = node.log.clone();
            move |source| Error::Io { path, action, source }
        };
        let log = File::options().create(true).append(true).open(&node.log).map_err(failed("opened"))?;
        let also = log.try_clone().map_err(failed("opened"))?;
        let binary = node.binary.clone();
        node.port = None;
        let mut words = node.launcher.iter().cloned().chain([binary.clone().into_os_string()]);
        let child = Command::new(words.next().unwrap_or_default())
            .args(words)
            .args(["node", "run", "--config"])
            .arg(&node.config)
            .env("TVS_LOG", filter)
            // Mesa's device chooser complains on standard error where there is no display; nothing is chosen here.
            .env("NODEVICE_SELECT", "1")
            .envs(node.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(also)
            .spawn()
            .map_err(|source| Error::Io { path: binary, action: "started", source })?;
        node.child = Some(child);
        Ok(())
    }

    /// The process id of a running node.
    pub fn process_id(&self, id: NodeId) -> Option<u32> {
        self.node(id).ok()?.child.as_ref().map(Child::id)
    }

    /// The exit code of a node that has ended by itself; absent while it runs.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`], [`Error::Io`].
    pub fn ended(&mut self, id: NodeId) -> Result<Option<ExitStatus>, Error> {
        let node = self.node_mut(id)?;
        let path = node.log.clone();
        match &mut node.child {
            Some(child) => child.try_wait().map_err(|source| Error::Io { path, action: "waited for", source }),
            None => Ok(None),
        }
    }

    /// Takes note that a node has ended by itself, so that it does not count as running and may be started again.
    ///
    /// # Errors
    /// [`Error::NoSuchNode`].
    pub fn forget(&mut self, id: NodeId) -> Result<(), Error> {
        let node = self.node_mut(id)?;
        node.child = None;
        node.hold_port();
        Ok(())
    }

    /// Sends a signal to a running node.
    ///
    /// # Errors
    /// [`Error`] where it is not running.
    pub fn signal(&self, id: NodeId, signal: Signal) -> Result<(), Error> {
        let raw = self.process_id(id).and_then(|pid| i32::try_from(pid).ok());
        let pid = raw.and_then(Pid::from_raw).ok_or(Error::NoSuchNode(id))?;
        kill_process(pid, signal).map_err(|source| Error::Io {
            path: self.options.folder.clone(),
            action: "signalled",
            source: source.into(),
        })
    }

    /// Kills a node with SIGKILL and waits until its process is gone.
    ///
    /// # Errors
    /// [`Error`] where it is not running.
    pub fn kill(&mut self, id: NodeId) -> Result<(), Error> {
        self.end(id, Signal::KILL)
    }

    /// Asks a node to stop with SIGTERM and waits until its process is gone.
    ///
    /// # Errors
    /// [`Error`] where it is not running.
    pub fn stop(&mut self, id: NodeId) -> Result<(), Error> {
        self.end(id, Signal::TERM)
    }

    fn end(&mut self, id: NodeId, signal: Signal) -> Result<(), Error> {
        self.signal(id, signal)?;
        let node = self.node_mut(id)?;
        let path = node.log.clone();
        match node.child.take() {
            Some(mut child) => {
                child.wait().map_err(|source| Error::Io { path, action: "waited for", source })?;
                node.hold_port();
                Ok(())
            }
            None => Err(Error::NoSuchNode(id)),
        }
    }
}

impl LocalNode {
    /// Keeps its port for it. Where somebody was quicker, its next start will say so.
    fn hold_port(&mut self) {
        self.port = ports::hold(self.listen.port()).ok();
    }
}

impl Drop for LocalCluster {
    fn drop(&mut self) {
        for node in &mut self.nodes {
            if let Some(mut child) = node.child.take() {
                // A process that has ended by itself cannot be killed; waiting for it is right in both cases.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}
