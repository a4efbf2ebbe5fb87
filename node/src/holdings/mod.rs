//! Holdings: the sources of templates of known people. They are always somebody else's; a gallery copies templates
//! out of them, never a photograph (R44).

mod file;
pub mod synthetic;

use std::sync::Arc;

use cluster_config::file::Configuration;
use cluster_config::ids::ModelVersion;
use cluster_config::process::HoldingsSettings;
use cluster_config::wire::peer::Person;

/// Why a source gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The source cannot be reached or read.
    #[error("holdings {place}: {problem}")]
    Source {
        /// File and line, or address.
        place: String,
        /// What is wrong and how to mend it.
        problem: String,
    },
}

/// One template of a person.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    /// Unit-norm values.
    pub values: Vec<f32>,
}

/// A source of templates. Calls may block; they are made off the network threads.
pub trait Holdings: Send + Sync {
    /// The templates of each person, in the order of `people`; none where the person is not known.
    ///
    /// # Errors
    /// [`Error`] where the source as a whole fails.
    fn templates(&self, people: &[Person]) -> Result<Vec<Vec<Template>>, Error>;
}

/// Opens what the configuration names.
///
/// # Errors
/// [`Error`] with the place.
pub fn open(configuration: &Configuration) -> Result<Arc<dyn Holdings>, Error> {
    let cluster = &configuration.cluster;
    Ok(match &configuration.holdings {
        HoldingsSettings::Synthetic { seed } => {
            if cluster.model != synthetic::model() {
                return Err(Error::Source {
                    place: "synthetic".to_owned(),
                    problem: format!("set cluster.model to {}, not {}", synthetic::model(), cluster.model),
                });
            }
            Arc::new(synthetic::Population::new(*seed, cluster.template_dims))
        }
        HoldingsSettings::File { path } => Arc::new(file::File::open(path, cluster.model, cluster.template_dims)?),
    })
}

/// What identifies a person in holdings: the travel document, else name and date of birth.
fn person_key(person: &Person) -> String {
    match &person.document {
        Some(document) => {
            format!("document/{}/{}", document.issuing_state.as_deref().unwrap_or(""), document.number)
        }
        None => {
            let born = person.date_of_birth.unwrap_or(0);
            format!("name/{}/{}/{born}", person.family_name, person.given_names)
        }
    }
}

/// The model of a line or a population must be the cluster's.
fn check_model(place: &str, found: ModelVersion, wanted: ModelVersion) -> Result<(), Error> {
    if found == wanted {
        return Ok(());
    }
    Err(Error::Source {
        place: place.to_owned(),
        problem: format!("template of model {found}; this cluster compares {wanted}"),
    })
}
