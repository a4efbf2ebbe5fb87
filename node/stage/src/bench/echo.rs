//! Bare quinn streams of the same sizes between the same two kinds of process: what the transport alone costs.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};

use node_link::endpoint::SERVER_NAME;
use node_link::limits::CONNECTION_WINDOW_BYTES;
use node_link::{Identity, bind, bind_client};

use super::scene::Scene;
use crate::Error;

/// Longest message read.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// Serves until the process is killed, with answers of so many bytes; `serving` is told its address.
///
/// # Errors
/// Where this machine gives no socket, and `serving`'s.
pub async fn serve<E: From<Error>>(
    identity: &Identity,
    answer_bytes: usize,
    serving: impl FnOnce(SocketAddr) -> Result<(), E>,
) -> Result<(), E> {
    let endpoint = bind(([127, 0, 0, 1], 0).into(), identity).map_err(Error::failed)?;
    serving(endpoint.local_addr().map_err(Error::failed)?)?;
    let answer = vec![7; answer_bytes];
    while let Some(incoming) = endpoint.accept().await {
        tokio::spawn(answer_all(incoming, answer.clone()));
    }
    Ok(())
}

async fn answer_all(incoming: quinn::Incoming, answer: Vec<u8>) {
    let Ok(connection) = incoming.await else { return };
    connection.set_receive_window(CONNECTION_WINDOW_BYTES.into());
    while let Ok((mut send, mut receive)) = connection.accept_bi().await {
        let answer = answer.clone();
        tokio::spawn(async move {
            receive.read_to_end(MESSAGE_BYTES_MAX).await.ok()?;
            send.write_all(&answer).await.ok()?;
            send.finish().ok()
        });
    }
}

/// A serving process and connections to it.
pub(super) struct Echo {
    child: Child,
    connections: Vec<(quinn::Endpoint, quinn::Connection)>,
}

impl Echo {
    /// Starts the process and connects, each connection from an endpoint of its own as gates have it.
    ///
    /// # Errors
    /// Where the process does not start, or cannot be reached.
    pub(super) async fn start(
        scene: &Scene,
        gate: &Identity,
        connections: usize,
        answer_bytes: usize,
    ) -> Result<Self, Error> {
        let mut child = Command::new(&scene.binary)
            .args(["bench", "echo", "--as", "node-1", "--answer-bytes", &answer_bytes.to_string(), "--certs"])
            .arg(scene.cluster.certs())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(Error::failed)?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line).map_err(Error::failed)?;
        }
        let mut echo = Self { child, connections: Vec::new() };
        let address: SocketAddr =
            line.trim().parse().map_err(|_| Error::Failed("the echo process did not name its address".to_owned()))?;
        for _ in 0..connections {
            let endpoint = bind_client(address, gate).map_err(Error::failed)?;
            let connecting = endpoint.connect(address, SERVER_NAME).map_err(Error::failed)?;
            let connection = connecting.await.map_err(Error::failed)?;
            echo.connections.push((endpoint, connection));
        }
        Ok(echo)
    }

    /// The serving process.
    pub fn process(&self) -> u32 {
        self.child.id()
    }

    /// The connections; clones share them.
    pub fn connections(&self) -> Vec<quinn::Connection> {
        self.connections.iter().map(|(_, connection)| connection.clone()).collect()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // A process that has ended by itself cannot be killed; waiting for it is right in both cases.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One request and its answer.
pub(super) async fn call(connection: &quinn::Connection, request: &[u8]) -> Result<(), String> {
    let (mut send, mut receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
    send.write_all(request).await.map_err(|error| error.to_string())?;
    send.finish().map_err(|error| error.to_string())?;
    receive.read_to_end(MESSAGE_BYTES_MAX).await.map_err(|error| error.to_string())?;
    Ok(())
}
