//! `tvs device`.

use clap::{Args, Subcommand};
use cluster_config::device::{Device, DeviceKind, Ownership, Place, Registered, Touchpoint};
use cluster_config::ids::{DeviceId, OwnerName, PlaceName, PortCode};
use cluster_config::wire::operator::{Request, Response};

use super::connect::{Connection, out_of_turn};
use super::{Failure, output};

#[derive(Subcommand)]
pub enum Command {
    /// Register devices that stand at one place: an unregistered gate is refused
    #[command(after_help = "Examples:\n  \
                      tvs device add --node 127.0.0.1:7101 JFK-T4-B32-1 --port JFK --terminal 4 --gate B32 \
                      --owner AA --touchpoint boarding\n  \
                      tvs device add --node 127.0.0.1:7101 LRT-P1 LRT-P2 --port LRT --lane P --owner CBP --agency \
                      --kind egate --touchpoint pedestrian-lane")]
    Add(Added),
    /// List all devices, those that are retired as well
    #[command(after_help = "Example: tvs device list --node 127.0.0.1:7101 --port JFK")]
    List {
        #[command(flatten)]
        connection: Connection,
        /// Only those of this port
        #[arg(long, value_name = "CODE")]
        port: Option<PortCode>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Show one device
    #[command(after_help = "Example: tvs device show --node 127.0.0.1:7101 JFK-T4-B32-1 --json")]
    Show {
        #[command(flatten)]
        connection: Connection,
        /// The device
        device: DeviceId,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take a device out of service: it is refused at once
    #[command(after_help = "Example: tvs device retire --node 127.0.0.1:7101 JFK-T4-B32-1")]
    Retire {
        #[command(flatten)]
        connection: Connection,
        /// The device
        device: DeviceId,
    },
}

/// What is registered.
#[derive(Args)]
pub struct Added {
    #[command(flatten)]
    connection: Connection,
    /// The devices, as their certificates name them
    #[arg(required = true)]
    devices: Vec<DeviceId>,
    /// The port at which they stand
    #[arg(long, value_name = "CODE")]
    port: PortCode,
    /// The terminal
    #[arg(long)]
    terminal: Option<PlaceName>,
    /// The gate
    #[arg(long)]
    gate: Option<PlaceName>,
    /// The lane
    #[arg(long)]
    lane: Option<PlaceName>,
    /// Who owns them
    #[arg(long, value_name = "NAME")]
    owner: OwnerName,
    /// They are the agency's own, not a partner's
    #[arg(long)]
    agency: bool,
    /// gate-camera, egate, handheld or kiosk
    #[arg(long, default_value_t = DeviceKind::GateCamera)]
    kind: DeviceKind,
    /// What their captures are for: check-in, bag-drop, checkpoint, boarding, embarkation, pedestrian-lane,
    /// vehicle-lane, arrival; give several by repeating it
    #[arg(long = "touchpoint", value_name = "TOUCHPOINT", required = true)]
    touchpoints: Vec<Touchpoint>,
}

pub fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Add(added) => {
            let (connection, devices) = added.devices();
            connection.ask(&Request::DeviceAdd(devices))?;
            output::print("done")
        }
        Command::List { connection, port, json } => {
            let Response::Devices(mut devices) = connection.ask(&Request::DeviceList)? else {
                return Err(out_of_turn());
            };
            devices.retain(|known| port.is_none_or(|port| known.device.place.port == port));
            if json { output::json(&devices) } else { output::print(&table(&devices)) }
        }
        Command::Show { connection, device, json } => {
            let Response::Device(known) = connection.ask(&Request::DeviceShow(device))? else {
                return Err(out_of_turn());
            };
            if json { output::json(&known) } else { output::print(&table(&[known])) }
        }
        Command::Retire { connection, device } => {
            connection.ask(&Request::DeviceRetire(device))?;
            output::print("retired; it is refused from now on")
        }
    }
}

impl Added {
    fn devices(self) -> (Connection, Vec<Device>) {
        let Self { connection, devices, port, terminal, gate, lane, owner, agency, kind, touchpoints } = self;
        let place = Place { port, terminal, gate, lane };
        let ownership = if agency { Ownership::Agency } else { Ownership::Partner };
        let touchpoints = touchpoints.into_iter().collect();
        let device = |id| Device { id, place, owner, ownership, kind, touchpoints: Clone::clone(&touchpoints) };
        (connection, devices.into_iter().map(device).collect())
    }
}

fn table(devices: &[Registered]) -> String {
    let mut rows =
        vec![["device", "place", "owner", "whose", "kind", "touchpoints", "in service"].map(String::from).to_vec()];
    for Registered { device, retired, .. } in devices {
        let touchpoints: Vec<&str> = device.touchpoints.iter().map(|touchpoint| touchpoint.as_str()).collect();
        rows.push(vec![
            device.id.to_string(),
            device.place.to_string(),
            device.owner.to_string(),
            device.ownership.to_string(),
            device.kind.to_string(),
            touchpoints.join("+"),
            if retired.is_some() { "retired" } else { "yes" }.to_owned(),
        ]);
    }
    output::table(&rows)
}
