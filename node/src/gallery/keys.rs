//! The keys under which everything personal lies on this node's disk.
//!
//! Each shard replica has a random data key of its own, in a file of its own, wrapped by the node's master key.
//! Destroying that file makes whatever was sealed under it unreadable, in backups too (cryptographic erase,
//! NIST SP 800-88 Rev. 1, section 2.6). Sealing is AES-256-GCM with a random 96-bit nonce (NIST SP 800-38D).

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use cluster_config::gallery::ShardId;

const KEY_BYTES: usize = 32;

/// Why a key or a sealed file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system refused.
    #[error("key file {path:?} cannot be {action}")]
    Io { path: PathBuf, action: &'static str, source: std::io::Error },
    /// The bytes were not sealed under this key, or were changed since.
    #[error("{what} does not open: it was changed on disk or belongs to another key")]
    DoesNotOpen {
        /// What was to be opened.
        what: String,
    },
    /// The system gives no randomness, or the cipher failed.
    #[error("the cryptographic library failed to {0}")]
    Crypto(&'static str),
}

impl Error {
    /// What the operator can do.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Io { .. } => "check the disk and its permissions",
            Self::DoesNotOpen { .. } => "remove it and let it be fetched",
            Self::Crypto(_) => "look at what the operating system says of its randomness",
        }
    }
}

/// One symmetric key.
pub struct DataKey(LessSafeKey);

impl DataKey {
    fn new(bytes: &[u8; KEY_BYTES]) -> Result<Self, Error> {
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| Error::Crypto("make a key"))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Seals `bytes`; `context` must be the same at [`DataKey::open`]. The nonce comes first, the tag last.
    ///
    /// # Errors
    /// [`Error::Crypto`].
    pub fn seal(&self, context: &str, mut bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
        let mut nonce = [0; NONCE_LEN];
        aws_lc_rs::rand::fill(&mut nonce).map_err(|_| Error::Crypto("draw a nonce"))?;
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context), &mut bytes)
            .map_err(|_| Error::Crypto("seal"))?;
        let mut sealed = Vec::with_capacity(NONCE_LEN + bytes.len() + tag.as_ref().len());
        sealed.extend_from_slice(&nonce);
        sealed.append(&mut bytes);
        sealed.extend_from_slice(tag.as_ref());
        Ok(sealed)
    }

    /// Opens what [`DataKey::seal`] made.
    ///
    /// # Errors
    /// [`Error::DoesNotOpen`], naming `context`.
    pub fn open(&self, context: &str, mut sealed: Vec<u8>) -> Result<Vec<u8>, Error> {
        let refuse = || Error::DoesNotOpen { what: context.to_owned() };
        let nonce: [u8; NONCE_LEN] = sealed.get(..NONCE_LEN).and_then(|n| n.try_into().ok()).ok_or_else(refuse)?;
        let nonce = Nonce::assume_unique_for_key(nonce);
        let length =
            self.0.open_within(nonce, Aad::from(context), &mut sealed, NONCE_LEN..).map_err(|_| refuse())?.len();
        sealed.truncate(length);
        Ok(sealed)
    }
}

/// The keys of a node.
pub struct Keys {
    folder: PathBuf,
    master: DataKey,
    /// Held while a key is looked for and made, so that two who need the same one at once get the same one.
    making: Mutex<()>,
}

impl Keys {
    /// Opens the key folder below `data_dir`, and makes the master key where there is none.
    ///
    /// # Errors
    /// [`Error`] with the file.
    pub fn open(data_dir: &Path) -> Result<Self, Error> {
        let folder = data_dir.join("keys");
        fs::create_dir_all(&folder).map_err(|source| Error::Io { path: folder.clone(), action: "created", source })?;
        let swept = remove_unfinished(&folder);
        swept.map_err(|source| Error::Io { path: folder.clone(), action: "swept", source })?;
        let path = folder.join("master.key");
        let bytes = match read_exact(&path)? {
            Some(bytes) => bytes.try_into().map_err(|_| Error::DoesNotOpen { what: path.display().to_string() })?,
            None => {
                let bytes = random_key()?;
                write_durably(&path, &bytes)?;
                bytes
            }
        };
        Ok(Self { master: DataKey::new(&bytes)?, folder, making: Mutex::new(()) })
    }

    fn path(&self, shard: ShardId) -> PathBuf {
        self.folder.join(format!("{}.key", shard.file_name()))
    }

    fn context(shard: ShardId) -> String {
        format!("data key of {shard}")
    }

    /// The shard's data key; made now where there is none. One that was damaged opens nothing any more, neither what is
    /// kept nor what will be fetched in its place: it is destroyed, and another one made.
    ///
    /// # Errors
    /// [`Error::Io`] with the file, [`Error::Crypto`].
    pub fn data_key(&self, shard: ShardId) -> Result<DataKey, Error> {
        let _making = self.making.lock().unwrap_or_else(PoisonError::into_inner);
        let path = self.path(shard);
        let context = Self::context(shard);
        if let Some(wrapped) = read_exact(&path)? {
            let opened = self.master.open(&context, wrapped).ok().and_then(|bytes| bytes.try_into().ok());
            if let Some(bytes) = opened {
                return DataKey::new(&bytes);
            }
            metrics::counter!("tvs_store_damaged_keys_total").increment(1);
            tracing::warn!(%shard, "its data key was changed on disk and is replaced: what is kept is fetched again");
            self.destroy(shard)?;
        }
        let bytes = random_key()?;
        write_durably(&path, &self.master.seal(&context, bytes.to_vec())?)?;
        DataKey::new(&bytes)
    }

    /// Destroys the shard's data key: overwritten, flushed, removed. Nothing happens where there is none.
    ///
    /// # Errors
    /// [`Error::Io`] with the file.
    pub fn destroy(&self, shard: ShardId) -> Result<(), Error> {
        let path = self.path(shard);
        let failed = |action| move |source| Error::Io { path: self.path(shard), action, source };
        let mut file = match OpenOptions::new().write(true).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed("opened")(error)),
        };
        let length = file.metadata().map_err(failed("measured"))?.len();
        file.write_all(&vec![0; usize::try_from(length).unwrap_or(KEY_BYTES)]).map_err(failed("overwritten"))?;
        file.sync_all().map_err(failed("flushed"))?;
        fs::remove_file(&path).map_err(failed("removed"))?;
        sync_folder(&self.folder).map_err(failed("removed"))
    }
}

fn random_key() -> Result<[u8; KEY_BYTES], Error> {
    let mut bytes = [0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Crypto("draw a key"))?;
    Ok(bytes)
}

fn read_exact(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    let failed = |source| Error::Io { path: path.to_owned(), action: "read", source };
    match File::open(path) {
        Ok(mut file) => {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes).map_err(failed)?;
            Ok(Some(bytes))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// The ending of a file that is being written.
const UNFINISHED: &str = "new";

/// Removes what [`replace_file`] had not finished when its process ended.
fn remove_unfinished(folder: &Path) -> std::io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == UNFINISHED) {
            fs::remove_file(path)?;
        }
    }
    sync_folder(folder)
}

/// Writes a file so that it is there whole or not at all: temporary, fsync, rename, fsync of the folder.
fn write_durably(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let failed = |source| Error::Io { path: path.to_owned(), action: "written", source };
    replace_file(path, bytes).map_err(failed)
}

/// See [`write_durably`]; the file is readable by its owner alone.
pub(crate) fn replace_file(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let temporary = path.with_extension(UNFINISHED);
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    sync_folder(path.parent().unwrap_or(Path::new(".")))
}

/// Makes renames and removals in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}
