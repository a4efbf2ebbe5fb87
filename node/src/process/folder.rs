//! The folder of a node's data: one process at a time, and each start has a number.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use cluster_config::ids::Incarnation;

use super::error::Error;
use crate::clock;
use crate::gallery::keys::replace_file;

/// Nobody but the owner looks into the folder.
const OWNER_ALONE: u32 = 0o700;

/// Keeps two processes out of one folder, as long as the file is open: both would write to the same log.
///
/// # Errors
/// Where the folder cannot be used, or another process works in it.
pub fn lock(path: &Path) -> Result<fs::File, Error> {
    let name = path.display().to_string();
    let failed = |source| Error::DataFolder { path: name.clone(), source };
    fs::create_dir_all(path).map_err(failed)?;
    fs::set_permissions(path, fs::Permissions::from_mode(OWNER_ALONE)).map_err(failed)?;
    let file = fs::File::create(path.join("lock")).map_err(failed)?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(Error::DataFolderInUse { path: name }),
    }
}

/// Numbers this start of the process, and keeps the number: the next start has a later one, whatever its clock says.
///
/// # Errors
/// Where the number cannot be read or written.
pub fn begin_incarnation(data_dir: &Path) -> Result<Incarnation, Error> {
    let path = data_dir.join("incarnation");
    let failed = |source| Error::DataFolder { path: path.display().to_string(), source };
    let before = match fs::read_to_string(&path) {
        Ok(text) => text.trim().parse().map_err(|error| failed(std::io::Error::other(error)))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Incarnation::default(),
        Err(error) => return Err(failed(error)),
    };
    let incarnation = node_core::incarnation::next(before, clock::now());
    replace_file(&path, incarnation.to_string().as_bytes()).map_err(failed)?;
    Ok(incarnation)
}
