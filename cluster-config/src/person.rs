//! One traveller of a journey. Personal data: it travels between nodes and lies on disks only sealed.

use serde::{Deserialize, Serialize};

/// One person of a manifest. Personal data: it travels between nodes and lies on disks only sealed.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// On a list that was read: the person's place on it, from 1. In a gallery: the person's number, which belongs to
    /// them and to nobody else of the journey, whatever their place on later lists.
    pub manifest_ordinal: u32,
    pub family_name: String,
    pub given_names: String,
    /// Date of birth as YYYYMMDD, where the manifest has it.
    pub date_of_birth: Option<u32>,
    /// Nationality, ISO 3166-1 alpha-3, where the manifest has it.
    pub nationality: Option<String>,
    /// Travel document: type, number and issuing state, where the manifest has one.
    pub document: Option<Document>,
    /// Further travel documents, where the manifest has several.
    pub other_documents: Vec<Document>,
    /// The carrier's unique reference of this passenger (RFF+ABO), where the manifest has one. It is no booking
    /// reference: that one names a party.
    pub reference: Option<String>,
}

/// A travel document.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// `P` passport, `V` visa ... (ICAO 9303).
    pub kind: String,
    pub number: String,
    /// Issuing state, ISO 3166-1 alpha-3.
    pub issuing_state: Option<String>,
}

impl std::fmt::Debug for Person {
    /// Prints no personal data: a person in a log line or a panic message is a number.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Person(#{})", self.manifest_ordinal)
    }
}

impl std::fmt::Debug for Document {
    /// Prints no personal data.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Document(..)")
    }
}
