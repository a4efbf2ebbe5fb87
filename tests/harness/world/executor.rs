//! Tasks and timers on virtual time, in one thread: what runs next is decided by the order of wakes and by nothing
//! else.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

use super::network::Packet;
use cluster_config::ids::NodeId;

/// Whose task it is: a node's tasks end with its process and stand still while it is paused. Gates and operators have
/// none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    pub node: NodeId,
    /// Which start of its process.
    pub run: u64,
}

/// Something that is due at a time.
pub enum Due {
    /// A task sleeps until then.
    Wake(Waker),
    Deliver(Packet),
    /// A packet that was lost is sent again; when it would be next after that, microseconds.
    Transmit(Packet, u64),
    /// The process's raft group looks at its clock.
    Tick(Owner),
    /// What was written to the disk before is durable.
    Synced(Owner),
    /// A fault begins, or ends where the flag is set; the number is its place in the plan.
    Fault(usize, bool),
}

struct Timer {
    at_us: u64,
    number: u64,
    due: Due,
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        (self.at_us, self.number) == (other.at_us, other.number)
    }
}

impl Eq for Timer {}

impl PartialOrd for Timer {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Timer {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_us, self.number).cmp(&(other.at_us, other.number))
    }
}

type Ready = Arc<Mutex<VecDeque<u64>>>;

struct Alarm {
    task: u64,
    queued: AtomicBool,
    ready: Ready,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.task);
        }
    }
}

struct Task {
    owner: Option<Owner>,
    alarm: Arc<Alarm>,
    /// Absent while it is being polled.
    future: Option<Pin<Box<dyn Future<Output = ()>>>>,
}

#[derive(Default)]
pub struct Executor {
    now_us: Cell<u64>,
    numbers: Cell<u64>,
    timers: RefCell<BinaryHeap<Reverse<Timer>>>,
    tasks: RefCell<BTreeMap<u64, Task>>,
    ready: Ready,
    /// Tasks of paused nodes that are due.
    parked: RefCell<BTreeMap<NodeId, Vec<u64>>>,
}

impl Executor {
    /// Microseconds since the world began.
    pub fn now_us(&self) -> u64 {
        self.now_us.get()
    }

    fn number(&self) -> u64 {
        let number = self.numbers.get() + 1;
        self.numbers.set(number);
        number
    }

    /// Has something happen after so many microseconds.
    pub fn after(&self, delay_us: u64, due: Due) {
        let timer = Timer { at_us: self.now_us() + delay_us, number: self.number(), due };
        self.timers.borrow_mut().push(Reverse(timer));
    }

    /// Starts a task.
    pub fn spawn(&self, owner: Option<Owner>, future: impl Future<Output = ()> + 'static) {
        let id = self.number();
        let alarm = Arc::new(Alarm { task: id, queued: AtomicBool::new(false), ready: self.ready.clone() });
        self.tasks.borrow_mut().insert(id, Task { owner, alarm: alarm.clone(), future: Some(Box::pin(future)) });
        alarm.wake();
    }

    /// Ends all tasks of a node's process.
    pub fn kill(&self, node: NodeId) {
        let dead = |task: &Task| task.owner.is_some_and(|owner| owner.node == node);
        let killed: Vec<Task> = {
            let mut tasks = self.tasks.borrow_mut();
            let ids: Vec<u64> = tasks.iter().filter(|(_, task)| dead(task)).map(|(id, _)| *id).collect();
            ids.into_iter().filter_map(|id| tasks.remove(&id)).collect()
        };
        self.parked.borrow_mut().remove(&node);
        // Their destructors may wake others, so they run with nothing borrowed.
        drop(killed);
    }

    /// Lets what was parked while the node was paused run on.
    pub fn resume(&self, node: NodeId) {
        let parked = self.parked.borrow_mut().remove(&node).unwrap_or_default();
        self.ready.lock().unwrap_or_else(PoisonError::into_inner).extend(parked);
    }

    /// Tasks that a node's process has.
    pub fn tasks_of(&self, node: NodeId) -> usize {
        self.tasks.borrow().values().filter(|task| task.owner.is_some_and(|owner| owner.node == node)).count()
    }

    /// Runs every task that is due; those of nodes for which `paused` holds wait.
    pub fn run_ready(&self, paused: impl Fn(NodeId) -> bool) {
        loop {
            let next = self.ready.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(id) = next else { return };
            let (mut future, alarm) = {
                let mut tasks = self.tasks.borrow_mut();
                let Some(task) = tasks.get_mut(&id) else { continue };
                if let Some(owner) = task.owner
                    && paused(owner.node)
                {
                    self.parked.borrow_mut().entry(owner.node).or_default().push(id);
                    continue;
                }
                let Some(future) = task.future.take() else { continue };
                (future, task.alarm.clone())
            };
            alarm.queued.store(false, Ordering::Relaxed);
            let waker = Waker::from(alarm);
            let ended = future.as_mut().poll(&mut Context::from_waker(&waker)).is_ready();
            let mut tasks = self.tasks.borrow_mut();
            let killed = match tasks.get_mut(&id) {
                Some(_) if ended => tasks.remove(&id),
                Some(task) => {
                    task.future = Some(future);
                    continue;
                }
                None => None,
            };
            drop(tasks);
            drop((future, killed));
        }
    }

    /// The next thing that is due, not after `until_us`; time goes on to it.
    pub fn next(&self, until_us: u64) -> Option<Due> {
        let mut timers = self.timers.borrow_mut();
        if timers.peek().is_none_or(|Reverse(timer)| timer.at_us > until_us) {
            self.now_us.set(until_us);
            return None;
        }
        let Reverse(timer) = timers.pop()?;
        self.now_us.set(self.now_us().max(timer.at_us));
        Some(timer.due)
    }
}

/// Ends when its time has come.
pub struct Sleep {
    executor: std::rc::Rc<Executor>,
    at_us: u64,
    set: bool,
}

impl Sleep {
    /// A sleep until a time.
    pub fn until(executor: std::rc::Rc<Executor>, at_us: u64) -> Self {
        Self { executor, at_us, set: false }
    }
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        let now_us = self.executor.now_us();
        if now_us >= self.at_us {
            return Poll::Ready(());
        }
        if !self.set {
            self.set = true;
            self.executor.after(self.at_us - now_us, Due::Wake(context.waker().clone()));
        }
        Poll::Pending
    }
}

impl Executor {
    /// Drops everything that waits.
    pub fn clear(&self) {
        let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
        drop(tasks);
        let timers = std::mem::take(&mut *self.timers.borrow_mut());
        drop(timers);
    }
}
