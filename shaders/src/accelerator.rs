//! The device beside the CPU: opened, tested, timed, lost, and opened again.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::ask::Group;
use crate::cost::{Costs, Timed, Work};
use crate::cpu::Cpu;
use crate::gallery::Gallery;
use crate::gpu::{DevicePass, Gpu};
use crate::self_test;

/// The pause before a lost device is opened again, the first time. It doubles with each failure: a driver that resets
/// is back within a second or two.
const PAUSE_MIN: Duration = Duration::from_secs(1);
/// The longest pause: a device that is gone costs a try a minute, on a thread of its own. A device that has served for
/// so long is trusted like a new one.
const PAUSE_MAX: Duration = Duration::from_secs(64);

/// An open device.
pub(crate) struct Open {
    pub(crate) gpu: Gpu,
    /// None where the device was asked for by name: then it scores everything.
    costs: Option<Costs>,
    since: Instant,
}

impl Open {
    /// Whether the device is quicker than the CPU with these.
    pub(crate) fn pays(&self, groups: &[Group<'_>]) -> bool {
        self.costs.is_none_or(|costs| costs.device_pays(Work::of_groups(groups)))
    }

    /// Whether the device is quicker than the CPU with one probe.
    pub(crate) fn pays_for_one(&self, gallery: &Gallery) -> bool {
        self.costs.is_none_or(|costs| costs.device_pays(Work::of(gallery, 1)))
    }
}

#[derive(Default)]
struct State {
    open: Option<Arc<Open>>,
    /// When a lost device is opened again, and the pause after that.
    again: Option<(Instant, Duration)>,
}

/// A device that may be lost and come back.
pub(crate) struct Accelerator {
    by_name: bool,
    pass: DevicePass,
    cache: Option<PathBuf>,
    cpu: Arc<Cpu>,
    state: RwLock<State>,
    opening: AtomicBool,
}

impl Accelerator {
    /// Opens a device. One that was asked for `by_name` may be a software one and scores everything; any other scores
    /// what it is quicker with than the CPU. Compiled pipelines are kept in the folder `cache`. The device must have
    /// what `pass` needs.
    ///
    /// # Errors
    /// In words, why there is none.
    pub(crate) fn start(
        by_name: bool,
        pass: DevicePass,
        cache: Option<PathBuf>,
        cpu: Arc<Cpu>,
    ) -> Result<Arc<Accelerator>, String> {
        let accelerator =
            Accelerator { by_name, pass, cache, cpu, state: RwLock::default(), opening: AtomicBool::new(false) };
        accelerator.open()?;
        Ok(Arc::new(accelerator))
    }

    /// The device, where it is there. A lost one is opened again, when its pause is over, by a thread of its own.
    pub(crate) fn usable(self: &Arc<Self>) -> Option<Arc<Open>> {
        let (open, again) = {
            let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
            (state.open.clone(), state.again)
        };
        let due = open.is_none() && again.is_some_and(|(at, _)| Instant::now() >= at);
        if due && !self.opening.swap(true, Ordering::AcqRel) {
            let accelerator = self.clone();
            let opening = std::thread::Builder::new().name("gpu-again".into()).spawn(move || {
                if accelerator.open().is_err() {
                    accelerator.wait_longer();
                }
                accelerator.opening.store(false, Ordering::Release);
            });
            if opening.is_err() {
                self.opening.store(false, Ordering::Release);
            }
        }
        open
    }

    /// Notes that a device is lost.
    pub(crate) fn lost(&self, lost: &Arc<Open>) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if state.open.as_ref().is_some_and(|open| Arc::ptr_eq(open, lost)) {
            state.open = None;
            let known = state.again.filter(|_| lost.since.elapsed() < PAUSE_MAX);
            let pause = known.map_or(PAUSE_MIN, |(_, pause)| pause);
            state.again = Some((Instant::now() + pause, (pause * 2).min(PAUSE_MAX)));
        }
    }

    fn wait_longer(&self) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.again = state.again.map(|(_, pause)| (Instant::now() + pause, (pause * 2).min(PAUSE_MAX)));
    }

    fn open(&self) -> Result<(), String> {
        let open = |with_special| Gpu::open(self.by_name, with_special, self.cache.as_deref());
        let mut gpu = open(true)?;
        if self_test::run(&mut gpu, &self.cpu).is_err() {
            // Features that only some devices have may have brought it down.
            gpu = open(false)?;
            self_test::run(&mut gpu, &self.cpu)?;
        }
        if !gpu.has(self.pass) {
            return Err(format!("{} has not what the pass {:?} needs", gpu.adapter(), self.pass));
        }
        let mut costs = None;
        if self.pass == DevicePass::Auto {
            let timed = Timed::new(&gpu)?;
            timed.choose_passes(&mut gpu, &self.cpu)?;
            if !self.by_name {
                costs = Some(timed.measure(&gpu, &self.cpu)?);
            }
            timed.release(&gpu);
        }
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        state.open = Some(Arc::new(Open { gpu, costs, since: Instant::now() }));
        Ok(())
    }
}
