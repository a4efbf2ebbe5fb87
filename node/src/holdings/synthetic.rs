//! A made-up population as a source of templates. What it is like is said in `node/population`.

use cluster_config::person::Person;
pub use node_population::{Population, model};

use super::{Error, Holdings, Template};

impl Holdings for Population {
    fn templates(&self, people: &[Person]) -> Result<Vec<Vec<Template>>, Error> {
        let of = |person: &Person| self.held(person).into_iter().map(|values| Template { values }).collect();
        Ok(people.iter().map(of).collect())
    }
}
