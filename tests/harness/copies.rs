//! Data folders that are copied, put back and taken away, and nodes that end because of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cluster_config::file::Configuration;
use cluster_config::ids::NodeId;

use crate::fault::Fault;
use crate::invariants::p10_clear_refusals;
use crate::level::wait_for;
use crate::live::{Live, ends, free_address};
use crate::target::{LEVEL_DEADLINE, Target};

/// Copies a folder with all that is in it. There must be nothing at `to`.
///
/// # Panics
/// Where it cannot be copied.
pub fn copy_folder(from: &Path, to: &Path) {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp is installed");
    assert!(copied.success(), "{from:?} cannot be copied to {to:?}");
}

impl Live {
    /// A node's data folder.
    ///
    /// # Panics
    /// Where there is no such node.
    pub fn data_dir(&self, node: NodeId) -> PathBuf {
        self.cluster.node(node).expect("a node").data_dir.clone()
    }

    /// A node's configuration.
    ///
    /// # Panics
    /// Where it cannot be read.
    pub fn configuration(&self, node: NodeId) -> Configuration {
        Configuration::load(&self.cluster.node(node).expect("a node").config).expect("a configuration")
    }

    /// Copies a running node's data folder, as it is at one moment.
    ///
    /// # Panics
    /// As [`copy_folder`].
    pub async fn copy_running(&mut self, node: NodeId, to: &Path) {
        // Nothing moves while the folder is copied.
        self.strike(Fault::Pause(node)).await;
        copy_folder(&self.data_dir(node), to);
        self.strike(Fault::Resume(node)).await;
    }

    /// Starts a copy of a running node beside it: one that says that it is `elsewhere`, or one that takes the place of
    /// the original. It has to end by itself. Everything of it lies in `folder`, which is new.
    ///
    /// # Panics
    /// Where it does not end.
    pub async fn twin(&mut self, node: NodeId, folder: &Path, elsewhere: bool) -> Output {
        std::fs::create_dir(folder).expect("a folder");
        let (mut twin, data, keys) = (self.configuration(node), folder.join("data"), folder.join("keys"));
        self.copy_running(node, &data).await;
        copy_folder(&twin.node.key_dir(), &keys);
        let address = twin.node.advertise.take().unwrap_or(twin.node.listen);
        (twin.node.data_dir, twin.node.key_dir) = (data, Some(keys));
        twin.node.listen = free_address();
        twin.node.advertise = Some(if elsewhere { "127.0.0.1:9".to_owned() } else { address });
        let config = folder.join("node.toml");
        std::fs::write(&config, toml::to_string(&twin).expect("encoded")).expect("written");
        let output = ends(&config).await;
        self.journal.write(String::from_utf8_lossy(&output.stderr).trim_end());
        output
    }

    /// Waits until a node has ended by itself with this exit code, and checks that the last line of its log says so
    /// clearly and with these words.
    ///
    /// # Panics
    /// Where it runs on, or ends otherwise.
    pub async fn ends_by_itself(&mut self, node: NodeId, code: i32, words: &str) {
        let ended = wait_for("the node ends by itself", LEVEL_DEADLINE, async || {
            self.cluster.ended(node).expect("a node").ok_or("it runs".to_owned())
        })
        .await;
        let log = std::fs::read_to_string(&self.cluster.node(node).expect("a node").log).expect("a log");
        assert_eq!(ended.code(), Some(code), "{log}");
        p10_clear_refusals::check_text(words, log.trim_end().lines().next_back().unwrap_or_default(), words);
        self.cluster.forget(node).expect("a node");
    }
}
