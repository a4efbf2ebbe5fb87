//! How commands reach a cluster.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use cluster_config::wire::operator::{Request, Response};
use node_link::{Identity, OperatorClient};

use super::Failure;

/// How long a question may take; a manifest takes as long as its galleries.
const TIMEOUT: Duration = Duration::from_secs(130);

/// Where the cluster is, and who asks.
#[derive(Args)]
pub struct Connection {
    /// QUIC endpoint of a node; give several to have others tried
    #[arg(long = "node", value_name = "IP:PORT", required = true)]
    pub nodes: Vec<SocketAddr>,
    /// Folder with ca.pem and the certificates
    #[arg(long, value_name = "DIR", default_value = "certs")]
    pub certs: PathBuf,
    /// Name of the certificate to use: NAME.pem and NAME.key in that folder
    #[arg(long = "as", value_name = "NAME", default_value = "operator")]
    pub name: String,
}

impl Connection {
    /// The identity that the arguments name.
    ///
    /// # Errors
    /// The file that cannot be used.
    pub fn identity(&self) -> Result<Identity, Failure> {
        identity(&self.certs, &self.name)
    }

    /// Asks the cluster one question.
    ///
    /// # Errors
    /// The refusal, or why nobody answered.
    pub fn ask(&self, request: &Request) -> Result<Response, Failure> {
        let identity = self.identity()?;
        block_on(async {
            let client = OperatorClient::connect(self.nodes.clone(), &identity).await?;
            match client.call(request, TIMEOUT).await? {
                Response::Refused(refusal) => Err(refusal.into()),
                response => Ok(response),
            }
        })
    }
}

/// Loads `NAME.pem` and `NAME.key` out of a folder with `ca.pem`.
///
/// # Errors
/// The file that cannot be used.
pub fn identity(certs: &Path, name: &str) -> Result<Identity, Failure> {
    let file = |extension: &str| certs.join(format!("{name}.{extension}"));
    Identity::load(&certs.join("ca.pem"), &file("pem"), &file("key")).map_err(|error| Failure::usage_of(&error))
}

/// Runs a future to its end on a runtime of its own.
///
/// # Errors
/// The future's, or where the system gives no threads.
pub fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failure_of(&error))?;
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(Duration::from_secs(1));
    result
}

/// An answer of a kind that does not belong to the question.
pub fn out_of_turn() -> Failure {
    Failure::failed("the node answered out of turn; check that it runs this version of tvs")
}
