//! One connection to one node for one kind of traffic: made when first used, made again when lost.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cluster_config::ids::NodeId;
use quinn::Connection;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{CONNECT_TIMEOUT, PeerLinks};
use crate::codes::{CODE_DONE, CODE_IDENTITY};
use crate::error::LinkError;
use crate::exchange::{Made, connect};
use crate::pause::jittered;

/// First pause after a failed connection, doubled up to [`BACK_OFF_MAX`]: a restarted node is found again quickly.
const BACK_OFF_MIN: Duration = Duration::from_millis(20);

/// Longest pause after a failed connection. It is shorter than the time after which a node counts as lost, so that the
/// first report after a restart comes in time.
const BACK_OFF_MAX: Duration = Duration::from_millis(320);

/// The same where a certificate or a version is refused: that takes a person to mend.
const REFUSED_BACK_OFF_MAX: Duration = Duration::from_millis(2_000);

/// Pause before a renewal that has not worked is tried again.
const RENEWAL_PAUSE: Duration = Duration::from_secs(1);

/// After so long a silence on a link and a call that timed out, the next call makes a new connection. If the node is
/// paused or cut off, the handshake fails, and from then on calls to it fail at once instead of after their timeout.
const SILENCE_MAX: Duration = Duration::from_millis(300);

#[derive(Debug)]
pub(super) struct Link {
    state: Mutex<State>,
    born: Instant,
    /// When the other side last answered or took a connection, milliseconds after `born`.
    heard_ms: AtomicU64,
    /// Whether the present connection has brought an answer. A node that refuses a certificate does so after its
    /// handshake is done on this side (TLS 1.3).
    answered: AtomicBool,
}

type Outcome = Option<Result<Made, LinkError>>;

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    /// One task connects; everybody who needs the connection waits for it.
    Connecting(watch::Receiver<Outcome>),
    Up {
        made: Made,
        /// What follows where it ends without an answer.
        pause: Duration,
    },
    /// The last attempt failed, or brought no answer. Until this instant no new one is made.
    Down { until: Instant, pause: Duration, error: LinkError },
}

impl State {
    fn down(pause: Duration, error: &LinkError) -> Self {
        Self::Down { until: Instant::now() + jittered(pause), pause, error: error.clone() }
    }
}

impl Link {
    pub(super) fn new() -> Self {
        Self {
            state: Mutex::default(),
            born: Instant::now(),
            heard_ms: AtomicU64::new(0),
            answered: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No change under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn heard(&self) {
        self.heard_ms.store(self.born.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    /// An answer has come. Gives whether it is the first one over the present connection.
    pub(super) fn answered(&self) -> bool {
        self.heard();
        !self.answered.swap(true, Ordering::Relaxed)
    }

    /// A call timed out: forgets the connection if nothing was heard on it for too long. Other calls that wait on it
    /// keep it alive.
    pub(super) fn unanswered(&self) {
        let silence_ms = (self.born.elapsed().as_millis() as u64).saturating_sub(self.heard_ms.load(Ordering::Relaxed));
        let mut state = self.lock();
        if matches!(*state, State::Up { .. }) && silence_ms > SILENCE_MAX.as_millis() as u64 {
            *state = State::Idle;
        }
    }

    /// The connection, where the certificate at its other end is that of the node that is wanted.
    pub(super) async fn connection_to(
        self: &Arc<Self>,
        wanted: Option<NodeId>,
        links: &PeerLinks,
        address: SocketAddr,
    ) -> Result<Connection, LinkError> {
        let Made { connection, node: found, .. } = self.connection(links, address).await?;
        let error = match wanted {
            _ if links.revoked.has(&found) => {
                connection.close(CODE_IDENTITY, b"the certificate is revoked");
                let reason = format!("the certificate {found} is revoked");
                LinkError::Certificate { address, reason }
            }
            Some(wanted) if found.actor().as_node() != Some(wanted) => {
                LinkError::OtherNode { address, found: *found.actor(), wanted }
            }
            _ => return Ok(connection),
        };
        // The right node may come to this address: it is looked for again, but not with every call.
        self.replace(&connection, |_| State::down(BACK_OFF_MAX, &error));
        links.troubles.failed(address, &error);
        Err(error)
    }

    /// The connection; it is made if there is none. However many callers ask, one attempt is under way at a time. It
    /// goes on if the caller who began it stops waiting.
    async fn connection(self: &Arc<Self>, links: &PeerLinks, address: SocketAddr) -> Result<Made, LinkError> {
        let mut outcome = {
            let mut state = self.lock();
            match &mut *state {
                State::Up { made, .. } => {
                    let now = Instant::now();
                    if !made.lifetime.has_ended(now) {
                        if made.lifetime.is_to_be_renewed(now) {
                            made.lifetime.renew_at = now + RENEWAL_PAUSE;
                            self.renew(links, address);
                        }
                        return Ok(made.clone());
                    }
                    made.connection.close(CODE_DONE, b"the certificate has expired");
                    self.begin(links, address, BACK_OFF_MIN, &mut state)
                }
                State::Connecting(outcome) => outcome.clone(),
                State::Down { until, error, .. } if Instant::now() < *until => return Err(error.clone()),
                State::Down { pause, error, .. } => {
                    let pause = (*pause * 2).min(back_off_max(error));
                    self.begin(links, address, pause, &mut state)
                }
                State::Idle => self.begin(links, address, BACK_OFF_MIN, &mut state),
            }
        };
        let gone = || LinkError::Unreachable { address, reason: "the attempt was given up".to_owned() };
        let result = outcome.wait_for(Option::is_some).await.map_err(|_| gone())?;
        result.clone().unwrap_or_else(|| Err(gone()))
    }

    fn begin(
        self: &Arc<Self>,
        links: &PeerLinks,
        address: SocketAddr,
        pause: Duration,
        state: &mut State,
    ) -> watch::Receiver<Outcome> {
        let (sender, receiver) = watch::channel(None);
        *state = State::Connecting(receiver.clone());
        let (link, links) = (self.clone(), links.clone());
        tokio::spawn(async move {
            let result = connect(&links.endpoint, &links.identity, address, CONNECT_TIMEOUT).await;
            let next = match &result {
                Ok(made) => {
                    link.heard();
                    link.answered.store(false, Ordering::Relaxed);
                    State::Up { made: made.clone(), pause }
                }
                Err(error) => {
                    links.troubles.failed(address, error);
                    State::down(pause, error)
                }
            };
            *link.lock() = next;
            // An error means that nobody waits any more.
            let _ = sender.send(Some(result));
        });
        receiver
    }

    /// Makes a connection anew before its certificates end. Calls go on over the old one meanwhile, and those under way
    /// hold it until they are answered.
    fn renew(self: &Arc<Self>, links: &PeerLinks, address: SocketAddr) {
        let (link, links) = (self.clone(), links.clone());
        tokio::spawn(async move {
            match connect(&links.endpoint, &links.identity, address, CONNECT_TIMEOUT).await {
                Ok(new) => {
                    if let State::Up { made, .. } = &mut *link.lock() {
                        *made = new;
                    }
                }
                Err(error) => tracing::debug!(%error, "a link that ends soon is not renewed yet"),
            }
        });
    }

    /// Drops a dead connection. Gives whether it brought no answer: then no new one is made for a while.
    pub(super) fn forget(&self, dead: &Connection, error: &LinkError) -> bool {
        let answered = self.answered.load(Ordering::Relaxed);
        let next = |pause| if answered { State::Idle } else { State::down(pause, error) };
        self.replace(dead, next) && !answered
    }

    /// Replaces the state unless somebody has done so already, and gives whether it did.
    fn replace(&self, old: &Connection, next: impl FnOnce(Duration) -> State) -> bool {
        let mut state = self.lock();
        let State::Up { made, pause } = &*state else { return false };
        if made.connection.stable_id() != old.stable_id() {
            return false;
        }
        *state = next(*pause);
        true
    }

    /// Closes the connection.
    pub(super) fn close(&self) {
        if let State::Up { made, .. } = &*self.lock() {
            made.connection.close(CODE_DONE, b"not needed any more");
        }
    }
}

fn back_off_max(error: &LinkError) -> Duration {
    match error {
        LinkError::Certificate { .. } | LinkError::NotANode { .. } | LinkError::Version { .. } => REFUSED_BACK_OFF_MAX,
        _ => BACK_OFF_MAX,
    }
}
