//! Machines of their own for nodes: network namespaces (network_namespaces(7)) with a cable from each to one switch,
//! where the system permits them. A cable that is pulled and a network card that is switched off are the kernel's own:
//! packets vanish without a relay in between, and calls that send fail with what a real machine would say.
//!
//! The harness enters a namespace of its own first, so that nothing of this is seen outside, and all of it is gone with
//! the processes.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ffi::OsString;
use std::net::Ipv4Addr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use cluster_config::ids::NodeId;
use rustix::thread::{UnshareFlags, unshare_unsafe};

const SWITCH: &str = "tvs-switch";

/// How long a namespace may take to be there.
const READY_IN: Duration = Duration::from_secs(5);

/// Seconds that a namespace is held at most, should nobody be left to end it.
const HELD_S: &str = "7200";

/// The machines, all plugged into one switch. The process that holds a machine's namespace stands for it.
#[derive(Debug, Default)]
pub struct Cables {
    machines: BTreeMap<NodeId, Child>,
}

impl Cables {
    /// Moves the calling thread, and what it starts from now on, into a namespace with nothing but a switch in it. Call
    /// it before any other thread is there.
    ///
    /// # Errors
    /// Why this system does not let us, mostly because only root may.
    pub fn enter() -> Result<(), String> {
        // SAFETY: what this thread shares with others is its memory and files, which stay shared; only the network is
        // another one.
        unsafe { unshare_unsafe(UnshareFlags::NEWNET) }.map_err(|error| format!("a network namespace: {error}"))?;
        run(&format!("ip link add {SWITCH} type bridge"))?;
        run(&format!("ip address add {}/16 dev {SWITCH}", Self::harness()))?;
        run(&format!("ip link set {SWITCH} up"))?;
        run("ip link set lo up")
    }

    /// Where the harness is reached.
    pub fn harness() -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 255, 254)
    }

    /// Where a node's machine is reached.
    pub fn host(node: NodeId) -> Ipv4Addr {
        Ipv4Addr::new(10, 77, 0, node.0 as u8)
    }

    /// Makes a node's machine, where there is none yet, and plugs it in. Gives the words before a command that make it
    /// run there.
    ///
    /// # Panics
    /// Where that fails: [`Cables::enter`] has gone well before.
    pub fn machine(&mut self, node: NodeId) -> Vec<OsString> {
        if let Entry::Vacant(place) = self.machines.entry(node) {
            let held = Command::new("unshare").args(["--net", "sleep", HELD_S]).stdin(Stdio::null()).spawn();
            place.insert(held.expect("unshare, of util-linux"));
            self.furnish(node).expect("a machine's network");
        }
        let target = self.process(node).to_string();
        ["nsenter", "--net", "--target", &target].map(OsString::from).to_vec()
    }

    fn furnish(&self, node: NodeId) -> Result<(), String> {
        let (process, cable) = (self.process(node), cable(node));
        let of = |of: &str| std::fs::read_link(format!("/proc/{of}/ns/net")).map_err(|error| error.to_string());
        let begun = Instant::now();
        while of(&process.to_string())? == of("thread-self")? {
            if begun.elapsed() > READY_IN {
                return Err(format!("process {process} has no namespace after {READY_IN:?}"));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        run(&format!("ip link add {cable} type veth peer name eth0 netns {process}"))?;
        run(&format!("ip link set {cable} master {SWITCH} up"))?;
        self.inside(node, &format!("ip address add {}/16 dev eth0", Self::host(node)))?;
        self.inside(node, "ip link set eth0 up")?;
        self.inside(node, "ip link set lo up")
    }

    fn process(&self, node: NodeId) -> u32 {
        self.machines[&node].id()
    }

    fn inside(&self, node: NodeId, command: &str) -> Result<(), String> {
        run(&format!("nsenter --net --target {} {command}", self.process(node)))
    }

    /// Pulls a node's cable, or plugs it in again.
    ///
    /// # Panics
    /// Where the system refuses.
    pub fn pull(&self, node: NodeId, pulled: bool) {
        run(&format!("ip link set {} {}", cable(node), up(!pulled))).expect("a cable");
    }

    /// Switches the network card of a node's machine off, or on again: its routes go, and calls that send fail.
    ///
    /// # Panics
    /// Where the system refuses.
    pub fn switch_off(&self, node: NodeId, off: bool) {
        self.inside(node, &format!("ip link set eth0 {}", up(!off))).expect("a network card");
    }
}

impl Drop for Cables {
    fn drop(&mut self) {
        for machine in self.machines.values_mut() {
            // It may have ended by itself; its namespace goes with the last process in it.
            let _ = machine.kill();
            let _ = machine.wait();
        }
    }
}

fn cable(node: NodeId) -> String {
    format!("tvs-cable-{node}")
}

fn up(up: bool) -> &'static str {
    if up { "up" } else { "down" }
}

fn run(command: &str) -> Result<(), String> {
    let mut words = command.split(' ');
    let program = words.next().unwrap_or_default();
    let output = Command::new(program).args(words).output().map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{command}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}
