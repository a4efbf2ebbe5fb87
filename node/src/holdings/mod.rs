//! Holdings: the sources of templates of known people. They are always somebody else's; a gallery copies templates
//! out of them, never a photograph (R44).

mod file;
#[cfg(feature = "demo")]
pub mod synthetic;

use std::sync::Arc;

use cluster_config::cluster::ClusterSettings;
use cluster_config::file::Configuration;
use cluster_config::ids::ModelVersion;
use cluster_config::person::Person;
use cluster_config::process::HoldingsSettings;

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
        HoldingsSettings::Synthetic { seed } => open_synthetic(*seed, cluster)?,
        HoldingsSettings::File { path } => Arc::new(file::File::open(path, cluster.model, cluster.template_dims)?),
    })
}

#[cfg(feature = "demo")]
fn open_synthetic(seed: u64, cluster: &ClusterSettings) -> Result<Arc<dyn Holdings>, Error> {
    if cluster.model != synthetic::model() {
        let problem = format!("set cluster.model to {}, not {}", synthetic::model(), cluster.model);
        return Err(Error::Source { place: "synthetic".to_owned(), problem });
    }
    Ok(Arc::new(synthetic::Population::new(seed, cluster.template_dims)))
}

#[cfg(not(feature = "demo"))]
fn open_synthetic(_: u64, _: &ClusterSettings) -> Result<Arc<dyn Holdings>, Error> {
    let problem = "this build of tvs has no made-up people; set holdings.kind to \"file\"".to_owned();
    Err(Error::Source { place: "synthetic".to_owned(), problem })
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
