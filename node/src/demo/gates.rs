//! Gates that board a flight: every traveller is captured, identified and boarded, and captured again where asked.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use cluster_config::ids::{EncounterId, JourneyId};
use cluster_config::limits::GATE_DEADLINE_MS;
use cluster_config::wire::gate::{Answer, Capture, CaptureDetail, DeviceKind, Directive, ImageKind, Sample};
use cluster_config::wire::peer::Person;
use node_link::client::ClientError;
use node_link::{GateClient, GateClientOptions, Identity};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::clock;
use crate::holdings::synthetic::{Population, model};

/// One traveller in fifty is somebody who is not on the manifest.
const STRANGER_EVERY: usize = 50;

/// Captures of one traveller at most; the policy gives up before.
const ATTEMPTS_MAX: u8 = 5;

/// What was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An identification.
    Identify,
    /// A boarding.
    Board,
}

/// Who stood before the camera.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Truth {
    /// The person of this number on the manifest, with so many photographs in holdings.
    Traveller {
        /// Number on the manifest.
        ordinal: u32,
        /// Photographs in holdings.
        photographs: u32,
    },
    /// Nobody of the manifest.
    Stranger,
}

/// One request and what came of it: a client's own history.
#[derive(Debug, Clone)]
pub struct Event {
    /// What was asked.
    pub kind: Kind,
    /// The journey.
    pub journey: JourneyId,
    /// The encounter.
    pub encounter: EncounterId,
    /// Who it was in truth.
    pub truth: Truth,
    /// When it was asked.
    pub asked: Instant,
    /// How long the answer took.
    pub took: Duration,
    /// What was answered; an error says why there was no answer.
    pub answer: Result<Answer, String>,
}

/// A gate and the flight that boards there.
pub struct Gate {
    /// The flight.
    pub journey: JourneyId,
    /// Its people, as on the manifest.
    pub people: Vec<Person>,
    /// Nodes, in the order of this gate's liking.
    pub nodes: Vec<SocketAddr>,
    /// The gate's certificate.
    pub identity: Identity,
    /// Whom the cameras see.
    pub population: Population,
    /// Time between two travellers.
    pub pace: Duration,
    /// Seed of the order in which people come.
    pub seed: u64,
}

impl Gate {
    /// Boards everybody; `progress` counts travellers.
    ///
    /// # Errors
    /// Where no node can be reached to begin with.
    pub async fn board(self, progress: &AtomicU64) -> Result<Vec<Event>, ClientError> {
        let client = GateClient::connect(GateClientOptions::new(self.nodes.clone(), self.identity.clone())).await?;
        let mut generator = ChaCha8Rng::seed_from_u64(self.seed);
        let mut queue: Vec<usize> = (0..self.people.len()).collect();
        for index in (1..queue.len()).rev() {
            queue.swap(index, generator.next_u32() as usize % (index + 1));
        }
        let mut events = Vec::with_capacity(2 * queue.len());
        let mut next = tokio::time::Instant::now();
        for (number, index) in queue.into_iter().enumerate() {
            tokio::time::sleep_until(next).await;
            next += self.pace;
            let person = &self.people[index];
            let truth =
                Truth::Traveller { ordinal: person.manifest_ordinal, photographs: self.population.photographs(person) };
            let captures = |attempt| self.population.capture(person, attempt);
            self.present(&client, &mut generator, truth, captures, &mut events).await;
            if number % STRANGER_EVERY == STRANGER_EVERY / 2 {
                let stranger = self.seed.wrapping_mul(1_000) + number as u64;
                let captures = |_| self.population.stranger(stranger);
                self.present(&client, &mut generator, Truth::Stranger, captures, &mut events).await;
            }
            progress.fetch_add(1, Ordering::Relaxed);
        }
        Ok(events)
    }

    async fn present(
        &self,
        client: &GateClient,
        generator: &mut ChaCha8Rng,
        truth: Truth,
        captures: impl Fn(u64) -> Vec<f32>,
        events: &mut Vec<Event>,
    ) {
        let first = captures(1);
        self.ask(client, generator, Kind::Identify, truth, 1, first.clone(), events).await;
        let mut values = first;
        for attempt in 1..=ATTEMPTS_MAX {
            self.ask(client, generator, Kind::Board, truth, attempt, values, events).await;
            let again = events.last().and_then(|event| event.answer.as_ref().ok());
            if again.is_none_or(|answer| answer.directive != Directive::Recapture) {
                return;
            }
            values = captures(u64::from(attempt) + 1);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one capture has this many sides")]
    async fn ask(
        &self,
        client: &GateClient,
        generator: &mut ChaCha8Rng,
        kind: Kind,
        truth: Truth,
        attempt: u8,
        values: Vec<f32>,
        events: &mut Vec<Event>,
    ) {
        let encounter = EncounterId((u128::from(generator.next_u64()) << 64) | u128::from(generator.next_u64()));
        let capture = Capture {
            encounter,
            journey: self.journey,
            sample: Sample::Template { model: model(), values },
            detail: CaptureDetail {
                device_kind: DeviceKind::GateCamera,
                image_kind: ImageKind::VisibleStill,
                quality: Some(80),
            },
            attempt,
            captured_at: clock::now(),
            deadline_ms: GATE_DEADLINE_MS as u32,
        };
        let asked = Instant::now();
        let answer = match kind {
            Kind::Identify => client.identify(capture).await,
            Kind::Board => client.board(capture).await,
        };
        events.push(Event {
            kind,
            journey: self.journey,
            encounter,
            truth,
            asked,
            took: asked.elapsed(),
            answer: answer.map_err(|error| error.to_string()),
        });
    }
}
