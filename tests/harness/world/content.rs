//! Journeys, people and templates of a world: made from the seed, searched by the product's own engine.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};

use cluster_config::ids::{
    ContentHash, EncounterId, Epoch, GalleryVersion, JourneyId, NodeId, ShardId, SubjectId, UnixMs,
};
use cluster_config::limits::CANDIDATES;
use cluster_config::wire::gate::Capture;
use cluster_config::wire::peer::{Document, JourneyPlan, Person, Segment, ShardFound, ShardSearch};
use node::segment::{self, Enrolled, Head, Loaded};
use node_population::{Population, model};
use node_stage::capture;
use node_stage::guest::Guest;
use shaders::{Choice, Engine, Job};

use crate::dice::Dice;

/// Numbers in a template: few, since time is better spent on faults. The population's scores spread wider then, and the
/// decisions differ from a national gallery's; the reference matcher judges by the same numbers.
pub const DIMS: usize = 128;

/// The time at which every world begins: 2027-01-15T08:00:00Z.
pub const BEGINS: UnixMs = UnixMs(1_800_000_000_000);

/// Milliseconds after which the journeys depart: within the hour in which they get all their replicas, for half of
/// them.
const DEPARTS_IN_MS: [u64; 2] = [30 * 60_000, 3 * 3_600_000];

/// One manifest of a journey: the one that opens it, or a newer one.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// What is announced.
    pub plan: JourneyPlan,
    /// The people of each part.
    pub parts: Vec<Vec<Person>>,
}

/// One departure.
#[derive(Debug, Clone)]
pub struct Flight {
    /// Its journey.
    pub journey: JourneyId,
    /// Its manifests; each has the people of the one before and some more.
    pub manifests: Vec<Manifest>,
    /// Everybody who travels in the end, in manifest order, and with which manifest they come.
    pub guests: Vec<(Guest, usize)>,
}

/// The people of a world.
pub struct Content {
    /// The flights.
    pub flights: Vec<Flight>,
    /// Where templates and captures come from.
    pub population: Population,
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
        let flights = (0..dice.between(2, 5)).map(|number| flight(&mut dice, &population, seed, number)).collect();
        Self { flights, population }
    }

    /// A capture. `number` decides picture and encounter; nobody of the manifest where there is no guest.
    pub fn capture(&self, flight: usize, guest: Option<usize>, number: u64, attempt: u8, at: UnixMs) -> Capture {
        let values = match guest {
            Some(guest) => self.population.capture(&self.flights[flight].guests[guest].0.person, number),
            None => self.population.stranger((flight as u64) << 32 | number),
        };
        let who = guest.map_or(u64::MAX >> 16, |guest| guest as u64);
        let encounter = EncounterId((flight as u128) << 96 | u128::from(who) << 32 | u128::from(number));
        capture::of_template(self.flights[flight].journey, encounter, attempt, values, at)
    }
}

fn flight(dice: &mut Dice, population: &Population, seed: u64, number: u64) -> Flight {
    let journey: JourneyId = format!("ZT{}-20270115-JFK", 100 + number).parse().expect("an id");
    let people = dice.between(5, 12);
    let late = dice.between(0, 3);
    let mut everybody: Vec<Person> = (1..=people + late).map(|ordinal| person(seed, number, ordinal as u32)).collect();
    if dice.chance(300) {
        // One person is listed twice: nobody can say which of the two stands at the gate.
        let second = dice.between(1, people) as usize;
        everybody[second].document = everybody[second - 1].document.clone();
    }
    let parts = if dice.chance(300) { 2 } else { 1 };
    let departs_at = UnixMs(BEGINS.0 + DEPARTS_IN_MS[dice.between(0, 2) as usize]);
    let manifest = |count: u64| {
        let listed = &everybody[..count as usize];
        let text = format!("{journey}/{count}");
        let mut split = vec![Vec::new(); usize::from(parts)];
        listed.iter().for_each(|p| split[p.manifest_ordinal as usize % usize::from(parts)].push(p.clone()));
        Manifest {
            plan: JourneyPlan {
                id: journey,
                carrier: "ZT".to_owned(),
                number: (100 + number).to_string(),
                departure_port: "JFK".parse().expect("a port"),
                arrival_port: "VIE".parse().expect("a port"),
                departs_at,
                people: count as u32,
                parts,
                manifest: segment::hash(text.as_bytes()),
            },
            parts: split,
        }
    };
    let mut manifests = vec![manifest(people)];
    manifests.extend((late > 0).then(|| manifest(people + late)));
    let guests = everybody.iter().enumerate().map(|(index, person)| {
        let known = population.photographs(person) > 0;
        let in_scope = person.nationality.as_deref() != Some("USA");
        (Guest { person: person.clone(), in_scope, known }, usize::from(index as u64 >= people))
    });
    Flight { journey, manifests, guests: guests.collect() }
}

fn person(seed: u64, flight: u64, ordinal: u32) -> Person {
    Person {
        manifest_ordinal: ordinal,
        family_name: format!("F{flight}P{ordinal}"),
        given_names: "A".to_owned(),
        date_of_birth: Some(19_800_101),
        nationality: Some(["USA", "AUT", "GBR"][ordinal as usize % 3].to_owned()),
        document: Some(Document {
            kind: "P".to_owned(),
            number: format!("{seed}-{flight}-{ordinal}"),
            issuing_state: Some("UTO".to_owned()),
        }),
        ..Person::default()
    }
}

#[expect(clippy::too_many_arguments, reason = "a build has so many sources")]
/// Builds a shard's next version as `node/src/builder.rs` does, but for the subject ids: those come from the seed.
pub fn build(
    population: &Population,
    dice: &mut Dice,
    shard: ShardId,
    manifest: ContentHash,
    people: &[Person],
    before: Option<&Head>,
    boarded: &BTreeMap<u32, SubjectId>,
    version: GalleryVersion,
) -> Segment {
    let known: BTreeMap<u32, SubjectId> = match before {
        Some(head) => head.people.iter().map(|e| (e.person.manifest_ordinal, e.subject)).collect(),
        None => boarded.clone(),
    };
    let (mut enrolled, mut owners, mut values) = (Vec::new(), Vec::new(), Vec::new());
    for (index, person) in people.iter().enumerate() {
        for template in population.held(person) {
            owners.push(index as u32);
            values.extend_from_slice(&template);
        }
        let drawn = SubjectId(dice.number());
        let subject = known.get(&person.manifest_ordinal).copied().unwrap_or(drawn);
        let in_scope = person.nationality.as_deref() != Some("USA");
        enrolled.push(Enrolled { subject, person: person.clone(), in_scope });
    }
    let head = Head {
        shard,
        version,
        model: model(),
        dims: DIMS as u32,
        manifest,
        people: enrolled,
        left: Vec::new(),
        owners,
    };
    segment::encode(&head, &values).expect("a segment encodes")
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

/// Searches a segment with the product's engine, as `node/src/engine.rs` does.
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
