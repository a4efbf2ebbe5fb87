//! How commands about devices are applied.

use std::collections::BTreeSet;

use cluster_config::device::{Device, Registered};
use cluster_config::ids::{DeviceId, UnixMs};
use cluster_config::limits::{DEVICES_AT_ONCE_MAX, DEVICES_MAX};
use cluster_config::wire::{Fix, Refusal, RefusalCode};

use super::command::Command;
use super::state::Devices;
use crate::outcome::Outcome;
use crate::state::State;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

pub(crate) fn apply(state: &mut State, command: &Command, at: UnixMs) -> Outcome {
    match command {
        Command::Register(devices) => match state.devices.register(devices, at) {
            Ok(()) => Outcome::Done,
            Err(refusal) => Outcome::Refused(refusal),
        },
        Command::Retire(device) => state.devices.retire(*device, at),
        Command::Forget => {
            let kept_ms = u64::from(state.policy.retention.retired_device_days) * DAY_MS;
            let before = UnixMs(state.clock.now().0.saturating_sub(kept_ms));
            state.devices.0.retain(|_, known| known.retired.is_none_or(|retired| retired > before));
            Outcome::Done
        }
    }
}

impl State {
    /// Whether a device was retired so long ago that nobody asks any more.
    pub(crate) fn has_forgotten_device(&self) -> bool {
        let kept_ms = u64::from(self.policy.retention.retired_device_days) * DAY_MS;
        let mut retired = self.devices.iter().filter_map(|known| known.retired);
        retired.any(|retired| retired.0.saturating_add(kept_ms) <= self.clock.now().0)
    }
}

impl Devices {
    fn register(&mut self, devices: &[Device], at: UnixMs) -> Result<(), Refusal> {
        if devices.len() > DEVICES_AT_ONCE_MAX {
            let problem = format!("{} are too many at once", devices.len());
            let fix = Fix::with(format!("register {DEVICES_AT_ONCE_MAX} at most"));
            return Err(Refusal::new(RefusalCode::TooLarge, "devices", problem, fix));
        }
        devices.iter().try_for_each(|device| self.check(device))?;
        let added: Vec<&Device> = devices.iter().filter(|device| !self.serves_as(device)).collect();
        self.make_room(&added)?;
        for device in added {
            self.0.insert(device.id, Registered { device: device.clone(), since: at, retired: None });
        }
        Ok(())
    }

    /// Forgets those that were retired longest ago, where there are too many.
    fn make_room(&mut self, added: &[&Device]) -> Result<(), Refusal> {
        let new: BTreeSet<DeviceId> = added.iter().map(|device| device.id).collect();
        let count = self.len() + new.iter().filter(|id| self.get(**id).is_none()).count();
        if count <= DEVICES_MAX {
            return Ok(());
        }
        let others = self.0.values().filter(|known| !new.contains(&known.device.id));
        let retired = others.filter_map(|known| Some((known.retired?, known.device.id)));
        let forgotten: Vec<(UnixMs, DeviceId)> =
            retired.collect::<BTreeSet<_>>().into_iter().take(count - DEVICES_MAX).collect();
        if count - forgotten.len() > DEVICES_MAX {
            let problem = format!("{DEVICES_MAX} are in service, and no more can be");
            let fix = "retire some with `tvs device retire`";
            return Err(Refusal::new(RefusalCode::TooLarge, "devices", problem, fix));
        }
        for (_, id) in forgotten {
            self.0.remove(&id);
        }
        Ok(())
    }

    /// Whether it is in service as it is described.
    fn serves_as(&self, device: &Device) -> bool {
        self.get(device.id).is_some_and(|known| known.retired.is_none() && known.device == *device)
    }

    fn check(&self, device: &Device) -> Result<(), Refusal> {
        let place = format!("device {}", device.id);
        if device.touchpoints.is_empty() {
            let fix = "give one touchpoint at least, such as boarding";
            return Err(Refusal::new(RefusalCode::BadValue, place, "its captures are for nothing", fix));
        }
        match self.get(device.id).filter(|known| known.retired.is_none() && known.device != *device) {
            Some(known) => {
                let problem = format!("it is in service otherwise, at {}", known.device.place);
                let fix = Fix::with(format!("retire it first with `tvs device retire {}`", device.id));
                Err(Refusal::new(RefusalCode::Conflict, place, problem, fix))
            }
            None => Ok(()),
        }
    }

    fn retire(&mut self, device: DeviceId, at: UnixMs) -> Outcome {
        let Some(known) = self.0.get_mut(&device) else {
            let fix = "see `tvs device list` for the devices";
            return Outcome::refused(RefusalCode::NotFound, format!("device {device}"), "it is not known", fix);
        };
        known.retired = known.retired.or(Some(at));
        Outcome::Done
    }
}
