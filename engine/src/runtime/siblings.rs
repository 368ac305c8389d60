//! Keeps the tasks that feed one repartition topic close in time.
//!
//! Each of them reads its own partition, and what they write is mixed in the next stage's partitions. If one ran ahead, the
//! next stage's stream time would follow it, and on-time rows of the others would be late: a catch-up from the beginning
//! would count fewer rows than the same rows did live. So no task takes a row that would close a window for the earliest row
//! that another has not committed yet. `task.time.skew.max.ms` puts a plain distance in its place; with −1 every task
//! runs as it can.
//!
//! ```text
//! TUMBLING (SIZE 10 MINUTES, GRACE PERIOD 2 MINUTES)
//! partition 0   9:03 9:07 9:11 | 9:12 …      may go up to 9:12, when the window of 9:03 closes
//! partition 1   9:03 | 9:04 …                 the earliest, never waits
//! partition 2   (caught up)                   holds nobody
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;

use crate::config::Settings;
use crate::log::{Log, Offset, ReadLevel, TopicPartition};
use crate::plan::steps::{JoinShape, Step, StepKind, WindowSpec, WindowSpecKind};

pub struct Siblings {
    log: Arc<dyn Log>,
    lead: Lead,
    state: Mutex<State>,
}

/// How far a task may be ahead of the earliest row of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lead {
    /// Milliseconds.
    Fixed(i64),
    /// Until one of these closes for it.
    Windows(Vec<Closing>),
}

/// When a row's first window closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Closing {
    Window(WindowSpec),
    /// This long after the row.
    After(i64),
}

impl Closing {
    /// The last stream time at which a row of `time` is not late.
    fn last_on_time(self, time: i64) -> i64 {
        let WindowSpec { kind, grace_ms, .. } = match self {
            Closing::After(ms) => return time.saturating_add(ms),
            Closing::Window(window) => window,
        };
        let first_end = |size: i64, advance: i64| {
            let start = (time.saturating_sub(size).div_euclid(advance) + 1).saturating_mul(advance);
            start.max(0).saturating_add(size)
        };
        match kind {
            WindowSpecKind::Tumbling { size_ms } => first_end(size_ms, size_ms).saturating_add(grace_ms) - 1,
            WindowSpecKind::Hopping { size_ms, advance_ms } => {
                first_end(size_ms, advance_ms).saturating_add(grace_ms) - 1
            }
            WindowSpecKind::Session { gap_ms } => time.saturating_add(gap_ms).saturating_add(grace_ms),
        }
    }
}

impl Lead {
    /// As a query's settings say, or its windows; None: any lead will do.
    pub fn of(root: &Step, settings: &BTreeMap<String, String>) -> Option<Lead> {
        match Settings::from_overrides(settings.clone()).integer("task.time.skew.max.ms") {
            Some(skew) => (skew >= 0).then_some(Lead::Fixed(skew)),
            None => Some(Lead::Windows(closings(root))).filter(|lead| *lead != Lead::Windows(Vec::new())),
        }
    }

    /// The latest time that may be taken while a row of `earliest` is not committed.
    fn limit(&self, earliest: i64) -> i64 {
        match self {
            Lead::Fixed(ms) => earliest.saturating_add(*ms),
            Lead::Windows(all) => all.iter().map(|c| c.last_on_time(earliest)).min().unwrap_or(i64::MAX),
        }
    }
}

fn closings(step: &Step) -> Vec<Closing> {
    let here = match &step.kind {
        StepKind::Aggregate(aggregate) => aggregate.window.map(Closing::Window),
        StepKind::Join(join) => match join.shape {
            JoinShape::StreamStream { grace_ms, .. } => grace_ms.map(Closing::After),
            _ => None,
        },
        _ => None,
    };
    step.inputs().into_iter().flat_map(closings).chain(here).collect()
}

struct State {
    of_tasks: Vec<Progress>,
    waiting: Vec<Waker>,
}

/// How far a task is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It has not looked yet.
    Unknown,
    /// Time of its earliest row that is not committed.
    Busy(i64),
    /// It had nothing left when it was at these offsets.
    CaughtUp(Vec<(TopicPartition, Offset)>),
}

impl Siblings {
    pub fn new(log: Arc<dyn Log>, tasks: u32, lead: Lead) -> Arc<Siblings> {
        let state = State { of_tasks: vec![Progress::Unknown; tasks as usize], waiting: Vec::new() };
        Arc::new(Siblings { log, lead, state: Mutex::new(state) })
    }

    /// Tells the others how far a task is.
    pub fn publish(&self, task: usize, progress: Progress) {
        let mut state = self.state.lock();
        if state.of_tasks[task] == progress {
            return;
        }
        state.of_tasks[task] = progress;
        let woken = std::mem::take(&mut state.waiting);
        drop(state);
        for waker in woken {
            waker.wake();
        }
    }

    /// The latest time `task` may take; None if its first row is past it: then it is woken when another has moved.
    pub fn limit(&self, task: usize, first: i64, waker: &Waker) -> Option<i64> {
        let mut state = self.state.lock();
        let others = state.of_tasks.iter().enumerate().filter(|(other, _)| *other != task);
        let earliest = others.map(|(_, progress)| self.earliest(progress)).min().unwrap_or(i64::MAX);
        let limit = if earliest == i64::MAX { earliest } else { self.lead.limit(earliest) };
        if first <= limit {
            return Some(limit);
        }
        if !state.waiting.iter().any(|other| other.will_wake(waker)) {
            state.waiting.push(waker.clone());
        }
        None
    }

    fn earliest(&self, progress: &Progress) -> i64 {
        match progress {
            Progress::Busy(time) => *time,
            Progress::Unknown => i64::MIN,
            // More came since: it was woken and will say what.
            Progress::CaughtUp(at) => {
                let end = |at: &TopicPartition| self.log.range(at, ReadLevel::Sequenced).map_or(0, |range| range.end);
                if at.iter().any(|(at, offset)| end(at) > *offset) { i64::MIN } else { i64::MAX }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::MemoryLog;

    #[test]
    fn the_earliest_goes_on_and_the_others_wait_for_it() {
        let log = MemoryLog::new(crate::clock::ManualClock::at(0));
        let siblings = Siblings::new(log, 3, Lead::Fixed(10));
        let limit = |task, first| siblings.limit(task, first, Waker::noop());
        assert_eq!(limit(0, 0), None, "nobody else has looked");
        siblings.publish(1, Progress::Busy(50));
        siblings.publish(2, Progress::CaughtUp(Vec::new()));
        assert_eq!(limit(0, 55), Some(60));
        assert_eq!(limit(0, 61), None);
        siblings.publish(0, Progress::Busy(61));
        assert_eq!(limit(1, 50), Some(71));
        siblings.publish(1, Progress::CaughtUp(Vec::new()));
        assert_eq!(limit(0, 1_000_000), Some(i64::MAX));
    }

    #[test]
    fn a_lead_ends_before_the_earliest_rows_first_window_closes() {
        let last = |kind, grace_ms, time| {
            let window = WindowSpec { kind, grace_ms, retention_ms: 0 };
            Lead::Windows(vec![Closing::Window(window)]).limit(time)
        };
        assert_eq!(last(WindowSpecKind::Tumbling { size_ms: 10 }, 0, 13), 19);
        assert_eq!(last(WindowSpecKind::Tumbling { size_ms: 10 }, 5, 20), 34);
        // 13 is in [4, 14), [6, 16) … [12, 22).
        assert_eq!(last(WindowSpecKind::Hopping { size_ms: 10, advance_ms: 2 }, 0, 13), 13);
        assert_eq!(last(WindowSpecKind::Hopping { size_ms: 10, advance_ms: 2 }, 3, 1), 12);
        assert_eq!(last(WindowSpecKind::Session { gap_ms: 7 }, 1, 13), 21);
        assert_eq!(Lead::Windows(vec![Closing::After(4)]).limit(i64::MIN), i64::MIN + 4);
    }
}
