//! Character sets: bytes to text without loss.

/// Text of `bytes`, and whether any of them lies outside of what `syntax` (UNB S001, such as `UNOA`) declares.
///
/// Order of trust: ASCII; UTF-8, which is hardly ever valid by accident; ISO 8859-5 where UNOE declares it;
/// else ISO 8859-1, which maps each byte to the code point of the same number and so loses nothing.
pub(crate) fn decode(bytes: Vec<u8>, syntax: &str) -> (String, bool) {
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => {
            let foreign = !text.is_ascii() && !matches!(syntax, "UNOW" | "UNOX" | "UNOY");
            return (text, foreign);
        }
        Err(refused) => refused.into_bytes(),
    };
    if syntax == "UNOE" {
        return (bytes.iter().map(|byte| cyrillic(*byte)).collect(), false);
    }
    (bytes.iter().map(|byte| char::from(*byte)).collect(), syntax != "UNOC")
}

/// ISO 8859-5: from 0xA1 on, the Cyrillic block in order, but for four signs.
fn cyrillic(byte: u8) -> char {
    match byte {
        0x00..=0xA0 | 0xAD => char::from(byte),
        0xF0 => '\u{2116}',
        0xFD => '\u{00A7}',
        _ => char::from_u32(0x0401 + u32::from(byte) - 0xA1).unwrap_or(char::REPLACEMENT_CHARACTER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_outside_of_the_declared_set_survive() {
        assert_eq!(decode(b"M\xDCLLER".to_vec(), "UNOA"), ("MÜLLER".to_owned(), true));
        assert_eq!(decode(b"M\xDCLLER".to_vec(), "UNOC"), ("MÜLLER".to_owned(), false));
        assert_eq!(decode("MÜLLER".as_bytes().to_vec(), "UNOA"), ("MÜLLER".to_owned(), true));
        assert_eq!(decode("MÜLLER".as_bytes().to_vec(), "UNOW"), ("MÜLLER".to_owned(), false));
        assert_eq!(decode(b"\xB8\xD2\xD0\xDD".to_vec(), "UNOE"), ("Иван".to_owned(), false));
    }
}
