//! Journeys, people and templates of a world: made from the seed, searched by the product's own engine.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use cluster_config::gallery::Segment;
use cluster_config::ids::{EncounterId, Epoch, GalleryVersion, JourneyId, NodeId, UnixMs};
use cluster_config::limits::CANDIDATES;
use cluster_config::person::Person;
use cluster_config::versions::Version;
use cluster_config::wire::Refusal;
use cluster_config::wire::gate::Capture;
use cluster_config::wire::peer::{BuildOrder, ShardFound, ShardSearch};
use node::gallery::people::{self, Sources};
use node::gallery::segment::{self, Loaded};
use node::holdings::{self, Holdings, Template};
use node_core::roster::scope::in_scope;
use node_population::Population;
use node_stage::capture;
use node_stage::guest::Guest;
use shaders::{Choice, Engine, Job};

use super::lists::{self, Lists, Message, Traveller};
use crate::dice::Dice;

/// Numbers in a template: few, since time is better spent on faults. The population's scores spread wider then, and the
/// decisions differ from a national gallery's; the reference matcher judges by the same numbers.
pub const DIMS: usize = 128;

/// The time at which every world begins: 2027-01-15T08:00:00Z.
pub const BEGINS: UnixMs = UnixMs(1_800_000_000_000);

/// Milliseconds after which the journeys depart: within the hour in which they get all their replicas, later, and so
/// late that their time to be built comes while they are announced.
const DEPARTS_IN_MS: [u64; 3] = [30 * 60_000, 3 * 3_600_000, 24 * 3_600_000 + 14_000];

/// One departure.
#[derive(Debug, Clone)]
pub struct Flight {
    pub journey: JourneyId,
    /// The messages about it, in their order.
    pub messages: Vec<Message>,
    /// Everybody who is ever on its lists, and the message that lists them first; absent where none does.
    pub guests: Vec<(Guest, Option<usize>)>,
    /// What cameras know the guests by.
    faces: Vec<Person>,
}

/// The people of a world.
pub struct Content {
    pub flights: Vec<Flight>,
    /// Where templates come from.
    pub holdings: Faces,
}

/// Holdings that know everybody in whichever way a list has them: who is meant was looked up by somebody who knows.
pub struct Faces {
    population: Population,
    known: BTreeMap<Words, Person>,
}

/// Name, given names, date of birth and document as a list has them.
type Words = (String, String, Option<u32>, Option<String>);

fn words(person: &Person) -> Words {
    let number = person.document.as_ref().map(|document| document.number.clone());
    (person.family_name.clone(), person.given_names.clone(), person.date_of_birth, number)
}

impl Holdings for Faces {
    fn templates(&self, people: &[Person]) -> Result<Vec<Vec<Template>>, holdings::Error> {
        let of = |person: &Person| match self.known.get(&words(person)) {
            Some(face) => Ok(self.population.templates(std::slice::from_ref(face))?.remove(0)),
            None => Ok(Vec::new()),
        };
        people.iter().map(of).collect()
    }
}

fn engine() -> &'static Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| Engine::start(Choice::Cpu, 1).expect("the CPU engine starts"))
}

impl Content {
    /// Flights with a dozen people each.
    pub fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed, "content");
        let population = Population::new(seed % 16, DIMS);
        let mut holdings = Faces { population, known: BTreeMap::new() };
        let flights = (0..dice.between(2, 5)).map(|number| flight(&mut dice, &mut holdings, seed, number)).collect();
        Self { flights, holdings }
    }

    /// The templates that there are of a guest.
    pub fn templates(&self, flight: usize, guest: usize) -> Vec<Template> {
        let face = std::slice::from_ref(&self.flights[flight].faces[guest]);
        self.holdings.population.templates(face).expect("a made-up population always answers").remove(0)
    }

    /// A capture. `number` decides picture and encounter; nobody of the manifest where there is no guest.
    pub fn capture(&self, flight: usize, guest: Option<usize>, number: u64, attempt: u8, at: UnixMs) -> Capture {
        let population = &self.holdings.population;
        let values = match guest {
            Some(guest) if number == 0 && guest % 3 == 1 => self.two_in_one(flight, guest),
            Some(guest) => population.capture(&self.flights[flight].faces[guest], number),
            None => population.stranger((flight as u64) << 32 | number),
        };
        let who = guest.map_or(u64::MAX >> 16, |guest| guest as u64);
        let encounter = EncounterId((flight as u128) << 96 | u128::from(who) << 32 | u128::from(number));
        capture::of_template(self.flights[flight].journey, encounter, attempt, values, at)
    }
}

impl Content {
    /// A picture in which two people are as near: nobody can say which of them stands at the gate.
    fn two_in_one(&self, flight: usize, guest: usize) -> Vec<f32> {
        let capture = |face| self.holdings.population.capture(face, 0);
        let [one, other] = [guest, guest - 1].map(|place| capture(&self.flights[flight].faces[place]));
        let both: Vec<f32> = one.iter().zip(other).map(|(a, b)| a + b).collect();
        let norm = both.iter().map(|value| value * value).sum::<f32>().sqrt();
        both.into_iter().map(|value| value / norm).collect()
    }
}

fn flight(dice: &mut Dice, holdings: &mut Faces, seed: u64, number: u64) -> Flight {
    let departs_at = UnixMs(BEGINS.0 + DEPARTS_IN_MS[dice.between(0, 3) as usize]);
    let Lists { messages, travellers } = lists::lists(dice, seed, number, departs_at);
    let policy = super::policy();
    let (mut guests, mut faces) = (Vec::new(), Vec::new());
    for Traveller { face, written, comes_with } in travellers {
        let known = holdings.population.photographs(&face) > 0;
        let in_scope = in_scope(&policy.scope, departs_at, &written[0]);
        holdings.known.extend(written.iter().map(|person| (words(person), face.clone())));
        guests.push((Guest { person: written[0].clone(), in_scope, known }, comes_with));
        faces.push(face);
    }
    Flight { journey: messages[0].plan.id, messages, guests, faces }
}

/// Builds a shard's next version with the product's own builder; subject ids come from the seed.
///
/// # Errors
/// The builder's refusal.
pub fn build(
    sources: &Sources<'_>,
    dice: &mut Dice,
    order: &BuildOrder,
    before: Option<&Loaded>,
    version: GalleryVersion,
) -> Result<Segment, Refusal> {
    let (head, values) = people::build(sources, order, before, version, &mut || dice.number())?;
    Ok(segment::encode(&head, &values, Version::CURRENT).expect("a segment encodes"))
}

/// A segment that stands ready in memory.
pub type Ready = Rc<Loaded>;

/// Reads a segment as the product does, with what the node has of the version before.
///
/// # Errors
/// What is wrong with it.
pub fn load(segment: &Segment, before: Option<&Loaded>) -> Result<Ready, String> {
    segment::decode(segment, before).map(Rc::new).map_err(|error| error.to_string())
}

/// Searches a segment with the product's engine, as `node/src/engine/mod.rs` does.
pub fn search(node: NodeId, epoch: Epoch, loaded: &Ready, search: &ShardSearch) -> ShardFound {
    let job =
        Job { gallery: Arc::clone(&loaded.gallery), probes: search.probe.clone(), k: CANDIDATES, floor: search.floor };
    let hits = engine().score(std::slice::from_ref(&job)).pop().and_then(Result::ok).unwrap_or_default();
    ShardFound {
        node,
        epoch,
        version: loaded.head.version,
        rows: loaded.head.rows(),
        candidates: hits.iter().flatten().filter_map(|hit| loaded.candidate(hit)).collect(),
    }
}
