//! The cluster as one node sees it.

use cluster_config::wire::operator::{ClusterStatus, MemberStatus};
use coordinator::Coordinator;
use coordinator_core::placement::{Inventory, Placement};

/// The status of the `cluster`, from a node that scores with this `engine`. Only a leader knows by its `inventory` how
/// long members have been silent, and whether what they hold is all that they should.
pub fn status(cluster: String, engine: String, coordinator: &Coordinator, inventory: &Inventory) -> ClusterStatus {
    let me = coordinator.node_id();
    let voters = coordinator.voters();
    let leader = coordinator.leader();
    let leads = leader == Some(me);
    let (term, applied_index) = (coordinator.term(), coordinator.applied_index().unwrap_or(0));
    coordinator.with_state(|state| {
        let blueprint = state.blueprint();
        let replicated = blueprint.iter().filter(|(shard, placement)| {
            let committed = state.part(*shard).map(|part| part.version).unwrap_or_default();
            let holds = |node| inventory.is_alive(node) && inventory.version(node, *shard) >= committed;
            committed.0 > 0 && placement.replicas().all(holds)
        });
        let placed = |holds: &dyn Fn(&Placement) -> bool| blueprint.iter().filter(|(_, p)| holds(p)).count() as u32;
        ClusterStatus {
            cluster,
            version: coordinator.version(),
            node: me,
            leader,
            term,
            applied_index,
            time: state.clock().now(),
            generation: blueprint.generation(),
            engine,
            members: state
                .members()
                .iter()
                .map(|member| {
                    let id = member.member.id;
                    MemberStatus {
                        member: member.member.clone(),
                        voter: voters.contains(&id),
                        draining: member.draining,
                        version: member.version,
                        silent_ms: leads.then(|| inventory.silent_ms(id)),
                        troubles: if leads { inventory.troubles(id).to_vec() } else { Vec::new() },
                        owner_of: placed(&|p| p.owner == id),
                        standby_of: placed(&|p| p.standbys.contains(&id)),
                    }
                })
                .collect(),
            journeys: state.journeys().open() as u32,
            shards: blueprint.len() as u32,
            shards_replicated: leads.then(|| replicated.count() as u32),
            ledger_records: state.ledger().len(),
        }
    })
}
