//! The keys of the log's entries in the database: the letter `e` and the index, most significant byte first. So the
//! database sorts them by index.

const ENTRY_PREFIX: u8 = b'e';

pub fn entry_key(index: u64) -> [u8; 9] {
    let mut key = [ENTRY_PREFIX; 9];
    key[1..].copy_from_slice(&index.to_be_bytes());
    key
}

/// The index of the entry with this key; none if it is the key of something else.
pub fn key_index(key: &[u8]) -> Option<u64> {
    let (prefix, index) = key.split_first()?;
    (*prefix == ENTRY_PREFIX).then_some(())?;
    Some(u64::from_be_bytes(index.try_into().ok()?))
}
