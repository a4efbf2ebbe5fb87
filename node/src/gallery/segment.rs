//! A segment's content: the people and templates of one shard at one version, and its bytes.
//!
//! Layout: `TVSG`, version (1 byte), length of the head (u32, little endian), head (bincode, in that version),
//! templates (f32, little endian, row after row). The hash of the whole is what the replicated state commits.

use std::sync::Arc;

use aws_lc_rs::{digest, hmac};
use cluster_config::decision::Candidate;
use cluster_config::gallery::GalleryCounts;
use cluster_config::gallery::Segment;
use cluster_config::gallery::ShardId;
use cluster_config::ids::{ContentHash, GalleryVersion, ModelVersion, PersonMark, SubjectId};
use cluster_config::limits::{PEER_FRAME_BYTES_MAX, SHARD_PEOPLE_MAX, SHARD_ROWS_MAX};
use cluster_config::person::Person;
use cluster_config::versions::{Unknown, Version};
use cluster_config::wire::codec;
pub use node_core::roster::Enrolled;
use serde::{Deserialize, Serialize};

const MAGIC: [u8; 4] = *b"TVSG";
const PREFIX_BYTES: usize = 9;

/// Why bytes are not a segment of this shard.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes were changed on their way or on disk.
    #[error("segment {shard} version {version}: its hash is not the one announced")]
    Hash { shard: ShardId, version: GalleryVersion },
    /// The layout does not hold.
    #[error("segment at byte {position}: {problem}")]
    Layout { position: usize, problem: String },
    /// A later release has written it.
    #[error("segment at byte 4: {0}")]
    Version(Unknown),
    /// A template cannot be searched.
    #[error("segment's templates are refused")]
    Templates(#[source] shaders::Error),
}

impl Error {
    /// What who gave the bytes, or asked for them, can do.
    pub fn fix(&self) -> &'static str {
        match self {
            Self::Hash { .. } | Self::Layout { .. } => "fetch it again",
            Self::Version(_) => Unknown::FIX,
            Self::Templates(error) => error.fix(),
        }
    }
}

/// Everything but the templates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub shard: ShardId,
    pub version: GalleryVersion,
    /// The model that made the templates.
    pub model: ModelVersion,
    /// Numbers in a template.
    pub dims: u32,
    /// The manifest that it was built from.
    pub manifest: ContentHash,
    /// The whole list on which everybody who stands on it stands at their number; zero where there is none.
    pub numbered_by: ContentHash,
    /// The key of the marks of its people; the same in all versions.
    pub mark_key: [u8; 32],
    pub people: Vec<Enrolled>,
    /// People of earlier versions who are not expected any more. They have no templates; their subject ids are kept for
    /// when they come back, so that nobody ever has two to board with (P1).
    pub left: Vec<Enrolled>,
    /// For each template, the index of its person in `people`.
    pub owners: Vec<u32>,
}

impl Head {
    /// Templates of all people.
    pub fn rows(&self) -> u32 {
        self.owners.len() as u32
    }

    /// How much is in it.
    pub fn counts(&self) -> GalleryCounts {
        let people = self.people.len() as u32;
        GalleryCounts { people, rows: self.rows(), without_photo: self.without_photo() }
    }

    /// People without any template.
    pub fn without_photo(&self) -> u32 {
        let mut has = vec![false; self.people.len()];
        for owner in &self.owners {
            if let Some(has) = has.get_mut(*owner as usize) {
                *has = true;
            }
        }
        has.iter().filter(|has| !**has).count() as u32
    }
}

/// A segment that can be searched.
pub struct Loaded {
    /// Everything but the templates.
    pub head: Head,
    /// Hash of the segment's bytes.
    pub hash: ContentHash,
    /// The templates.
    pub gallery: Arc<shaders::Gallery>,
    /// For each template the row of the gallery, in ascending order.
    rows: Vec<u32>,
    /// What stands for each of the people in the ledger.
    marks: Vec<PersonMark>,
}

impl Loaded {
    /// The templates, each with the index of its person.
    pub fn templates(&self) -> impl Iterator<Item = (usize, &[f32])> {
        self.head.owners.iter().zip(&self.rows).map(|(owner, row)| (*owner as usize, self.gallery.row(*row as usize)))
    }

    /// What stands for each of the people in the ledger, in their order.
    pub fn marks(&self) -> &[PersonMark] {
        &self.marks
    }

    /// The person behind a template, with its score.
    pub fn candidate(&self, hit: &shaders::Hit) -> Option<Candidate> {
        let owner = *self.head.owners.get(self.rows.binary_search(&hit.row).ok()?)?;
        let enrolled = self.head.people.get(owner as usize)?;
        Some(Candidate {
            subject: enrolled.subject,
            mark: *self.marks.get(owner as usize)?,
            manifest_ordinal: enrolled.person.manifest_ordinal,
            score: hit.score,
            in_scope: enrolled.in_scope,
        })
    }
}

/// A gallery's roster: the segment without the templates.
///
/// # Errors
/// As [`encode`].
pub fn roster(head: &Head, version: Version) -> Result<Segment, codec::Error> {
    encode(&Head { owners: Vec::new(), ..head.clone() }, &[], version)
}

/// Those of a gallery who stay, with their templates, as shard `apart`. Nothing is left of anybody else, and nothing by
/// which the ledger could be read: no number of who has left, and no key of marks.
///
/// # Errors
/// As [`encode`].
pub fn apart(
    loaded: &Loaded,
    apart: ShardId,
    stays: impl Fn(&Person) -> bool,
    version: Version,
) -> Result<Segment, codec::Error> {
    let (mut places, mut people) = (vec![None; loaded.head.people.len()], Vec::new());
    for (index, enrolled) in loaded.head.people.iter().enumerate().filter(|(_, who)| stays(&who.person)) {
        places[index] = Some(people.len() as u32);
        people.push(enrolled.clone());
    }
    let (mut owners, mut values) = (Vec::new(), Vec::new());
    for (index, template) in loaded.templates() {
        if let Some(place) = places[index] {
            owners.push(place);
            values.extend_from_slice(template);
        }
    }
    let (left, mark_key) = (Vec::new(), [0; 32]);
    encode(&Head { shard: apart, mark_key, people, left, owners, ..loaded.head.clone() }, &values, version)
}

/// SHA-256 of `bytes`.
pub fn hash(bytes: &[u8]) -> ContentHash {
    let mut hash = [0; 32];
    hash.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    ContentHash(hash)
}

/// Writes a segment in a version, the cluster's: any member may come to hold it.
///
/// # Errors
/// Where the head does not encode: a fault of ours.
pub fn encode(head: &Head, templates: &[f32], version: Version) -> Result<Segment, codec::Error> {
    let encoded = codec::encode_as(head, version, PEER_FRAME_BYTES_MAX)?;
    let mut bytes = Vec::with_capacity(PREFIX_BYTES + encoded.len() + size_of_val(templates));
    bytes.extend_from_slice(&MAGIC);
    bytes.push(version.0);
    bytes.extend_from_slice(&(encoded.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&encoded);
    for value in templates {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    Ok(Segment { shard: head.shard, version: head.version, hash: hash(&bytes), bytes })
}

/// Reads and checks a segment: its hash, its layout, every template. With what this node has of the version before,
/// what stays is shared with that, in memory and on a device: one more traveller costs nobody else a new packing.
///
/// # Errors
/// [`Error`] with the place.
pub fn decode(segment: &Segment, before: Option<&Loaded>) -> Result<Loaded, Error> {
    let bytes = &segment.bytes;
    let layout = |position, problem: String| Error::Layout { position, problem };
    if hash(bytes) != segment.hash {
        return Err(Error::Hash { shard: segment.shard, version: segment.version });
    }
    if bytes.len() < PREFIX_BYTES || bytes[..4] != MAGIC {
        return Err(layout(0, "not a segment".to_owned()));
    }
    let version = Version(bytes[4]).check().map_err(Error::Version)?;
    let head_bytes = u32::from_le_bytes([bytes[5], bytes[6], bytes[7], bytes[8]]) as usize;
    let Some(head_end) = PREFIX_BYTES.checked_add(head_bytes).filter(|end| *end <= bytes.len()) else {
        return Err(layout(5, format!("a head of {head_bytes} bytes in {} bytes", bytes.len())));
    };
    let head: Head = codec::decode_as(&bytes[PREFIX_BYTES..head_end], version, PEER_FRAME_BYTES_MAX)
        .map_err(|error| layout(PREFIX_BYTES, error.to_string()))?;
    if head.shard != segment.shard || head.version != segment.version {
        let problem = format!("{} version {} in place of {segment:?}", head.shard, head.version);
        return Err(layout(PREFIX_BYTES, problem));
    }
    let rows = head.owners.len();
    if head.people.len().max(head.left.len()) > SHARD_PEOPLE_MAX || rows > SHARD_ROWS_MAX {
        return Err(layout(PREFIX_BYTES, format!("{} people and {rows} templates", head.people.len())));
    }
    if let Some(row) = head.owners.iter().position(|owner| *owner as usize >= head.people.len()) {
        return Err(layout(PREFIX_BYTES, format!("template {row} belongs to nobody")));
    }
    let templates = &bytes[head_end..];
    if templates.len() != rows * head.dims as usize * 4 {
        return Err(layout(head_end, format!("{} bytes of templates for {rows} rows", templates.len())));
    }
    let values: Vec<f32> = templates.chunks_exact(4).map(|c| f32::from_le_bytes([c[0], c[1], c[2], c[3]])).collect();
    let (gallery, rows) = match before.filter(|before| before.head.dims == head.dims) {
        Some(before) => before.gallery.turned_into(&values),
        None => shaders::Gallery::new(head.dims as usize, values).map(|gallery| (gallery, (0..rows as u32).collect())),
    }
    .map_err(Error::Templates)?;
    let key = hmac::Key::new(hmac::HMAC_SHA256, &head.mark_key);
    let marks = head.people.iter().map(|enrolled| mark(&key, enrolled.subject)).collect();
    Ok(Loaded { head, hash: segment.hash, gallery: Arc::new(gallery), rows, marks })
}

/// The first half of HMAC-SHA256 (FIPS 198-1) of a subject id.
fn mark(key: &hmac::Key, subject: SubjectId) -> PersonMark {
    let tag = hmac::sign(key, &subject.0.to_be_bytes());
    let mut first = [0; 16];
    first.copy_from_slice(&tag.as_ref()[..16]);
    PersonMark(first)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use cluster_config::gallery::{GalleryId, Modality};
    use cluster_config::person::Document;
    use cluster_config::versions::golden::Golden;

    use super::*;

    /// R117: of a citizen nothing is left in what is kept of a closed journey.
    #[test]
    fn those_who_stay_are_put_apart_with_their_templates_and_nobody_else_is() {
        let model: ModelVersion = "model-1".parse().expect("a model");
        let gallery = GalleryId::passengers("AA1-20270115-JFK".parse().expect("a journey"));
        let shard = ShardId { gallery, modality: Modality::Face, model, part: 0 };
        let enrolled = |number: u32| {
            let person = Person { manifest_ordinal: number, family_name: format!("F{number}"), ..Person::default() };
            Enrolled { subject: SubjectId(number.into()), person, in_scope: true, is_unsure: false }
        };
        let head = Head {
            shard,
            version: GalleryVersion(2),
            model,
            dims: 128,
            manifest: ContentHash([1; 32]),
            numbered_by: ContentHash([2; 32]),
            mark_key: [9; 32],
            people: [1, 2, 3].map(enrolled).to_vec(),
            left: vec![enrolled(4)],
            owners: vec![0, 1, 1, 2],
        };
        let row = |place: usize| std::array::from_fn::<f32, 128, _>(|column| f32::from(u8::from(column == place)));
        let values: Vec<f32> = (0..4).flat_map(row).collect();
        let whole = decode(&encode(&head, &values, Version::CURRENT).expect("a segment"), None).expect("it reads");
        let kept = shard.kept().expect("a journey's");
        let stays = |person: &Person| person.manifest_ordinal != 1;
        let kept = decode(&apart(&whole, kept, stays, Version::CURRENT).expect("a segment"), None).expect("it reads");
        assert_eq!(kept.head.people, [2, 3].map(enrolled));
        let templates: Vec<(usize, Vec<f32>)> = kept.templates().map(|(who, row)| (who, row.to_vec())).collect();
        assert_eq!(templates, [(0, row(1).to_vec()), (0, row(2).to_vec()), (1, row(3).to_vec())]);
        assert!(kept.head.left.is_empty() && kept.head.mark_key == [0; 32], "nothing by which the ledger is read");
    }

    /// P13: a segment lies on disks and travels between releases.
    #[test]
    fn a_segment_has_the_bytes_that_are_written_down() {
        let model: ModelVersion = "model-1".parse().expect("a model");
        let gallery = GalleryId::passengers("AA1-20270115-JFK".parse().expect("a journey"));
        let person = Person {
            manifest_ordinal: 1,
            family_name: "OAKLEY".to_owned(),
            given_names: "ANN".to_owned(),
            date_of_birth: Some(19_800_131),
            nationality: Some("GBR".to_owned()),
            document: Some(Document { kind: "P".into(), number: "X1".into(), issuing_state: None }),
            other_documents: vec![Document {
                kind: "V".into(),
                number: "X2".into(),
                issuing_state: Some("USA".into()),
            }],
            reference: Some("R7".to_owned()),
        };
        let enrolled = Enrolled { subject: SubjectId(7), person, in_scope: true, is_unsure: false };
        let head = Head {
            shard: ShardId { gallery, modality: Modality::Face, model, part: 0 },
            version: GalleryVersion(2),
            model,
            dims: 4,
            manifest: ContentHash([1; 32]),
            numbered_by: ContentHash([2; 32]),
            mark_key: [9; 32],
            people: vec![enrolled.clone()],
            left: vec![enrolled],
            owners: vec![0],
        };
        let written = |version| encode(&head, &[1.0, 0.0, 0.0, 0.0], version).expect("a segment");
        let mut golden = Golden::default();
        golden.add("head", &head);
        for version in Version::understood() {
            golden.add_bytes("segment", version, &written(version).bytes);
        }
        golden.hold(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/gallery"), "golden_segment");

        let mut later = written(Version::CURRENT);
        later.bytes[4] += 1;
        later.hash = hash(&later.bytes);
        let error = decode(&later, None).map(|_| ()).expect_err("a later release's").to_string();
        let wanted = format!("segment at byte 4: version {} is not understood here", later.bytes[4]);
        assert!(error.contains(&wanted), "{error}");
    }
}
