//! Files that are either whole or not there at all: temporary file, fsync, rename, fsync of the folder.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;

use cluster_config::canary::{Canary, planted};

use crate::error::Error;

/// Suffix of a file that is not yet whole. A crash leaves such files.
pub const TEMPORARY_SUFFIX: &str = "tmp";

/// Creates a folder and makes its entry in the parent durable.
///
/// # Errors
/// [`Error::Disk`].
pub fn create_folder(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(Error::disk(path, "create the folder"))?;
    if let Some(parent) = path.parent().filter(|p| !p.as_os_str().is_empty()) {
        sync_folder(parent)?;
    }
    Ok(())
}

/// Makes the names in a folder durable.
///
/// # Errors
/// [`Error::Disk`].
pub fn sync_folder(path: &Path) -> Result<(), Error> {
    File::open(path).and_then(|folder| folder.sync_all()).map_err(Error::disk(path, "sync the folder"))
}

/// Writes `parts`, one after the other, as the file `name` of `folder`. When this returns, the file survives a loss
/// of power.
///
/// # Errors
/// [`Error::Disk`]; then there is no such file, or the one from before.
pub fn write_file(folder: &Path, name: &str, parts: &[&[u8]]) -> Result<(), Error> {
    write_checked(folder, name, parts, |_| Ok(()))
}

/// As [`write_file`]; the file gets its name only where `check` finds it good, and is removed else.
///
/// # Errors
/// [`Error::Disk`], those of `check`.
pub fn write_checked(
    folder: &Path,
    name: &str,
    parts: &[&[u8]],
    check: impl FnOnce(&Path) -> Result<(), Error>,
) -> Result<(), Error> {
    let target = folder.join(name);
    let temporary = folder.join(format!("{name}.{TEMPORARY_SUFFIX}"));
    let mut file = File::create(&temporary).map_err(Error::disk(&temporary, "create the file"))?;
    for part in parts {
        file.write_all(part).map_err(Error::disk(&temporary, "write"))?;
    }
    if !planted(Canary::RenameBeforeSync) {
        file.sync_all().map_err(Error::disk(&temporary, "sync"))?;
    }
    if let Err(error) = check(&temporary) {
        fs::remove_file(&temporary).map_err(Error::disk(&temporary, "remove"))?;
        return Err(error);
    }
    fs::rename(&temporary, &target).map_err(Error::disk(&target, "rename into place"))?;
    sync_folder(folder)
}

/// Removes the half-written files that a crash has left.
///
/// # Errors
/// [`Error::Disk`].
pub fn remove_temporaries(folder: &Path) -> Result<(), Error> {
    for entry in fs::read_dir(folder).map_err(Error::disk(folder, "list the folder"))? {
        let path = entry.map_err(Error::disk(folder, "list the folder"))?.path();
        if path.extension().is_some_and(|e| e == TEMPORARY_SUFFIX) {
            fs::remove_file(&path).map_err(Error::disk(&path, "remove"))?;
        }
    }
    Ok(())
}

/// CRC-32 of the parts, one after the other.
pub fn checksum(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    parts.iter().for_each(|part| hasher.update(part));
    hasher.finalize()
}

/// Bytes that an unprivileged writer may still use on the file system of `path`.
///
/// # Errors
/// [`Error::Disk`].
pub fn free_bytes(path: &Path) -> Result<u64, Error> {
    let stat = rustix::fs::statvfs(path).map_err(|errno| Error::disk(path, "ask for the free space")(errno.into()))?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}
