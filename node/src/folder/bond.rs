//! The cluster that a data folder belongs to: from the founding on, or from the first call of the cluster that has
//! added the node.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use cluster_config::cluster::{Agreed, Founding};
use cluster_config::ids::ClusterId;
use serde::{Deserialize, Serialize};

use super::Error;
use crate::gallery::keys::replace_file;

/// The file's name in the data folder.
const FILE_NAME: &str = "cluster.json";

/// The form of the file.
const FORM: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    form: u32,
    founding: Founding,
}

/// What this node's folder belongs to, and whether the raft group's calls go out and are answered.
///
/// A node with an empty store is kept out of the group until it is known that it was never a member: one whose disk
/// was wiped could vote a second time in one term.
pub struct Bond {
    path: PathBuf,
    agreed: Agreed,
    founding: Arc<OnceLock<Founding>>,
    /// The cluster that may take the node in, where its folder belongs to none.
    expected: Mutex<Option<ClusterId>>,
    is_open: AtomicBool,
}

impl Bond {
    /// Reads what the folder belongs to, where `agreed` are the settings of the configuration.
    ///
    /// # Errors
    /// [`Error::OtherSettings`] where the folder says others, [`Error::Damaged`], [`Error::Io`].
    pub fn open(data_dir: &Path, agreed: Agreed) -> Result<Self, Error> {
        let path = data_dir.join(FILE_NAME);
        let founding = OnceLock::new();
        match fs::read(&path) {
            Ok(bytes) => {
                let damaged = |problem| Error::Damaged { path: path.clone(), problem };
                let stored: Stored = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
                if stored.form != FORM {
                    return Err(damaged(format!("its form {} is not known to this release", stored.form)));
                }
                if let Some(difference) = agreed.difference(&stored.founding.agreed) {
                    let cluster = stored.founding.cluster;
                    return Err(Error::OtherSettings { path: data_dir.to_owned(), cluster, difference });
                }
                // Nobody else has it yet.
                let _ = founding.set(stored.founding);
            }
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(source) => return Err(Error::Io { path, source }),
        }
        let (founding, expected, is_open) = (Arc::new(founding), Mutex::default(), AtomicBool::new(false));
        Ok(Self { path, agreed, founding, expected, is_open })
    }

    /// A folder whose store belongs to a group belongs to a cluster, too.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the file that says to which is gone.
    pub fn check_store(&self, initialised: bool) -> Result<(), Error> {
        if initialised && self.cluster().is_none() {
            let problem = "it is missing, though the folder belongs to a cluster".to_owned();
            return Err(Error::Damaged { path: self.path.clone(), problem });
        }
        Ok(())
    }

    /// The replicated state is that of the folder's cluster.
    ///
    /// # Errors
    /// [`Error::Damaged`] where the log comes out of another cluster's folder.
    pub fn check_state(&self, founding: Option<&Founding>) -> Result<(), Error> {
        let Some(found) = founding.filter(|founding| Some(*founding) != self.founding()) else { return Ok(()) };
        let problem = format!("it names another cluster than the log beside it, which is of {}", found.cluster);
        Err(Error::Damaged { path: self.path.clone(), problem })
    }

    pub fn founding(&self) -> Option<&Founding> {
        self.founding.get()
    }

    /// The same, for who has to know it later.
    pub fn shared(&self) -> Arc<OnceLock<Founding>> {
        self.founding.clone()
    }

    pub fn cluster(&self) -> Option<ClusterId> {
        self.founding().map(|founding| founding.cluster)
    }

    /// Binds the folder to a cluster, durably.
    ///
    /// # Errors
    /// [`Error::Io`]. A folder that is bound stays as it is.
    pub fn bind(&self, cluster: ClusterId) -> Result<(), Error> {
        let _one_at_a_time = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
        if self.cluster().is_some() {
            return Ok(());
        }
        let founding = Founding { cluster, agreed: self.agreed.clone() };
        let stored = Stored { form: FORM, founding: founding.clone() };
        let failed = |source| Error::Io { path: self.path.clone(), source };
        let bytes = serde_json::to_vec_pretty(&stored).map_err(|error| failed(error.into()))?;
        replace_file(&self.path, &bytes).map_err(failed)?;
        // Nobody else binds it meanwhile.
        let _ = self.founding.set(founding);
        tracing::info!(%cluster, "this node's folder belongs to a cluster from now on");
        Ok(())
    }

    /// From now on the calls of this cluster's group go out and are answered.
    pub fn open_to(&self, cluster: ClusterId) {
        *self.expected.lock().unwrap_or_else(PoisonError::into_inner) = Some(cluster);
        self.is_open.store(true, Ordering::Release);
    }

    /// From now on the calls of the group that this folder belongs to go out and are answered.
    pub fn open_to_its_own(&self) {
        self.is_open.store(true, Ordering::Release);
    }

    pub fn is_open(&self) -> bool {
        self.is_open.load(Ordering::Acquire)
    }

    /// Whether a call of this cluster's group is for this node; its first one binds the folder.
    ///
    /// # Errors
    /// [`Error::Io`] where the folder cannot be bound.
    pub fn takes(&self, cluster: ClusterId) -> Result<bool, Error> {
        if let Some(ours) = self.cluster() {
            return Ok(ours == cluster);
        }
        let is_expected = *self.expected.lock().unwrap_or_else(PoisonError::into_inner) == Some(cluster);
        if is_expected {
            self.bind(cluster)?;
        }
        Ok(is_expected && self.cluster() == Some(cluster))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agreed(dims: usize) -> Agreed {
        Agreed { name: "north".to_owned(), model: "m".parse().expect("a model"), template_dims: dims }
    }

    #[test]
    fn a_log_of_another_cluster_is_no_log_of_this_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let bond = Bond::open(folder.path(), agreed(512)).expect("an empty folder");
        bond.bind(ClusterId(7)).expect("bound");
        let of = |cluster| Founding { cluster: ClusterId(cluster), agreed: agreed(512) };
        assert!(bond.check_state(None).is_ok() && bond.check_state(Some(&of(7))).is_ok());
        assert!(matches!(bond.check_state(Some(&of(8))), Err(Error::Damaged { .. })));
    }

    #[test]
    fn a_folder_belongs_to_the_first_cluster_that_takes_it_and_keeps_its_settings() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = |dims| Bond::open(folder.path(), agreed(dims));
        let bond = open(512).expect("an empty folder");
        bond.check_store(false).expect("nothing is missing");
        assert!(!bond.takes(ClusterId(7)).expect("read"), "nobody has said that this cluster may");
        bond.open_to(ClusterId(7));
        assert!(!bond.takes(ClusterId(8)).expect("read"));
        assert!(bond.takes(ClusterId(7)).expect("bound"));
        bond.bind(ClusterId(8)).expect("nothing to do");
        assert_eq!(open(512).expect("it reads").cluster(), Some(ClusterId(7)));
        let refused = open(1_024).err().expect("other settings").to_string();
        assert!(refused.contains("cluster.template_dims is 1024 here and 512 there"), "{refused}");

        fs::write(folder.path().join(FILE_NAME), "{}").expect("written");
        assert!(matches!(open(512), Err(Error::Damaged { .. })));
        fs::remove_file(folder.path().join(FILE_NAME)).expect("removed");
        let lost = open(512).expect("it reads").check_store(true);
        assert!(matches!(lost, Err(Error::Damaged { .. })), "a store without its cluster");
    }
}
