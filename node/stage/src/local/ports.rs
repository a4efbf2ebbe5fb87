//! Ports of nodes on this machine, kept for them while they do not run.

use std::net::{Ipv4Addr, UdpSocket};
use std::ops::Range;

use crate::clock;

/// Ports of nodes: none that a system gives to a socket that asks for any (Linux has 32,768 to 60,999 for these, IANA
/// 49,152 and more), since a client's might get the port of a node that is down.
const PORTS: Range<u16> = 16_384..32_768;

/// How many of them are tried for a free one.
const PORT_TRIES_MAX: usize = 100;

/// Where a socket that holds a port is connected to ("discard", RFC 863): nobody sends from there. The port is taken,
/// and whoever sends something to it is told that nobody listens, as with a process that has died.
const DISCARD: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 9);

/// A port that is free now, and what holds it.
///
/// # Errors
/// Why the last one that was tried is not free.
pub fn free() -> std::io::Result<(u16, UdpSocket)> {
    let mut last = std::io::ErrorKind::AddrInUse.into();
    for _ in 0..PORT_TRIES_MAX {
        let drawn = clock::random_u128().map_err(|_| std::io::ErrorKind::Other)?;
        let port = PORTS.start + (drawn % PORTS.len() as u128) as u16;
        match hold(port) {
            Ok(socket) => return Ok((port, socket)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Takes a port of this machine's loopback.
///
/// # Errors
/// Where somebody has it.
pub fn hold(port: u16) -> std::io::Result<UdpSocket> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, port))?;
    socket.connect(DISCARD)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_port_that_is_held_is_taken_and_tells_senders_that_nobody_listens() {
        let (port, held) = PORTS.map(|port| (port, hold(port))).find(|(_, held)| held.is_ok()).expect("a free port");
        assert_eq!(hold(port).expect_err("it is held").kind(), ErrorKind::AddrInUse);
        let sender = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a socket");
        sender.connect((Ipv4Addr::LOCALHOST, port)).expect("an address");
        sender.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        sender.send(b"anybody?").expect("sent");
        assert_eq!(sender.recv(&mut [0; 8]).expect_err("nobody listens").kind(), ErrorKind::ConnectionRefused);
        drop(held);
        hold(port).expect("it is given back");
    }
}
