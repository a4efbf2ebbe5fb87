//! What operators read of journeys and of the ledger.

use cluster_config::gallery::GalleryId;
use cluster_config::ids::{DeviceId, JourneyId};
use cluster_config::journey::JourneyStatus;
use cluster_config::wire::operator::{Gallery, LedgerPage, LedgerRecord, Receipt, Shard};
use cluster_config::wire::{Refusal, RefusalCode};
use coordinator::Coordinator;
use coordinator_core::State;
use coordinator_core::ledger::{CHUNK_RECORDS, Place};

use crate::gallery::directory::Directory;
use crate::group::chunks::ChunkFiles;

/// Records in one page at most: a page stays far below the operators' frame.
const PAGE_RECORDS_MAX: u32 = 10_000;

/// The refusal of a journey that is not known.
pub fn unknown(id: JourneyId) -> Refusal {
    let fix = "see `tvs gallery list` for the journeys";
    Refusal::new(RefusalCode::NotFound, format!("journey {id}"), "it is not known", fix)
}

/// The refusal of a device that is not known.
pub fn unknown_device(id: DeviceId) -> Refusal {
    let fix = "see `tvs device list` for the devices";
    Refusal::new(RefusalCode::NotFound, format!("device {id}"), "it is not known", fix)
}

/// The gallery of a journey's passengers; absent where the journey is not known.
pub fn gallery(directory: &Directory, state: &State, id: JourneyId) -> Option<Gallery> {
    let (plan, committed) = (state.journeys().get(id)?, state.passengers(id)?);
    let shards = state.galleries().shards(GalleryId::passengers(id)).map(|(shard, part)| {
        let placement = state.placement(shard);
        let receipts = part.receipts.iter();
        Shard {
            shard,
            version: part.version,
            hash: part.hash,
            people: part.counts.people,
            rows: part.counts.rows,
            without_photo: part.counts.without_photo,
            epoch: placement.map(|p| p.epoch).unwrap_or_default(),
            owner: placement.map(|p| p.owner),
            standbys: placement.map(|p| p.standbys.clone()).unwrap_or_default(),
            rosters: placement.map(|p| p.rosters.clone()).unwrap_or_default(),
            holders: part.holders.iter().copied().collect(),
            keepers: part.keepers.iter().copied().collect(),
            receipts: receipts.map(|(node, r)| Receipt { node: *node, at: r.at, attested: r.attested }).collect(),
            memory_bytes: directory.serving(shard).map(|serving| serving.loaded.gallery.bytes_resident() as u64),
        }
    });
    let is_counted = !matches!(committed.status(), JourneyStatus::Announced | JourneyStatus::Building);
    Some(Gallery {
        journey: plan.id,
        carrier: plan.carrier.clone(),
        number: plan.number.clone(),
        departure_port: plan.departure_port,
        arrival_port: plan.arrival_port,
        departs_at: plan.departs_at,
        status: committed.status(),
        next: state.next_status(id),
        people: if is_counted { committed.counts().people } else { plan.people },
        boarded: state.boardings(plan.id),
        shards: shards.collect(),
    })
}

/// Records of the ledger from a position on, those in files included; a page ends where a file does.
///
/// # Errors
/// Where a file is not here and cannot be fetched.
pub async fn page(
    coordinator: &Coordinator,
    chunks: &ChunkFiles,
    from: u64,
    limit: u32,
) -> Result<LedgerPage, Refusal> {
    let limit = limit.min(PAGE_RECORDS_MAX) as usize;
    let sealed = coordinator.with_state(|state| match state.ledger().place(from) {
        Some(Place::Sealed(chunk, line)) => Some((chunk, line)),
        Some(Place::Here(_)) | None => None,
    });
    let (records, next): (Vec<LedgerRecord>, u64) = match sealed {
        None => coordinator.with_state(|state| {
            let here = (from..).take(limit).map_while(|at| state.ledger().get(at).map(|record| record.exported(at)));
            let records: Vec<LedgerRecord> = here.collect();
            let next = from + records.len() as u64;
            (records, next)
        }),
        Some((chunk, line)) => {
            let first = chunk * CHUNK_RECORDS as u64;
            let end = first + CHUNK_RECORDS as u64;
            // Of a chunk whose time is over there are no records any more.
            let all = if line.is_removed { Vec::new() } else { chunks.records(chunk, line).await? };
            let wanted = (first..).zip(&all).skip((from - first) as usize).take(limit);
            let records: Vec<LedgerRecord> = wanted.map(|(at, record)| record.exported(at)).collect();
            let next = if line.is_removed { end } else { from + records.len() as u64 };
            (records, next)
        }
    };
    let len = coordinator.with_state(|state| state.ledger().len());
    Ok(LedgerPage { records, next: (next < len).then_some(next) })
}
