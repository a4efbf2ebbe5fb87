//! States by their codes: two letters, three letters, and those that only passports use.

/// ISO 3166-1 of 2024: alpha-2 and alpha-3 in one word, sorted.
const ISO_3166: &str = "\
    ADAND AEARE AFAFG AGATG AIAIA ALALB AMARM AOAGO AQATA ARARG ASASM ATAUT AUAUS AWABW AXALA AZAZE BABIH \
    BBBRB BDBGD BEBEL BFBFA BGBGR BHBHR BIBDI BJBEN BLBLM BMBMU BNBRN BOBOL BQBES BRBRA BSBHS BTBTN BVBVT \
    BWBWA BYBLR BZBLZ CACAN CCCCK CDCOD CFCAF CGCOG CHCHE CICIV CKCOK CLCHL CMCMR CNCHN COCOL CRCRI CUCUB \
    CVCPV CWCUW CXCXR CYCYP CZCZE DEDEU DJDJI DKDNK DMDMA DODOM DZDZA ECECU EEEST EGEGY EHESH ERERI ESESP \
    ETETH FIFIN FJFJI FKFLK FMFSM FOFRO FRFRA GAGAB GBGBR GDGRD GEGEO GFGUF GGGGY GHGHA GIGIB GLGRL GMGMB \
    GNGIN GPGLP GQGNQ GRGRC GSSGS GTGTM GUGUM GWGNB GYGUY HKHKG HMHMD HNHND HRHRV HTHTI HUHUN IDIDN IEIRL \
    ILISR IMIMN ININD IOIOT IQIRQ IRIRN ISISL ITITA JEJEY JMJAM JOJOR JPJPN KEKEN KGKGZ KHKHM KIKIR KMCOM \
    KNKNA KPPRK KRKOR KWKWT KYCYM KZKAZ LALAO LBLBN LCLCA LILIE LKLKA LRLBR LSLSO LTLTU LULUX LVLVA LYLBY \
    MAMAR MCMCO MDMDA MEMNE MFMAF MGMDG MHMHL MKMKD MLMLI MMMMR MNMNG MOMAC MPMNP MQMTQ MRMRT MSMSR MTMLT \
    MUMUS MVMDV MWMWI MXMEX MYMYS MZMOZ NANAM NCNCL NENER NFNFK NGNGA NINIC NLNLD NONOR NPNPL NRNRU NUNIU \
    NZNZL OMOMN PAPAN PEPER PFPYF PGPNG PHPHL PKPAK PLPOL PMSPM PNPCN PRPRI PSPSE PTPRT PWPLW PYPRY QAQAT \
    REREU ROROU RSSRB RURUS RWRWA SASAU SBSLB SCSYC SDSDN SESWE SGSGP SHSHN SISVN SJSJM SKSVK SLSLE SMSMR \
    SNSEN SOSOM SRSUR SSSSD STSTP SVSLV SXSXM SYSYR SZSWZ TCTCA TDTCD TFATF TGTGO THTHA TJTJK TKTKL TLTLS \
    TMTKM TNTUN TOTON TRTUR TTTTO TVTUV TWTWN TZTZA UAUKR UGUGA UMUMI USUSA UYURY UZUZB VAVAT VCVCT VEVEN \
    VGVGB VIVIR VNVNM VUVUT WFWLF WSWSM YEYEM YTMYT ZAZAF ZMZMB ZWZWE";

/// Codes beside those of ISO 3166-1, and what they are taken for. Of ICAO Doc 9303-3, section 5: Germany's one letter,
/// the kinds of British nationals (the passports are British all the same), the United Nations and their agencies, the
/// European Union, Kosovo. Of lists: what senders write for the United Kingdom, Greece and Kosovo.
const SPECIAL: [(&str, &str); 17] = [
    ("D", "DEU"),
    ("GBD", "GBR"),
    ("GBN", "GBR"),
    ("GBO", "GBR"),
    ("GBP", "GBR"),
    ("GBS", "GBR"),
    ("UK", "GBR"),
    ("EL", "GRC"),
    ("UN", "UNO"),
    ("UNA", "UNO"),
    ("EU", "EUE"),
    ("XK", "RKS"),
    ("XKX", "RKS"),
    ("KS", "RKS"),
    ("ROM", "ROU"),
    ("ZAR", "COD"),
    ("TMP", "TLS"),
];

/// A state's code in the one form in which codes are compared: three letters where the state is known, else as it was
/// written, in upper case; absent where nothing is said.
pub fn alike(code: &str) -> Option<String> {
    let code: String = code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_uppercase()).collect();
    if code.is_empty() {
        return None;
    }
    if let Some((_, state)) = SPECIAL.iter().find(|(special, _)| *special == code) {
        return Some((*state).to_owned());
    }
    let iso = ISO_3166.split(' ').find(|pair| code.len() == 2 && pair.starts_with(&code));
    Some(iso.and_then(|pair| pair.get(2..)).map_or(code, str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_letters_three_letters_and_what_passports_have_are_taken_alike() {
        for (one, other) in
            [("PT", "PRT"), ("gb", "GBR"), ("GBN", "GB"), ("D", "DE"), ("D<<", "DEU"), ("UN", "UNO"), ("XKX", "RKS")]
        {
            assert_eq!(alike(one), alike(other), "{one} and {other}");
        }
        assert_ne!(alike("CO"), alike("COM"));
        assert_eq!(alike("uto").as_deref(), Some("UTO"), "an unknown one stays");
        assert_eq!(alike(" < "), None);
        assert_eq!(ISO_3166.split(' ').count(), 249);
        assert!(ISO_3166.split(' ').is_sorted() && ISO_3166.split(' ').all(|pair| pair.len() == 5));
    }
}
