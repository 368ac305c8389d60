//! One worker pool for all tasks.
//!
//! A task is idle, queued, or running. A wake of an idle task queues it; a wake of a running one makes it run once more.
//! An idle task holds no thread, no channel and no timer. A task that waits for a time is an entry of the pool's one heap
//! of timers, which idle workers watch. A task that panics is not run again: its body is told once.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Wake, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::clock::monotonic;

/// What a run of a task found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ran {
    /// There is more to do now.
    Again,
    /// Nothing to do until a waker says so.
    Idle,
    /// The same, but at most for this time.
    Wait(Duration),
    /// Never run again.
    Finished,
}

/// The work of a task. Bounded per call: one run of rows, then others get their turn.
pub trait Body: Send {
    fn run(&mut self, waker: &Waker) -> Ran;
    /// Called once if `run` panicked, with the panic's text.
    fn panicked(&mut self, reason: &str);
}

const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const RUNNING: u8 = 2;
const RUNNING_WOKEN: u8 = 3;
const DEAD: u8 = 4;

pub struct TaskCell {
    state: AtomicU8,
    pool: Weak<Shared>,
    /// When it is to be woken at the latest.
    timer: Mutex<Option<Instant>>,
    body: Mutex<Box<dyn Body>>,
}

struct Shared {
    queue: Mutex<Queue>,
    ready: Condvar,
}

#[derive(Default)]
struct Queue {
    cells: VecDeque<Arc<TaskCell>>,
    /// Tasks to wake at a time, the earliest first.
    timers: BinaryHeap<Reverse<Timer>>,
    closed: bool,
}

struct Timer {
    at: Instant,
    cell: Weak<TaskCell>,
}

impl PartialEq for Timer {
    fn eq(&self, other: &Self) -> bool {
        self.at == other.at
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
        self.at.cmp(&other.at)
    }
}

pub struct Pool {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Nothing runs by itself: tasks are driven by hand.
    manual: bool,
}

/// Stack of a worker: deep expressions are evaluated on it.
const WORKER_STACK_BYTES: usize = 16 * 1024 * 1024;

impl Pool {
    /// `workers` = 0 makes a pool that runs nothing by itself.
    pub fn start(workers: usize) -> std::io::Result<Pool> {
        let shared = Arc::new(Shared { queue: Mutex::new(Queue::default()), ready: Condvar::new() });
        let mut threads = Vec::new();
        for number in 0..workers {
            let shared = shared.clone();
            let thread = std::thread::Builder::new()
                .name(format!("task-{number}"))
                .stack_size(WORKER_STACK_BYTES)
                .spawn(move || work(&shared))?;
            threads.push(thread);
        }
        Ok(Pool { shared, threads: Mutex::new(threads), manual: workers == 0 })
    }

    /// Adds a task and queues it for its first run.
    pub fn spawn(&self, body: Box<dyn Body>) -> Arc<TaskCell> {
        let pool = if self.manual { Weak::new() } else { Arc::downgrade(&self.shared) };
        let cell =
            Arc::new(TaskCell { state: AtomicU8::new(IDLE), pool, timer: Mutex::default(), body: Mutex::new(body) });
        cell.wake_by_ref();
        cell
    }

    /// Lets running tasks finish their run, then ends the workers.
    pub fn close(&self) {
        self.shared.queue.lock().closed = true;
        self.shared.ready.notify_all();
        for thread in self.threads.lock().drain(..) {
            if thread.join().is_err() {
                tracing::error!("a worker thread ended by panic");
            }
        }
    }
}

impl TaskCell {
    fn wake_by_ref(self: &Arc<Self>) {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            let next = match state {
                IDLE => QUEUED,
                RUNNING => RUNNING_WOKEN,
                _ => return,
            };
            match self.state.compare_exchange(state, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(IDLE) => return self.enqueue(),
                Ok(_) => return,
                Err(actual) => state = actual,
            }
        }
    }

    fn enqueue(self: &Arc<Self>) {
        if let Some(shared) = self.pool.upgrade() {
            shared.queue.lock().cells.push_back(self.clone());
            shared.ready.notify_one();
        } else {
            self.state.store(IDLE, Ordering::Release);
        }
    }

    fn wake_at(self: &Arc<Self>, at: Instant) {
        let mut timer = self.timer.lock();
        let Some(shared) = self.pool.upgrade().filter(|_| timer.is_none_or(|set| at < set)) else { return };
        *timer = Some(at);
        shared.queue.lock().timers.push(Reverse(Timer { at, cell: Arc::downgrade(self) }));
        // A worker that sleeps until a later time, or for ever, looks again.
        shared.ready.notify_one();
    }

    /// Its timer has run out; a later one that was set before an earlier one is not the one it waits for.
    fn timer_ended(self: &Arc<Self>, at: Instant) {
        let ended = {
            let mut timer = self.timer.lock();
            timer.take_if(|set| *set == at).is_some()
        };
        if ended {
            self.wake_by_ref();
        }
    }

    /// Never run again.
    pub fn retire(&self) {
        self.state.store(DEAD, Ordering::Release);
    }

    fn run(self: &Arc<Self>) {
        if self.state.compare_exchange(QUEUED, RUNNING, Ordering::AcqRel, Ordering::Acquire).is_err() {
            return;
        }
        let waker = Waker::from(self.clone());
        let mut body = self.body.lock();
        let ran = catch_unwind(AssertUnwindSafe(|| body.run(&waker))).unwrap_or_else(|panic| {
            body.panicked(&panic_text(panic.as_ref()));
            Ran::Finished
        });
        drop(body);
        match ran {
            Ran::Finished => self.retire(),
            Ran::Again => {
                let woken = self.state.swap(QUEUED, Ordering::AcqRel);
                if woken == DEAD {
                    self.retire();
                } else {
                    self.enqueue();
                }
            }
            Ran::Idle | Ran::Wait(_) => {
                if let Ran::Wait(wait) = ran {
                    self.wake_at(monotonic() + wait);
                }
                if self.state.compare_exchange(RUNNING, IDLE, Ordering::AcqRel, Ordering::Acquire) == Err(RUNNING_WOKEN)
                {
                    self.state.store(QUEUED, Ordering::Release);
                    self.enqueue();
                }
            }
        }
    }
}

impl Wake for TaskCell {
    fn wake(self: Arc<Self>) {
        TaskCell::wake_by_ref(&self);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        TaskCell::wake_by_ref(self);
    }
}

fn work(shared: &Shared) {
    loop {
        let mut queue = shared.queue.lock();
        let cell = loop {
            if queue.closed {
                return;
            }
            let due = queue.timers.peek().map(|Reverse(timer)| timer.at);
            if due.is_some_and(|at| at <= monotonic()) {
                let timer = queue.timers.pop();
                drop(queue);
                if let Some(Reverse(Timer { at, cell })) = timer
                    && let Some(cell) = cell.upgrade()
                {
                    cell.timer_ended(at);
                }
                queue = shared.queue.lock();
                continue;
            }
            match (queue.cells.pop_front(), due) {
                (Some(cell), _) => break cell,
                (None, Some(at)) => {
                    shared.ready.wait_until(&mut queue, at);
                }
                (None, None) => shared.ready.wait(&mut queue),
            }
        };
        drop(queue);
        cell.run();
    }
}

/// What a panic said.
pub fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|s| (*s).to_string())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without text".into())
}
