//! Whether a device may do what it asks for.

use cluster_config::actor::Holder;
use cluster_config::device::Registered;
use cluster_config::rights::Ask;
use cluster_config::wire::{Fix, Refusal, RefusalCode};

use super::state::Devices;

/// Why a device is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unfit {
    /// It is not known, as far as this state goes, which may be behind.
    Unknown(Refusal),
    /// It is known, and may not.
    Refused(Refusal),
}

impl Unfit {
    /// What the device is told. A node whose state is not known to be `up_to_date` sends it to the next one.
    pub fn into_refusal(self, up_to_date: bool) -> Refusal {
        match self {
            Self::Unknown(refusal) if !up_to_date => {
                let problem = format!("{}, by a state that may be an old one", refusal.problem);
                Refusal::new(RefusalCode::Unavailable, refusal.place, problem, "ask another node")
            }
            Self::Unknown(refusal) | Self::Refused(refusal) => refusal,
        }
    }
}

/// Judges a request of the device whose certificate this is.
///
/// # Errors
/// [`Unfit`]: it is not registered, retired, stands elsewhere, or its captures are for something else.
pub fn judge(devices: &Devices, holder: &Holder, ask: Ask) -> Result<(), Unfit> {
    let id = holder.actor.name;
    let place = format!("device {id}");
    let port = holder.port.map_or("CODE".to_owned(), |port| port.to_string());
    let register = format!("`tvs device add {id} --port {port} --owner NAME --touchpoint boarding`");
    let Some(Registered { device, retired, .. }) = devices.get(id) else {
        let fix = Fix::with(format!("register it with {register}"));
        let refusal = Refusal::new(RefusalCode::NotRegistered, place, "it is not registered", fix);
        return Err(Unfit::Unknown(refusal));
    };
    let refuse = |code, problem, fix| Err(Unfit::Refused(Refusal::new(code, place.clone(), problem, Fix::with(fix))));
    if retired.is_some() {
        let fix = format!("give it a name of its own, or register it again with {register}");
        return refuse(RefusalCode::NotRegistered, "it is retired".to_owned(), fix);
    }
    if holder.port != Some(device.place.port) {
        let problem = format!("its certificate names port {port}, and it stands at {}", device.place);
        let fix = format!("issue it again with `tvs certs gate --name {id} --port {}`", device.place.port);
        return refuse(RefusalCode::WrongRole, problem, fix);
    }
    if ask == Ask::Board && !device.touchpoints.iter().any(|touchpoint| touchpoint.is_boarding()) {
        let fix = format!("retire it, and register it again with {register}");
        return refuse(RefusalCode::WrongRole, "nobody boards at its touchpoints".to_owned(), fix);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use cluster_config::device::{Device, DeviceKind, Ownership, Place, Touchpoint};
    use cluster_config::ids::{DeviceId, UnixMs};

    use super::super::command::Command;
    use super::*;
    use crate::State;
    use crate::devices::apply;
    use crate::outcome::Outcome;

    fn device(name: &str, port: &str, touchpoint: Touchpoint) -> Device {
        Device {
            id: name.parse().expect("a name"),
            place: Place { port: port.parse().expect("a port"), terminal: None, gate: None, lane: None },
            owner: "AA".parse().expect("a name"),
            ownership: Ownership::Partner,
            kind: DeviceKind::GateCamera,
            touchpoints: BTreeSet::from([touchpoint]),
        }
    }

    fn judged(state: &State, holder: &str, ask: Ask) -> Result<(), RefusalCode> {
        let judged = judge(state.devices(), &holder.parse().expect("a holder"), ask);
        judged.map_err(|unfit| unfit.into_refusal(true).code)
    }

    #[test]
    fn a_device_acts_where_it_is_registered_and_for_what_and_not_once_it_is_retired() {
        let mut state = State::default();
        let register = Command::Register(vec![
            device("G1", "JFK", Touchpoint::Boarding),
            device("K1", "JFK", Touchpoint::CheckIn),
        ]);
        assert_eq!(apply(&mut state, &register, UnixMs(1)), Outcome::Done);
        assert_eq!(apply(&mut state, &register, UnixMs(2)), Outcome::Done, "a repeat is no error");
        let id: DeviceId = "G1".parse().expect("a name");
        assert_eq!(state.devices().get(id).map(|known| known.since), Some(UnixMs(1)));
        assert_eq!(judged(&state, "tvs://gate/G1?port=JFK", Ask::Board), Ok(()));
        assert_eq!(judged(&state, "tvs://gate/G2?port=JFK", Ask::GateHello), Err(RefusalCode::NotRegistered));
        assert_eq!(judged(&state, "tvs://gate/G1?port=MIA", Ask::Identify), Err(RefusalCode::WrongRole));
        assert_eq!(judged(&state, "tvs://gate/K1?port=JFK", Ask::Identify), Ok(()));
        assert_eq!(judged(&state, "tvs://gate/K1?port=JFK", Ask::Board), Err(RefusalCode::WrongRole));
        assert_eq!(apply(&mut state, &Command::Retire(id), UnixMs(3)), Outcome::Done);
        assert_eq!(judged(&state, "tvs://gate/G1?port=JFK", Ask::GateHello), Err(RefusalCode::NotRegistered));
        assert_eq!(apply(&mut state, &register, UnixMs(4)), Outcome::Done, "it comes back");
        assert_eq!(judged(&state, "tvs://gate/G1?port=JFK", Ask::Board), Ok(()));
    }

    #[test]
    fn devices_are_registered_all_or_none() {
        let mut state = State::default();
        apply(&mut state, &Command::Register(vec![device("G1", "JFK", Touchpoint::Boarding)]), UnixMs(1));
        let others = vec![device("G2", "JFK", Touchpoint::Boarding), device("G1", "MIA", Touchpoint::Boarding)];
        let refused = apply(&mut state, &Command::Register(others), UnixMs(2));
        let is_conflict = |outcome: &Outcome| matches!(outcome, Outcome::Refused(r) if r.code == RefusalCode::Conflict);
        assert!(is_conflict(&refused), "{refused:?}");
        assert_eq!(state.devices().len(), 1);
        let mut idle = device("G3", "JFK", Touchpoint::Boarding);
        idle.touchpoints.clear();
        let refused = apply(&mut state, &Command::Register(vec![idle]), UnixMs(2));
        assert!(matches!(refused, Outcome::Refused(_)));
    }
}
