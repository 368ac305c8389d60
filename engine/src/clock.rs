//! The one source of wall-clock time and of chance. Everything else asks here, so that any run can be scripted.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// Wall-clock time in milliseconds since the Unix epoch.
pub trait Clock: Send + Sync {
    fn now_ms(&self) -> i64;
}

pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ms(&self) -> i64 {
        #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
        let now = SystemTime::now();
        now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
    }
}

/// Stands still until it is moved.
#[derive(Default)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    pub fn at(now_ms: i64) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(now_ms)))
    }

    pub fn set(&self, now_ms: i64) {
        self.0.store(now_ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }
}

thread_local! {
    static CLOCK: RefCell<Option<Arc<dyn Clock>>> = const { RefCell::new(None) };
}

/// Does `work` for the engine of this clock: functions of the present, deep in expressions, read it with [`now_ms`].
pub fn with<T>(clock: &Arc<dyn Clock>, work: impl FnOnce() -> T) -> T {
    struct Restore(Option<Arc<dyn Clock>>);
    impl Drop for Restore {
        fn drop(&mut self) {
            CLOCK.set(self.0.take());
        }
    }
    let _before = Restore(CLOCK.replace(Some(Arc::clone(clock))));
    work()
}

/// The time on the clock of the engine this thread works for; of no engine, the system's.
pub fn now_ms() -> i64 {
    CLOCK.with_borrow(|clock| clock.as_ref().map_or_else(|| SystemClock.now_ms(), |clock| clock.now_ms()))
}

/// Now, for deadlines within this process.
pub fn monotonic() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "the one place that asks how much time has passed")]
    Instant::now()
}

/// Measures how long work took; never decides what a query answers.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    pub fn start() -> Self {
        Self(monotonic())
    }

    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_present_is_that_of_the_engine_worked_for() {
        let (outer, inner): (Arc<dyn Clock>, Arc<dyn Clock>) = (ManualClock::at(7), ManualClock::at(9));
        with(&outer, || {
            assert_eq!(with(&inner, now_ms), 9);
            assert_eq!(now_ms(), 7);
        });
        assert!(now_ms() > 1_000_000_000_000);
    }
}
