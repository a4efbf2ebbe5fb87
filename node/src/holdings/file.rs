//! A file of templates: one JSON object a line,
//! `{"document": "P1234567", "issuing_state": "UTO", "model": "synthetic-512-v1", "values": [0.1, ...]}`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;

use cluster_config::ids::ModelVersion;
use cluster_config::limits::TEMPLATES_PER_PERSON_MAX;
use cluster_config::person::{Document, Person};
use serde::Deserialize;

use super::{Error, Holdings, Template, check_model};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    document: String,
    issuing_state: Option<String>,
    model: ModelVersion,
    values: Vec<f32>,
}

/// Document number and issuing state.
type DocumentKey = (String, Option<String>);

/// The templates of a file, in memory.
pub struct File {
    templates: BTreeMap<DocumentKey, Vec<Template>>,
}

impl File {
    /// Reads the whole file and checks every template.
    ///
    /// # Errors
    /// [`Error`] with file and line.
    pub fn open(path: &Path, model: ModelVersion, dims: usize) -> Result<Self, Error> {
        let failed =
            |line: usize, problem: String| Error::Source { place: format!("{}:{line}", path.display()), problem };
        let file = std::fs::File::open(path).map_err(|e| failed(0, format!("cannot be read: {e}")))?;
        let mut templates: BTreeMap<DocumentKey, Vec<Template>> = BTreeMap::new();
        for (number, line) in (1..).zip(BufReader::new(file).lines()) {
            let line = line.map_err(|e| failed(number, e.to_string()))?;
            if line.trim().is_empty() {
                continue;
            }
            let line: Line = serde_json::from_str(&line).map_err(|e| failed(number, e.to_string()))?;
            check_model(&format!("{}:{number}", path.display()), line.model, model)?;
            shaders::check_probe(dims, &line.values).map_err(|e| failed(number, format!("{e}; {}", e.fix())))?;
            let held = templates.entry((line.document, line.issuing_state)).or_default();
            if held.len() == TEMPLATES_PER_PERSON_MAX {
                let problem =
                    format!("more than {TEMPLATES_PER_PERSON_MAX} templates of one document; remove this line");
                return Err(failed(number, problem));
            }
            held.push(Template { values: line.values });
        }
        Ok(Self { templates })
    }

    fn find(&self, document: &Document) -> Vec<Template> {
        let exact = self.templates.get(&(document.number.clone(), document.issuing_state.clone()));
        exact.or_else(|| self.templates.get(&(document.number.clone(), None))).cloned().unwrap_or_default()
    }
}

impl Holdings for File {
    fn templates(&self, people: &[Person]) -> Result<Vec<Vec<Template>>, Error> {
        let of = |person: &Person| person.document.as_ref().map(|d| self.find(d)).unwrap_or_default();
        Ok(people.iter().map(of).collect())
    }
}
