//! A node that comes back under a new id: its data is set aside, not destroyed, and its configuration names the new id.

use std::fs;
use std::path::{Path, PathBuf};

use cluster_config::file::Configuration;
use cluster_config::ids::NodeId;

use super::{Error as FolderError, lock};
use crate::gallery::keys::replace_file;

/// Why a node does not come back under a new id; nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("node.id is {0} already; give the node an id that no node of the cluster has had")]
    SameId(NodeId),
    #[error(
        "{}: there is no certificate of node {id}; run `tvs certs issue --role node --name node-{id}` first",
        path.display()
    )]
    NoCertificate { id: NodeId, path: PathBuf },
    #[error("{}: {key} of [node] has no line of its own; change id and certificates by hand", path.display())]
    Unclear { path: PathBuf, key: &'static str },
    #[error("{}: it cannot be {action}; check its permissions", path.display())]
    Io { path: PathBuf, action: &'static str, source: std::io::Error },
    #[error(transparent)]
    Configuration(#[from] cluster_config::file::Error),
}

/// What was done.
#[derive(Debug, PartialEq, Eq, serde::Serialize)]
pub struct Rejoined {
    pub before: NodeId,
    pub now: NodeId,
    /// Where the data of the old id lies; absent where there was none.
    pub aside: Option<PathBuf>,
}

/// Sets the data of the node aside that `path` configures, and gives it a new id and the certificates of that id.
///
/// # Errors
/// [`Error`]; then nothing was changed, except where the last step, writing the configuration, failed.
pub fn rejoin(path: &Path, id: NodeId) -> Result<Rejoined, Error> {
    let failed = |path: &Path, action| {
        let path = path.to_owned();
        move |source| Error::Io { path, action, source }
    };
    let path = &std::path::absolute(path).map_err(failed(path, "found"))?;
    let configuration = Configuration::load(path)?;
    let node = &configuration.node;
    if node.id == id {
        return Err(Error::SameId(id));
    }
    let text = fs::read_to_string(path).map_err(failed(path, "read"))?;
    let unclear = |key| Error::Unclear { path: path.to_owned(), key };
    let mut changed = set(&text, "id", &id.to_string()).ok_or(unclear("id"))?;
    for (key, file) in [("certificate", &node.certificate), ("private_key", &node.private_key)] {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let renamed = name.replace(&format!("node-{}.", node.id), &format!("node-{id}."));
        let renamed = if renamed == name { format!("node-{id}.{}", extension(file)) } else { renamed };
        let new = file.with_file_name(&renamed);
        if !new.is_file() {
            return Err(Error::NoCertificate { id, path: new });
        }
        let old = value(&changed, key).ok_or(unclear(key))?;
        let new = Path::new(&old).with_file_name(&renamed).display().to_string();
        changed = set(&changed, key, &format!("{new:?}")).ok_or(unclear(key))?;
    }
    Configuration::parse(&changed, path)?;
    let aside = if node.data_dir.is_dir() { Some(set_aside(&node.data_dir, node.id)?) } else { None };
    replace_file(path, changed.as_bytes()).map_err(failed(path, "written"))?;
    Ok(Rejoined { before: node.id, now: id, aside })
}

/// Moves a data folder that no process works in out of the way, beside where it was.
fn set_aside(data_dir: &Path, node: NodeId) -> Result<PathBuf, Error> {
    let _lock = lock(data_dir)?;
    let name = data_dir.file_name().unwrap_or_default().to_string_lossy();
    let free = (1..).map(|number| data_dir.with_file_name(format!("{name}.of-node-{node}-{number}")));
    let aside = free.into_iter().find(|path| !path.exists()).unwrap_or_else(|| data_dir.with_extension("aside"));
    fs::rename(data_dir, &aside).map_err(|source| Error::Io {
        path: data_dir.to_owned(),
        action: "set aside",
        source,
    })?;
    Ok(aside)
}

fn extension(file: &Path) -> String {
    file.extension().unwrap_or_default().to_string_lossy().into_owned()
}

/// The lines of the `[node]` table, by number.
fn node_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().enumerate();
    let inside = lines.skip_while(|(_, line)| line.trim() != "[node]").skip(1);
    inside.take_while(|(_, line)| !line.trim_start().starts_with('['))
}

fn line_of(text: &str, key: &str) -> Option<usize> {
    let found = node_lines(text)
        .find(|(_, line)| line.trim_start().strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with('=')));
    found.map(|(number, _)| number)
}

/// The text of a quoted value.
fn value(text: &str, key: &str) -> Option<String> {
    let line = text.lines().nth(line_of(text, key)?)?;
    let quoted = line.split_once('=')?.1.trim();
    let (_, rest) = quoted.split_once('"')?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

/// The text with another value of a key; the rest of it stays as somebody wrote it.
fn set(text: &str, key: &str, value: &str) -> Option<String> {
    let wanted = line_of(text, key)?;
    let mut changed = String::with_capacity(text.len());
    for (number, line) in text.lines().enumerate() {
        if number == wanted {
            changed.push_str(&format!("{key} = {value}"));
        } else {
            changed.push_str(line);
        }
        changed.push('\n');
    }
    Some(changed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../../cluster-config/examples/three-nodes-loopback-1.toml");

    fn prepared() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("node.toml");
        fs::write(&path, EXAMPLE).expect("written");
        (folder, path)
    }

    #[test]
    fn a_node_comes_back_under_a_new_id_with_its_data_set_aside() {
        let (_folder, path) = prepared();
        let before = Configuration::load(&path).expect("an example").node;
        fs::create_dir_all(before.data_dir.join("raft")).expect("a folder");
        let missing = rejoin(&path, NodeId(4)).expect_err("no certificate");
        assert!(missing.to_string().contains("tvs certs issue --role node --name node-4"), "{missing}");
        assert_eq!(fs::read_to_string(&path).expect("read"), EXAMPLE);
        fs::create_dir_all(before.certificate.parent().expect("a folder")).expect("a folder");
        for file in [&before.certificate, &before.private_key] {
            fs::write(file.with_file_name(format!("node-4.{}", extension(file))), "x").expect("written");
        }
        assert!(matches!(rejoin(&path, before.id), Err(Error::SameId(_))));
        let held = lock(&before.data_dir).expect("locked");
        assert!(matches!(rejoin(&path, NodeId(4)), Err(Error::Folder(FolderError::InUse { .. }))));
        drop(held);
        let done = rejoin(&path, NodeId(4)).expect("set aside");
        let aside = done.aside.expect("there was data");
        assert!(aside.join("raft").is_dir() && !before.data_dir.exists());
        let after = Configuration::load(&path).expect("it reads").node;
        assert_eq!((after.id, after.data_dir), (NodeId(4), before.data_dir));
        assert_eq!(after.certificate, before.certificate.with_file_name("node-4.pem"));
        let text = fs::read_to_string(&path).expect("read");
        let others =
            |text: &str| text.lines().filter(|line| !line.contains("node-") && !line.starts_with("id")).count();
        assert_eq!(others(&text), others(EXAMPLE), "the rest stays");
    }
}
