//! Configuration files: TOML text to raw tables to validated settings, with the place of each mistake.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cluster::{self, ClusterSettings};
use crate::process::{HoldingsSettings, NodeSettings};

/// One node's whole configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Configuration {
    /// Equal on all nodes.
    pub cluster: ClusterSettings,
    /// This node's own.
    pub node: NodeSettings,
    /// Where templates come from.
    pub holdings: HoldingsSettings,
}

/// Why a configuration is refused; every variant is the operator's to mend.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file cannot be read.
    #[error("configuration {path:?} cannot be read; check the path and its permissions")]
    Read { path: PathBuf, source: std::io::Error },
    /// Not TOML, an unknown key, a missing key or a wrong type; the parser's text shows line and column.
    #[error("configuration {path:?}: {problem}")]
    Syntax {
        path: PathBuf,
        /// Line, column and what was expected.
        problem: String,
    },
    /// A value that cannot stand.
    #[error("configuration {path:?}: {source}")]
    Value {
        path: PathBuf,
        #[source]
        source: cluster::Error,
    },
}

impl Configuration {
    /// Reads and checks the file; relative paths in it become relative to its folder.
    ///
    /// # Errors
    /// [`Error`] with the file, the place in it and the fix.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        Self::parse(&text, path)
    }

    /// As [`Configuration::load`], of text that is at hand; `path` is for messages and relative paths.
    ///
    /// # Errors
    /// As [`Configuration::load`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, Error> {
        let mut configuration: Self =
            toml::from_str(text).map_err(|e| Error::Syntax { path: path.to_owned(), problem: located(text, &e) })?;
        configuration.check().map_err(|source| Error::Value { path: path.to_owned(), source })?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let node = &mut configuration.node;
        let files = [&mut node.data_dir, &mut node.ca_certificate, &mut node.certificate, &mut node.private_key];
        for entry in files.into_iter().chain(&mut node.key_dir) {
            *entry = folder.join(&entry);
        }
        if let HoldingsSettings::File { path } = &mut configuration.holdings {
            *path = folder.join(&path);
        }
        Ok(configuration)
    }

    fn check(&self) -> Result<(), cluster::Error> {
        self.cluster.check()?;
        let refuse = |key: &str, problem: String| Err(cluster::Error::new(key, problem));
        match self.node.listen.parse::<std::net::SocketAddr>() {
            Ok(listen) if listen.port() == 0 => {
                let problem = format!("{:?} has port 0; give a port from 1 to 65535", self.node.listen);
                return refuse("node.listen", problem);
            }
            Ok(listen) if listen.ip().is_unspecified() && self.node.advertise.is_none() => {
                let problem = "give the IP:PORT that others reach this node by; node.listen names all addresses";
                return refuse("node.advertise", problem.to_owned());
            }
            Ok(_) => {}
            Err(_) => return refuse("node.listen", format!("{:?} is not IP:PORT", self.node.listen)),
        }
        cluster::reachable(self.node.address()).or_else(|problem| refuse("node.advertise", problem))?;
        if self.node.data_dir.as_os_str().is_empty() {
            return refuse("node.data_dir", "is empty; name a folder of the node's own".to_owned());
        }
        let key_dir = self.node.key_dir();
        if key_dir.starts_with(&self.node.data_dir) || self.node.data_dir.starts_with(&key_dir) {
            let problem = "must stand apart from node.data_dir: a copy of the data would have the keys";
            return Err(cluster::Error::new("node.key_dir", problem));
        }
        if self.node.id.0 == 0 {
            return Err(cluster::Error::new("node.id", "0 is reserved; count from 1"));
        }
        if self.node.worker_threads > 1_024 {
            return Err(cluster::Error::new("node.worker_threads", "must be at most 1024; 0 takes one for each core"));
        }
        Ok(())
    }
}

/// The parser's words on one line, with line and column in front (its own text draws the place over several lines).
fn located(text: &str, error: &toml::de::Error) -> String {
    let message = error.message().replace('\n', " ");
    let Some(before) = error.span().and_then(|span| text.get(..span.start)) else {
        return message;
    };
    let line = before.matches('\n').count() + 1;
    let column = before.chars().rev().take_while(|character| *character != '\n').count() + 1;
    format!("line {line}, column {column}: {message}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> String {
        include_str!("../examples/three-nodes-loopback-1.toml").to_owned()
    }

    #[test]
    fn every_example_loads() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
        let mut loaded = 0;
        for entry in std::fs::read_dir(folder).expect("examples") {
            let path = entry.expect("entry").path();
            if path.extension().is_some_and(|e| e == "toml") {
                Configuration::load(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                loaded += 1;
            }
        }
        assert!(loaded >= 4, "only {loaded} examples");
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line() {
        let text = example().replace("zone = \"a\"\nlisten", "zone = \"a\"\ncolour = 7\nlisten");
        let error = Configuration::parse(&text, Path::new("x.toml")).expect_err("refused").to_string();
        assert!(error.contains("colour") && error.contains("line"), "{error}");
    }

    #[test]
    fn a_value_out_of_range_is_named_by_its_key() {
        let text = example().replace("template_dims = 512", "template_dims = 510");
        let error = Configuration::parse(&text, Path::new("x.toml")).expect_err("refused").to_string();
        assert!(error.contains("cluster.template_dims") && error.contains("multiple of 4"), "{error}");
    }

    /// F20: each bound is refused by its key, with what is accepted.
    #[test]
    fn values_that_cannot_work_are_refused_before_a_node_starts_with_them() {
        for (before, after, key, accepted) in [
            ("template_dims = 512", "template_dims = 512\nheartbeat_ms = 1", "cluster.heartbeat_ms", "5 to 1000"),
            ("template_dims = 512", "template_dims = 512\nheartbeat_ms = 2000", "cluster.heartbeat_ms", "5 to 1000"),
            (
                "template_dims = 512",
                "template_dims = 512\nheartbeat_ms = 50",
                "cluster.election_ms_min",
                "three heartbeats",
            ),
            ("listen = \"127.0.0.1:7101\"", "listen = \"127.0.0.1:0\"", "node.listen", "from 1 to 65535"),
            ("listen = \"127.0.0.1:7101\"", "listen = \"0.0.0.0:7101\"", "node.advertise", "give the IP:PORT"),
            (
                "listen = \"127.0.0.1:7101\"",
                "listen = \"0.0.0.0:7101\"\nadvertise = \"10.0.0.1:0\"",
                "node.advertise",
                "from 1 to 65535",
            ),
            ("address = \"127.0.0.1:7102\"", "address = \"127.0.0.1:0\"", "cluster.members[1]", "from 1 to 65535"),
            ("address = \"127.0.0.1:7102\"", "address = \"[::]:7102\"", "cluster.members[1]", "give one IP:PORT"),
        ] {
            assert!(example().contains(before), "{before}");
            let text = example().replace(before, after);
            let error = Configuration::parse(&text, Path::new("x.toml")).expect_err(after).to_string();
            assert!(error.contains(key) && error.contains(accepted), "{after}: {error}");
        }
    }
}
