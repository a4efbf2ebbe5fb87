//! The keys under which everything personal lies on this node's disk.
//!
//! Each shard replica has a random data key, and a random wrapping key that seals it. The data key lies in the data
//! folder, the wrapping key in a folder apart, which a copy of the data folder does not have. Destroying the wrapping
//! key makes whatever was sealed unreadable, in earlier copies and backups of the data folder too (cryptographic erase,
//! NIST SP 800-88 Rev. 1, section 2.6). Sealing is AES-256-GCM with a random 96-bit nonce (NIST SP 800-38D).

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
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
    /// A volume that is not there, or a copy of the data folder alone.
    #[error("node.key_dir {wrapping:?} has no key, but {data:?} has keys that were wrapped by some")]
    KeysGone { data: PathBuf, wrapping: PathBuf },
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
            Self::KeysGone { .. } => {
                "mount the volume of node.key_dir; where the keys are lost, remove the second folder"
            }
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
    /// Wrapped data keys, by shard: in the data folder.
    data: PathBuf,
    /// What wraps them, by shard: apart from the data folder.
    wrapping: PathBuf,
    /// Held while a key is looked for and made, so that two who need the same one at once get the same one.
    making: Mutex<()>,
}

impl Keys {
    /// Opens the keys of what lies below `data_dir`; what wraps them lies in `key_dir`.
    ///
    /// # Errors
    /// [`Error`] with the file.
    pub fn open(data_dir: &Path, key_dir: &Path) -> Result<Self, Error> {
        let keys = Self { data: data_dir.join("keys"), wrapping: key_dir.to_owned(), making: Mutex::new(()) };
        for folder in [&keys.data, &keys.wrapping] {
            let failed = |action| move |source| Error::Io { path: folder.clone(), action, source };
            fs::create_dir_all(folder).map_err(failed("created"))?;
            remove_unfinished(folder).map_err(failed("swept"))?;
        }
        if has_keys(&keys.data)? && !has_keys(&keys.wrapping)? {
            return Err(Error::KeysGone { data: keys.data, wrapping: keys.wrapping });
        }
        if volume_of(&keys.data)? == volume_of(&keys.wrapping)? {
            let fix = "set node.key_dir to a folder on another volume";
            tracing::warn!(key_dir = ?keys.wrapping, fix, "keys lie on the volume of the data: a copy of it has both");
        }
        Ok(keys)
    }

    fn name(shard: ShardId) -> String {
        format!("{}.{ENDING}", shard.file_name())
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
        let (name, context) = (Self::name(shard), Self::context(shard));
        let (data, wrapping) = (self.data.join(&name), self.wrapping.join(&name));
        if let Some(wrapped) = read_whole(&data)? {
            match unwrap(&context, wrapped, read_whole(&wrapping)?) {
                Some(bytes) => return DataKey::new(&bytes),
                None => self.give_up(shard)?,
            }
        }
        let (key, bytes) = (random_key()?, random_key()?);
        write_durably(&wrapping, &key)?;
        write_durably(&data, &DataKey::new(&key)?.seal(&context, bytes.to_vec())?)?;
        DataKey::new(&bytes)
    }

    fn give_up(&self, shard: ShardId) -> Result<(), Error> {
        metrics::counter!("tvs_store_damaged_keys_total").increment(1);
        tracing::warn!(%shard, "its key was changed on disk and is replaced: what is kept is fetched again");
        self.destroy(shard)
    }

    /// Destroys the shard's keys, what wraps first: overwritten, flushed, removed. Nothing happens where there is none.
    ///
    /// # Errors
    /// [`Error::Io`] with the file.
    pub fn destroy(&self, shard: ShardId) -> Result<(), Error> {
        let name = Self::name(shard);
        erase(&self.wrapping.join(&name))?;
        erase(&self.data.join(&name))
    }
}

/// How the name of a key's file ends.
const ENDING: &str = "key";

/// The data key in `wrapped`; absent where either half is gone or was changed.
fn unwrap(context: &str, wrapped: Vec<u8>, key: Option<Vec<u8>>) -> Option<[u8; KEY_BYTES]> {
    let wrapping = DataKey::new(&key?.try_into().ok()?).ok()?;
    wrapping.open(context, wrapped).ok()?.try_into().ok()
}

/// Whether there is any key in a folder.
fn has_keys(folder: &Path) -> Result<bool, Error> {
    let failed = |source| Error::Io { path: folder.to_owned(), action: "listed", source };
    for file in fs::read_dir(folder).map_err(failed)? {
        if file.map_err(failed)?.path().extension().is_some_and(|ending| ending == ENDING) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The number of the volume that a folder lies on.
fn volume_of(folder: &Path) -> Result<u64, Error> {
    let failed = |source| Error::Io { path: folder.to_owned(), action: "looked at", source };
    Ok(fs::metadata(folder).map_err(failed)?.dev())
}

/// Overwrites a file, flushes it and removes it; nothing happens where there is none.
fn erase(path: &Path) -> Result<(), Error> {
    let failed = |action| move |source| Error::Io { path: path.to_owned(), action, source };
    let mut file = match OpenOptions::new().write(true).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("opened")(error)),
    };
    let length = file.metadata().map_err(failed("measured"))?.len();
    file.write_all(&vec![0; usize::try_from(length).unwrap_or(KEY_BYTES)]).map_err(failed("overwritten"))?;
    file.sync_all().map_err(failed("flushed"))?;
    fs::remove_file(path).map_err(failed("removed"))?;
    sync_folder(path.parent().unwrap_or(Path::new("."))).map_err(failed("removed"))
}

fn random_key() -> Result<[u8; KEY_BYTES], Error> {
    let mut bytes = [0; KEY_BYTES];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Crypto("draw a key"))?;
    Ok(bytes)
}

fn read_whole(path: &Path) -> Result<Option<Vec<u8>>, Error> {
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
