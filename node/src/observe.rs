//! Logs and metrics of a process.

use std::time::Duration;

use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::EnvFilter;

/// What nodes log where `TVS_LOG` says nothing. openraft tells of each heartbeat that a dead peer does not answer; its
/// elections and faults show in this node's own lines.
pub const NODE_LOGS: &str = "info,openraft=error";

/// How often histograms are drained, so that they stay small between two readings.
const UPKEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The process has metrics already.
#[derive(Debug, thiserror::Error)]
#[error("metrics: {0}")]
pub struct Error(#[from] metrics::SetRecorderError<metrics_exporter_prometheus::PrometheusRecorder>);

/// Writes logs to standard error; `TVS_LOG` chooses what (the syntax of `tracing_subscriber::EnvFilter`).
pub fn install_logs(default: &str) {
    let filter = EnvFilter::try_from_env("TVS_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let installed = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .try_init();
    if let Err(error) = installed {
        eprintln!("logs were set up before: {error}");
    }
}

/// Installs the process's metrics.
///
/// # Errors
/// Where they were installed before.
pub fn install_metrics() -> Result<PrometheusHandle, Error> {
    let recorder = PrometheusBuilder::new().build_recorder();
    let handle = recorder.handle();
    metrics::set_global_recorder(recorder)?;
    Ok(handle)
}

/// Keeps the metrics small; never ends.
pub async fn upkeep(handle: PrometheusHandle) {
    loop {
        tokio::time::sleep(UPKEEP_INTERVAL).await;
        handle.run_upkeep();
    }
}
