//! Bare quinn streams of the same sizes between the same two kinds of process: what the transport alone costs.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use clap::Args;
use node_link::endpoint::SERVER_NAME;
use node_link::{Identity, bind, bind_client};

use super::Failure;
use super::stage::Stage;
use crate::cli::connect::{block_on, identity};

/// Longest message read.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The serving side.
#[derive(Args)]
pub struct Arguments {
    /// Folder with ca.pem and the certificates
    #[arg(long, value_name = "DIR")]
    certs: PathBuf,
    /// Name of the certificate to use
    #[arg(long = "as", value_name = "NAME")]
    name: String,
    /// Bytes of an answer
    #[arg(long)]
    answer_bytes: usize,
}

/// Serves until it is killed; its address is the first line that it prints.
pub fn run(arguments: &Arguments) -> Result<(), Failure> {
    let identity = identity(&arguments.certs, &arguments.name)?;
    let answer = vec![7; arguments.answer_bytes];
    block_on(async {
        let endpoint = bind(([127, 0, 0, 1], 0).into(), &identity).map_err(|error| Failure::failure_of(&error))?;
        let address = endpoint.local_addr().map_err(|error| Failure::failure_of(&error))?;
        crate::cli::output::print(&address.to_string())?;
        while let Some(incoming) = endpoint.accept().await {
            tokio::spawn(serve(incoming, answer.clone()));
        }
        Ok(())
    })
}

async fn serve(incoming: quinn::Incoming, answer: Vec<u8>) {
    let Ok(connection) = incoming.await else { return };
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
pub struct Echo {
    child: Child,
    connections: Vec<(quinn::Endpoint, quinn::Connection)>,
}

impl Echo {
    /// Starts the process and connects, each connection from an endpoint of its own as gates have it.
    pub async fn start(
        stage: &Stage,
        gate: &Identity,
        connections: usize,
        answer_bytes: usize,
    ) -> Result<Self, Failure> {
        let mut child = Command::new(&stage.binary)
            .args(["bench", "echo", "--as", "node-1", "--answer-bytes", &answer_bytes.to_string(), "--certs"])
            .arg(stage.cluster.certs())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| Failure::failure_of(&error))?;
        let mut line = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut line).map_err(|error| Failure::failure_of(&error))?;
        }
        let mut echo = Self { child, connections: Vec::new() };
        let address: SocketAddr =
            line.trim().parse().map_err(|_| Failure::failed("the echo process did not name its address"))?;
        for _ in 0..connections {
            let endpoint = bind_client(address, gate).map_err(|error| Failure::failure_of(&error))?;
            let connecting = endpoint.connect(address, SERVER_NAME).map_err(|error| Failure::failure_of(&error))?;
            let connection = connecting.await.map_err(|error| Failure::failure_of(&error))?;
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
pub async fn call(connection: &quinn::Connection, request: &[u8]) -> Result<(), String> {
    let (mut send, mut receive) = connection.open_bi().await.map_err(|error| error.to_string())?;
    send.write_all(request).await.map_err(|error| error.to_string())?;
    send.finish().map_err(|error| error.to_string())?;
    receive.read_to_end(MESSAGE_BYTES_MAX).await.map_err(|error| error.to_string())?;
    Ok(())
}
