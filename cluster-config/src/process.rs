//! Settings of one process; they may differ from node to node.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::ids::{NodeId, Zone};

/// The `[node]` table of a configuration file. Relative paths are relative to the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeSettings {
    pub id: NodeId,
    /// Its failure domain.
    pub zone: Zone,
    /// UDP address of the QUIC endpoint, `IP:PORT`.
    pub listen: String,
    /// The address under which gates and other nodes reach it, `IP:PORT`, where that is not `listen`: behind a NAT, or
    /// where `listen` names all addresses of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub advertise: Option<String>,
    /// Folder of everything that the node keeps.
    pub data_dir: PathBuf,
    /// Folder of the keys without which nothing that lies in `data_dir` opens: on another volume, so that no copy or
    /// backup of the data has them. Where it is not named it stands beside `data_dir`, with `.keys` after the name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_dir: Option<PathBuf>,
    /// Certificate of the authority that all parties trust, PEM.
    pub ca_certificate: PathBuf,
    /// This node's certificate, PEM.
    pub certificate: PathBuf,
    /// Its private key, PEM.
    pub private_key: PathBuf,
    /// What computes scores.
    #[serde(default)]
    pub engine: EngineChoice,
    /// Worker threads of the network side; 0 takes one for each core.
    #[serde(default)]
    pub worker_threads: usize,
}

impl NodeSettings {
    /// See [`NodeSettings::key_dir`].
    pub fn key_dir(&self) -> PathBuf {
        let beside = || {
            let mut path = self.data_dir.clone().into_os_string();
            path.push(".keys");
            path.into()
        };
        self.key_dir.clone().unwrap_or_else(beside)
    }

    /// The address under which others reach the node.
    pub fn address(&self) -> &str {
        self.advertise.as_deref().unwrap_or(&self.listen)
    }
}

/// What computes scores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EngineChoice {
    /// A GPU where there is a real one, else the CPU.
    #[default]
    Auto,
    /// A GPU, a software one too; an error where there is none.
    Gpu,
    Cpu,
}

impl std::str::FromStr for EngineChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "gpu" => Ok(Self::Gpu),
            "cpu" => Ok(Self::Cpu),
            other => Err(format!("unknown engine {other:?}; use auto, gpu or cpu")),
        }
    }
}

/// The `[holdings]` table: where photographs and templates of known people come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum HoldingsSettings {
    /// A made-up population, the same on every machine for the same seed.
    Synthetic {
        /// Seed of the population.
        seed: u64,
    },
    /// A file of templates, one JSON object a line.
    File { path: PathBuf },
}
