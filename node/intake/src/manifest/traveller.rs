//! One traveller with documents and references.

use serde::{Deserialize, Serialize};

use crate::date::Date;

/// One person on a manifest.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Traveller {
    /// Position on the manifest as it arrived, from 1; quarantined people are counted too.
    pub ordinal: u32,
    /// As what the person travels.
    pub role: Role,
    /// Family name, or the whole name if it was sent in one piece. Empty only where a message refers to
    /// people by reference alone.
    pub family_name: String,
    /// First and further given names, one entry for each component as it was sent.
    pub given_names: Vec<String>,
    pub sex: Option<Sex>,
    pub date_of_birth: Option<Date>,
    /// Nationality as written, ISO 3166 with two or three letters.
    pub nationality: Option<String>,
    /// Country of residence as written (LOC+174).
    pub residence: Option<String>,
    /// Country of birth as written (LOC+180).
    pub birth_country: Option<String>,
    /// Place of birth in words (LOC+180).
    pub birth_place: Option<String>,
    /// Port where the person begins the journey (LOC+178).
    pub embarkation_port: Option<String>,
    /// Port where the person ends the journey (LOC+179).
    pub debarkation_port: Option<String>,
    /// Port where the person is cleared by the border authority (LOC+22).
    pub clearance_port: Option<String>,
    /// Other places (LOC) with their function as written.
    pub other_places: Vec<OtherPlace>,
    /// Reservation's record locator (RFF+AVF).
    pub record_locator: Option<String>,
    /// Sender's unique passenger reference (RFF+ABO).
    pub passenger_reference: Option<String>,
    /// Seat (RFF+SEA).
    pub seat: Option<String>,
    /// All other references in their order, and repetitions of those above.
    pub other_references: Vec<Reference>,
    /// Travel documents.
    pub documents: Vec<Document>,
    pub address: Option<Address>,
    /// Telephone, fax, mail.
    pub contacts: Vec<Contact>,
    /// Checked bags.
    pub baggage: Baggage,
    /// Whether somebody compared the data with the document (GEI 173 yes, 174 no).
    pub verified: Option<bool>,
    /// Crew function (EMP), for example `CR1`.
    pub crew_function: Option<String>,
}

/// The role in which a person travels (NAD 3035).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// `FL`.
    #[default]
    Passenger,
    /// `FM`.
    Crew,
    /// `DDU`.
    TransitPassenger,
    /// `DDT`.
    TransitCrew,
    /// Any other, as written.
    Other(String),
}

impl Role {
    /// The role of a party function code (3035).
    pub fn from_code(code: &str) -> Self {
        match code {
            "FL" => Self::Passenger,
            "FM" => Self::Crew,
            "DDU" => Self::TransitPassenger,
            "DDT" => Self::TransitCrew,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The party function code (3035).
    pub fn code(&self) -> &str {
        match self {
            Self::Passenger => "FL",
            Self::Crew => "FM",
            Self::TransitPassenger => "DDU",
            Self::TransitCrew => "DDT",
            Self::Other(code) => code,
        }
    }

    /// Whether the person is crew, in transit or not.
    pub fn is_crew(&self) -> bool {
        matches!(self, Self::Crew | Self::TransitCrew)
    }

    /// Whether the person is a passenger, in transit or not.
    pub fn is_passenger(&self) -> bool {
        matches!(self, Self::Passenger | Self::TransitPassenger)
    }
}

/// Sex as in the document (ATT+2, ICAO Doc 9303).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sex {
    /// `F`.
    Female,
    /// `M`.
    Male,
    /// `X`.
    Unspecified,
    /// `U`.
    Unknown,
    /// Any other, as written.
    Other(String),
}

impl Sex {
    /// The sex of a code; codes are compared without regard to case.
    pub fn from_code(code: &str) -> Self {
        match code {
            "F" | "f" => Self::Female,
            "M" | "m" => Self::Male,
            "X" | "x" => Self::Unspecified,
            "U" | "u" => Self::Unknown,
            other => Self::Other(other.to_owned()),
        }
    }

    pub fn code(&self) -> &str {
        match self {
            Self::Female => "F",
            Self::Male => "M",
            Self::Unspecified => "X",
            Self::Unknown => "U",
            Self::Other(code) => code,
        }
    }
}

/// A travel document (DOC group).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    /// Type as written, for example `P`; see [`Document::kind`].
    #[serde(rename = "type", default)]
    pub type_code: Option<String>,
    #[serde(default)]
    pub number: Option<String>,
    /// Issuing state as written (LOC+91).
    #[serde(default)]
    pub issuing_state: Option<String>,
    /// Last day of validity (DTM+36).
    #[serde(default)]
    pub expiry: Option<Date>,
    /// Day of issue (DTM+182).
    #[serde(default)]
    pub issued: Option<Date>,
}

/// What kind of document a type code means (API guidelines, appendix; ICAO Doc 9303).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DocumentKind {
    /// `P` and its subtypes.
    Passport,
    /// `V`.
    Visa,
    /// `A`, `C`, `I` and their subtypes, except `AC` and `IP`.
    IdentityCard,
    /// `IP`.
    PassportCard,
    /// `AC`.
    CrewCertificate,
    /// Anything else, or nothing.
    Other,
}

impl Document {
    /// What kind of document this is.
    pub fn kind(&self) -> DocumentKind {
        match self.type_code.as_deref() {
            Some("AC") => DocumentKind::CrewCertificate,
            Some("IP") => DocumentKind::PassportCard,
            Some(code) if code.starts_with('P') => DocumentKind::Passport,
            Some(code) if code.starts_with('V') => DocumentKind::Visa,
            Some(code) if code.starts_with(['A', 'C', 'I']) => DocumentKind::IdentityCard,
            _ => DocumentKind::Other,
        }
    }
}

/// A reference with its qualifier as written (RFF).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    /// Qualifier (1153).
    pub qualifier: String,
    /// The reference.
    pub number: String,
}

/// A place with its function as written (LOC).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OtherPlace {
    /// Place function (3227).
    pub function: String,
    /// Code of the place.
    pub code: String,
}

/// A postal address (NAD).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Address {
    /// Street and number.
    pub street: Option<String>,
    pub city: Option<String>,
    /// State or province.
    pub region: Option<String>,
    pub postal_code: Option<String>,
    pub country: Option<String>,
}

/// A way to reach somebody (COM).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Contact {
    /// Number or address.
    pub address: String,
    /// `TE` telephone, `FX` fax, `EM` mail, as written.
    pub channel: Option<String>,
}

/// Checked bags (MEA, FTX+BAG).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Baggage {
    /// Number of bags.
    pub count: Option<u32>,
    /// Weight of all bags.
    pub weight: Option<Weight>,
    pub tags: Vec<BagTag>,
}

/// A weight as written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Weight {
    /// Unit, `KGM` or `LBR`.
    pub unit: Option<String>,
    /// Number of units.
    pub value: u32,
}

/// A bag tag; a count above one means that so many tags follow each other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BagTag {
    /// Number of the first tag.
    pub tag: String,
    /// How many tags.
    pub count: Option<u32>,
}
