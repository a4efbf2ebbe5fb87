//! Letters as the machine-readable zone of a travel document has them.

/// Latin letters beyond A to Z, in upper case, and what stands for them (ICAO Doc 9303-3, eighth edition, section 6,
/// table A; where it allows several, the first).
const LATIN: [(&str, &str); 41] = [
    ("ÁÀÂĂÃĀĄǍẠẢẤẦẨẪẬẮẰẲẴẶ", "A"),
    ("Ä", "AE"),
    ("Å", "AA"),
    ("Æ", "AE"),
    ("ĆĈČĊÇ", "C"),
    ("ĐĎÐ", "D"),
    ("ÉÈÊËĚĖĒĘĔẸẺẼẾỀỂỄỆ", "E"),
    ("ĜĞĠĢ", "G"),
    ("ĤĦ", "H"),
    ("ÍÌÎÏĨĪĬĮİỊỈ", "I"),
    ("Ĳ", "IJ"),
    ("Ĵ", "J"),
    ("Ķ", "K"),
    ("ŁĹĽĻĿ", "L"),
    ("ŃŇŅŊ", "N"),
    ("Ñ", "N"),
    ("ÓÒÔÕŐŌŎƠỌỎỐỒỔỖỘỚỜỞỠỢ", "O"),
    ("Ö", "OE"),
    ("Ø", "OE"),
    ("Œ", "OE"),
    ("ŔŘŖ", "R"),
    ("ŚŜŠŞȘ", "S"),
    ("ẞ", "SS"),
    ("ŤŢŦȚ", "T"),
    ("Þ", "TH"),
    ("ÚÙÛŨŪŮŬŰŲƯỤỦỨỪỬỮỰ", "U"),
    ("Ü", "UE"),
    ("Ŵ", "W"),
    ("ÝŶŸỲỴỶỸ", "Y"),
    ("ŹŽŻ", "Z"),
    ("Ə", "E"),
    ("Ǧ", "G"),
    ("Ǩ", "K"),
    ("Ʒ", "D"),
    ("Ǒ", "O"),
    ("Ǔ", "U"),
    ("Ǐ", "I"),
    ("Ḥ", "H"),
    ("Ṣ", "S"),
    ("Ṭ", "T"),
    ("Ẓ", "Z"),
];

/// A text as a machine-readable zone has it: upper case, Latin letters of other alphabets spelled out, and nothing but
/// letters and digits. Letters of other scripts stay as they are.
pub fn zone(text: &str) -> String {
    let mut zone = String::with_capacity(text.len());
    for letter in text.chars().flat_map(char::to_uppercase) {
        if letter.is_ascii() {
            if letter.is_ascii_alphanumeric() {
                zone.push(letter);
            }
            continue;
        }
        match LATIN.iter().find(|(letters, _)| letters.contains(letter)) {
            Some((_, instead)) => zone.push_str(instead),
            None if letter.is_alphanumeric() => zone.push(letter),
            None => {}
        }
    }
    zone
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_spelled_as_in_a_passport() {
        for (written, zoned) in [
            ("Okafor", "OKAFOR"),
            ("DE<LA<CRUZ<<", "DELACRUZ"),
            (" de la  Cruz", "DELACRUZ"),
            ("O'Brien-Smith", "OBRIENSMITH"),
            ("Łukasiewicz", "LUKASIEWICZ"),
            ("Żaneta", "ZANETA"),
            ("Müller", "MUELLER"),
            ("Weiß", "WEISS"),
            ("Þórsdóttir", "THORSDOTTIR"),
            ("Ångström", "AANGSTROEM"),
            ("ŠIMÁK", "SIMAK"),
            ("李", "李"),
        ] {
            assert_eq!(zone(written), zoned, "{written}");
        }
    }
}
