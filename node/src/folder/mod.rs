//! The folder of a node's data: one process at a time, each start has a number, and it belongs to one cluster.

pub mod aside;
mod bond;
mod watch;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use cluster_config::ids::{FolderId, Incarnation};
use serde::{Deserialize, Serialize};

pub use bond::Bond;
pub use watch::Watch;

use crate::clock;
use crate::gallery::keys::replace_file;

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("data folder {} cannot be used; give the node a folder of its own that it can write to", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("data folder {} is in use by another process; give each node a folder of its own", path.display())]
    InUse { path: PathBuf },
    #[error("{}: {problem}; {}", path.display(), FOREIGN)]
    Damaged { path: PathBuf, problem: String },
    /// The configuration is another one than that with which the cluster was founded.
    #[error(
        "data folder {} belongs to cluster {cluster}, whose settings are others: {difference}; correct the \
         configuration (\"there\" is what the folder says), or give the node the folder that it has in its own cluster",
        path.display()
    )]
    OtherSettings { path: PathBuf, cluster: cluster_config::ids::ClusterId, difference: String },
}

/// Nobody but the owner looks into the folder.
const OWNER_ALONE: u32 = 0o700;

/// What an operator does about a folder that is not what it was.
const FOREIGN: &str = "move the folder away, and add this machine under a new id";

/// Keeps two processes out of one folder, as long as the file is open: both would write to the same log.
///
/// # Errors
/// Where the folder cannot be used, or another process works in it.
pub fn lock(path: &Path) -> Result<fs::File, Error> {
    let failed = |source| Error::Io { path: path.to_owned(), source };
    fs::create_dir_all(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(OWNER_ALONE)).map_err(failed)?;
    let file = fs::File::create(path.join("lock")).map_err(failed)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(Error::InUse { path: path.to_owned() }),
    }
}

/// One start of a process in its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    pub folder: FolderId,
    /// The start before this one; the default where there was none.
    pub before: Incarnation,
    pub incarnation: Incarnation,
}

/// The file that keeps a folder's id and its latest start.
const STARTS: &str = "starts.json";

/// The form of the file.
const STARTS_FORM: u32 = 1;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Starts {
    form: u32,
    folder: FolderId,
    last: Incarnation,
}

/// Numbers this start of the process, and keeps the number: the next start has a later one, whatever its clock says.
/// The first start gives the folder its id.
///
/// # Errors
/// Where the number cannot be read or written.
pub fn begin(data_dir: &Path) -> Result<Start, Error> {
    let path = data_dir.join(STARTS);
    let failed = |source| Error::Io { path: path.clone(), source };
    let damaged = |problem| Error::Damaged { path: path.clone(), problem };
    let before = match fs::read(&path) {
        Ok(bytes) => {
            let starts: Starts = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
            if starts.form != STARTS_FORM {
                return Err(damaged(format!("its form {} is not known to this release", starts.form)));
            }
            starts
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let id = clock::random_u128().map_err(|_| failed(std::io::Error::other("no randomness")))?;
            Starts { form: STARTS_FORM, folder: FolderId(id), last: Incarnation::default() }
        }
        Err(error) => return Err(failed(error)),
    };
    let (folder, before) = (before.folder, before.last);
    let incarnation = node_core::incarnation::next(before, clock::now());
    let starts = Starts { form: STARTS_FORM, folder, last: incarnation };
    let bytes = serde_json::to_vec(&starts).map_err(|error| failed(error.into()))?;
    replace_file(&path, &bytes).map_err(failed)?;
    Ok(Start { folder, before, incarnation })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_start_knows_the_one_before_and_a_copy_has_the_id_of_its_original() {
        let [one, copy, other] = [(); 3].map(|()| tempfile::tempdir().expect("a folder"));
        let first = begin(one.path()).expect("begun");
        assert_eq!(first.before, Incarnation::default());
        fs::copy(one.path().join(STARTS), copy.path().join(STARTS)).expect("copied");
        let second = begin(one.path()).expect("begun");
        assert_eq!((second.folder, second.before), (first.folder, first.incarnation));
        let twin = begin(copy.path()).expect("begun");
        assert_eq!((twin.folder, twin.before), (first.folder, first.incarnation));
        assert_ne!(begin(other.path()).expect("begun").folder, first.folder);
        fs::write(one.path().join(STARTS), "17").expect("written");
        assert!(matches!(begin(one.path()), Err(Error::Damaged { .. })));
    }
}
