//! Whose crossings are recorded.

use serde::{Deserialize, Serialize};

use super::Error;

/// Codes of one country.
const HOME_CODES_MAX: usize = 64;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scope {
    /// Youngest age in scope, years (R1).
    pub age_min: u8,
    /// Oldest age in scope, years (R1).
    pub age_max: u8,
    /// The codes under which manifests name the country whose citizens are not recorded (R3, R4): ISO 3166-1 alpha-3,
    /// and alpha-2, which some carriers send.
    pub home_country_codes: Vec<String>,
}

impl Default for Scope {
    fn default() -> Self {
        Self { age_min: 14, age_max: 79, home_country_codes: vec!["USA".to_owned(), "US".to_owned()] }
    }
}

impl Scope {
    pub(super) fn check(&self) -> Result<(), Error> {
        let refuse = |field, problem, fix| Err(Error { part: "scope", field, problem, fix });
        if self.age_min > self.age_max {
            return refuse("age_min", "it is above age_max", "give no more than age_max");
        }
        let is_code = |code: &String| (2..=3).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_uppercase());
        if self.home_country_codes.len() > HOME_CODES_MAX {
            return refuse("home_country_codes", "it has more than 64 entries", "list the home country's codes alone");
        }
        if self.home_country_codes.is_empty() || !self.home_country_codes.iter().all(is_code) {
            let problem = "it is empty, or an entry is no code of two or three capital letters";
            return refuse("home_country_codes", problem, "list ISO 3166-1 codes such as USA and US");
        }
        Ok(())
    }
}
