//! That the data folder stays the one that the process began in: a process whose folder was removed or replaced would
//! go on voting and acknowledging, and nothing of it would be there after its end.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often the files are compared.
const INTERVAL: Duration = Duration::from_secs(1);

/// What is compared, in the data folder: it stays the same file for as long as the process lives.
const FILES: [&str; 5] = ["", "lock", "raft/log", "raft/log/journal", "raft/log/high-water"];

/// The files as the process began with them, by device and inode.
pub struct Watch(Vec<(PathBuf, (u64, u64))>);

impl Watch {
    /// Takes note of the files.
    ///
    /// # Errors
    /// Where one cannot be looked at.
    pub fn begin(data_dir: &Path) -> io::Result<Self> {
        let noted = FILES.iter().map(|name| {
            let path = if name.is_empty() { data_dir.to_owned() } else { data_dir.join(name) };
            let identity = identity(&path)?;
            Ok((path, identity))
        });
        noted.collect::<io::Result<Vec<_>>>().map(Self)
    }

    /// Says what is not as it was.
    fn changed(&self) -> Option<String> {
        self.0.iter().find_map(|(path, before)| {
            let what = match identity(path) {
                Ok(now) if now == *before => return None,
                Ok(_) => "was replaced".to_owned(),
                Err(error) if error.kind() == io::ErrorKind::NotFound => "was removed".to_owned(),
                Err(error) => format!("cannot be looked at ({error})"),
            };
            Some(format!(
                "{} {what} under the running node, and what it acknowledges from now on would be lost; put the folder \
                 back as it was and start the node, or run `tvs node rejoin`",
                path.display()
            ))
        })
    }

    /// Waits until something is not as it was, and says what.
    pub async fn changes(self) -> String {
        let mut watch = self;
        loop {
            tokio::time::sleep(INTERVAL).await;
            // A disk may take its time to answer.
            let looked = tokio::task::spawn_blocking(move || (watch.changed(), watch)).await;
            match looked {
                Ok((Some(reason), _)) => return reason,
                Ok((None, same)) => watch = same,
                Err(error) => return format!("the data folder is not watched any more: {error}"),
            }
        }
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::metadata(path).map(|metadata| (metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_removed_or_replaced_is_seen_and_one_that_is_written_is_not() {
        let folder = tempfile::tempdir().expect("a folder");
        fs::create_dir_all(folder.path().join("raft/log")).expect("a folder");
        for name in &FILES {
            let path = folder.path().join(name);
            if !path.is_dir() {
                fs::write(path, "before").expect("written");
            }
        }
        let watch = Watch::begin(folder.path()).expect("begun");
        let lock = folder.path().join("lock");
        fs::write(&lock, "after").expect("written");
        assert_eq!(watch.changed(), None);
        let other = folder.path().join("other");
        fs::write(&other, "after").expect("written");
        fs::rename(&other, &lock).expect("renamed");
        assert!(watch.changed().expect("a change").contains("lock was replaced"));
        fs::remove_dir_all(folder.path()).expect("removed");
        assert!(watch.changed().expect("a change").contains("was removed"));
    }
}
