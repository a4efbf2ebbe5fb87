//! A made-up population: the same seed gives the same people on every machine.
//!
//! **Distribution.** Current 512-dimensional face models place photographs of different people near a cosine
//! similarity of 0 and photographs of one person far above it: for ArcFace (Deng et al., arXiv:1801.07698, 2019,
//! figures of the angle distributions of positive and negative pairs) negatives centre at 90 degrees and positives,
//! taken in good light, at about 45 to 55 degrees. Embeddings do not fill their space evenly: their covariance has a
//! decaying spectrum, so that non-mated scores spread wider than the 1/sqrt(512) = 0.044 of even directions.
//!
//! Here coordinate i has variance -ln((i + 1/2)/d), the quantiles of an exponential distribution. The effective
//! dimension (sum of variances squared, over the sum of squared variances) is then d/2, and non-mated scores are close
//! to normal with mean 0 and standard deviation 1/sqrt(d/2) = 0.0625 for d = 512. A photograph is a blend
//! `s * identity + sqrt(1 - s^2) * noise` of unit vectors, its clarity s normal around 0.82 (0.06) for holdings and
//! 0.80 (0.07) for live captures, kept between 0.5 and 0.97: mated scores have a mean of about 0.66 and a standard
//! deviation of about 0.08.

use aws_lc_rs::digest;
use cluster_config::ids::ModelVersion;
use cluster_config::person::Person;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// Numbers in a template of the made-up model, as local clusters have it.
pub const TEMPLATE_DIMS: usize = 512;

/// The name of the made-up model.
pub fn model() -> ModelVersion {
    "synthetic-512-v1".parse().unwrap_or_else(|_| unreachable!("a constant that fits"))
}

/// Mean and standard deviation of the clarity of photographs in holdings.
const HELD_CLARITY: (f64, f64) = (0.82, 0.06);

/// Mean and standard deviation of the clarity of live captures.
const LIVE_CLARITY: (f64, f64) = (0.80, 0.07);

/// People out of a thousand of whom there is no photograph at all (R42, R47).
const WITHOUT_PHOTO_PER_MILLE: u32 = 15;

#[derive(Debug, Clone)]
pub struct Population {
    seed: u64,
    deviations: Vec<f64>,
}

impl Population {
    /// The population of `seed`, with templates of `dims` numbers.
    pub fn new(seed: u64, dims: usize) -> Self {
        let deviations = (0..dims).map(|i| (-((i as f64 + 0.5) / dims as f64).ln()).sqrt()).collect();
        Self { seed, deviations }
    }

    /// A live capture of a person; captures of different numbers differ.
    pub fn capture(&self, person: &Person, number: u64) -> Vec<f32> {
        let key = person_key(person);
        self.photograph(&key, &format!("live/{number}"), LIVE_CLARITY)
    }

    /// A live capture of somebody who is on no manifest and in no holdings.
    pub fn stranger(&self, number: u64) -> Vec<f32> {
        self.photograph(&format!("stranger/{number}"), "live", LIVE_CLARITY)
    }

    /// The templates of all photographs of a person in holdings; none where there is no photograph.
    pub fn held(&self, person: &Person) -> Vec<Vec<f32>> {
        let key = person_key(person);
        let template = |number| self.photograph(&key, &format!("held/{number}"), HELD_CLARITY);
        (0..self.photographs(person)).map(template).collect()
    }

    /// How many photographs there are of a person.
    pub fn photographs(&self, person: &Person) -> u32 {
        let draw = self.generator(&person_key(person), "count").next_u32();
        match draw % 1_000 {
            share if share < WITHOUT_PHOTO_PER_MILLE => 0,
            share if share < 500 => 1,
            share if share < 800 => 2,
            share if share < 920 => 3,
            share if share < 970 => 4,
            share if share < 990 => 5,
            _ => 6,
        }
    }

    fn generator(&self, key: &str, purpose: &str) -> ChaCha8Rng {
        let text = format!("{}\0{key}\0{purpose}", self.seed);
        let mut seed = [0; 32];
        seed.copy_from_slice(digest::digest(&digest::SHA256, text.as_bytes()).as_ref());
        ChaCha8Rng::from_seed(seed)
    }

    fn direction(&self, generator: &mut ChaCha8Rng) -> Vec<f64> {
        let mut values: Vec<f64> = self.deviations.iter().map(|deviation| deviation * normal(generator)).collect();
        let norm = values.iter().map(|v| v * v).sum::<f64>().sqrt();
        values.iter_mut().for_each(|v| *v /= norm);
        values
    }

    fn photograph(&self, key: &str, purpose: &str, clarity: (f64, f64)) -> Vec<f32> {
        let identity = self.direction(&mut self.generator(key, "identity"));
        let mut generator = self.generator(key, purpose);
        let clarity = (clarity.0 + clarity.1 * normal(&mut generator)).clamp(0.5, 0.97);
        let noise = self.direction(&mut generator);
        let blur = (1.0 - clarity * clarity).sqrt();
        let values: Vec<f64> = identity.iter().zip(&noise).map(|(i, n)| clarity * i + blur * n).collect();
        let norm = values.iter().map(|v| v * v).sum::<f64>().sqrt();
        values.iter().map(|v| (v / norm) as f32).collect()
    }
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

/// A standard normal number (Box and Muller, 1958).
fn normal(generator: &mut ChaCha8Rng) -> f64 {
    let uniform = |bits: u64| ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let radius = (-2.0 * uniform(generator.next_u64()).ln()).sqrt();
    radius * (std::f64::consts::TAU * uniform(generator.next_u64())).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn person(ordinal: u32) -> Person {
        Person {
            manifest_ordinal: ordinal,
            family_name: format!("FAMILY{ordinal}"),
            given_names: "GIVEN".into(),
            date_of_birth: Some(19_800_101),
            nationality: None,
            document: None,
            ..Person::default()
        }
    }

    fn moments(scores: &[f64]) -> (f64, f64) {
        let mean = scores.iter().sum::<f64>() / scores.len() as f64;
        let variance = scores.iter().map(|s| (s - mean) * (s - mean)).sum::<f64>() / scores.len() as f64;
        (mean, variance.sqrt())
    }

    fn dot(a: &[f32], b: &[f32]) -> f64 {
        a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
    }

    #[test]
    fn scores_are_distributed_as_stated() {
        let population = Population::new(3, 512);
        let people: Vec<Person> = (1..=300).map(person).collect();
        let held: Vec<_> = people.iter().map(|person| population.held(person)).collect();
        let mut mated = Vec::new();
        let mut others = Vec::new();
        for (index, person) in people.iter().enumerate() {
            let probe = population.capture(person, 1);
            for (other, templates) in held.iter().enumerate() {
                let scores = templates.iter().map(|template| dot(&probe, template));
                if other == index { mated.extend(scores) } else { others.extend(scores) }
            }
        }
        let (mean, deviation) = moments(&others);
        assert!(mean.abs() < 0.005 && (deviation - 0.0625).abs() < 0.006, "non-mated {mean} {deviation}");
        let (mean, deviation) = moments(&mated);
        assert!((mean - 0.66).abs() < 0.02 && (deviation - 0.08).abs() < 0.02, "mated {mean} {deviation}");
    }

    #[test]
    fn the_same_seed_gives_the_same_people() {
        let one = Population::new(3, 512).capture(&person(1), 1);
        assert_eq!(one, Population::new(3, 512).capture(&person(1), 1));
        assert_ne!(one, Population::new(4, 512).capture(&person(1), 1));
    }
}
