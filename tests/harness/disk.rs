//! Decay of a node's disk while it does not run.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use std::process::Command;

use crate::binary::visit;

/// A small disk of its own for one folder, in memory; it is gone with this value.
#[derive(Debug)]
pub struct SmallDisk {
    folder: PathBuf,
}

impl SmallDisk {
    /// Mounts one of so many MiB at `folder`.
    ///
    /// # Errors
    /// Why this machine does not let us, mostly because only root may.
    pub fn mount(folder: &Path, mebibytes: u64) -> Result<Self, String> {
        std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mebibytes}m"), "tvs-small-disk"])
            .arg(folder)
            .output()
            .map_err(|error| format!("mount: {error}"))?;
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
        }
        Ok(Self { folder: folder.to_owned() })
    }

    /// Fills it up with one file of so many MiB.
    ///
    /// # Panics
    /// Where they do not fit.
    pub fn fill(&self, mebibytes: usize) {
        std::fs::write(self.folder.join("filler"), vec![7; mebibytes << 20]).expect("room for the filler");
    }

    /// Fills all of it up with one file.
    ///
    /// # Panics
    /// Where there is no room for its first byte.
    pub fn fill_up(&self) {
        let mut file = std::fs::File::create(self.folder.join("filler")).expect("room for a file");
        let mut bytes = 1 << 20;
        // Smaller and smaller pieces, until not even a byte fits.
        while bytes > 0 {
            if file.write_all(&vec![7; bytes]).is_err() {
                bytes /= 2;
            }
        }
    }

    /// Removes that file.
    ///
    /// # Panics
    /// Where there is none.
    pub fn clear(&self) {
        std::fs::remove_file(self.folder.join("filler")).expect("a filler");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Processes that still work in it keep it until they end.
        let _ = Command::new("umount").arg("--lazy").arg(&self.folder).status();
    }
}

/// Turns over one bit of one file below `folder`; `choice` decides which, among all bytes of all files. Says what was
/// done.
///
/// # Panics
/// Where there is no file with anything in it, or it cannot be changed.
pub fn flip(folder: &Path, choice: u64) -> String {
    let mut files: Vec<(PathBuf, u64)> = Vec::new();
    visit(folder, &mut |path| {
        let length = path.metadata().map_or(0, |metadata| metadata.len());
        if length > 0 {
            files.push((path.to_owned(), length));
        }
    });
    files.sort();
    // Every file is as likely as any other: most bytes are in one file that is mostly empty.
    let (path, length) = files.get(choice as usize % files.len().max(1)).expect("a file with anything in it");
    let place = choice.rotate_right(17) % (length * 8);
    let file = File::options().read(true).write(true).open(path).expect("a file of the node");
    let mut byte = [0];
    file.read_exact_at(&mut byte, place / 8).expect("a byte of the file");
    byte[0] ^= 1 << (place % 8);
    file.write_all_at(&byte, place / 8).expect("the byte is written back");
    format!("bit {} of byte {} of {}", place % 8, place / 8, path.display())
}
