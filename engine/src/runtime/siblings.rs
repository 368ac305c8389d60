//! Keeps the tasks that feed one repartition topic close in time.
//!
//! Each of them reads its own partition, and what they write is mixed in the next stage's partitions. If one ran ahead, the
//! next stage's stream time would follow it, and on-time rows of the others would be late: a catch-up from the beginning
//! would count fewer rows than the same rows did live. So a task takes no row whose time is more than
//! `task.time.skew.max.ms` past the earliest row that another has not committed yet. Without the setting that is the
//! query's smallest grace period; −1 lets every task run as it can.
//!
//! ```text
//! partition 0   9:00 9:01 9:02 | 9:03 …      may go up to 9:02, grace 2 minutes
//! partition 1   9:00 | 9:01 …                 the earliest, never waits
//! partition 2   (caught up)                   holds nobody
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;

use crate::config::Settings;
use crate::log::{Log, Offset, ReadLevel, TopicPartition};
use crate::plan::steps::{JoinShape, Step, StepKind};

pub struct Siblings {
    log: Arc<dyn Log>,
    skew_max_ms: i64,
    state: Mutex<State>,
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
    pub fn new(log: Arc<dyn Log>, tasks: u32, skew_max_ms: i64) -> Arc<Siblings> {
        let state = State { of_tasks: vec![Progress::Unknown; tasks as usize], waiting: Vec::new() };
        Arc::new(Siblings { log, skew_max_ms, state: Mutex::new(state) })
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
        let limit = earliest.saturating_add(self.skew_max_ms);
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

/// How far apart a query's tasks may be; None: as far as they like.
pub fn skew_max_ms(root: &Step, settings: &BTreeMap<String, String>) -> Option<i64> {
    match Settings::from_overrides(settings.clone()).integer("task.time.skew.max.ms") {
        Some(skew) => (skew >= 0).then_some(skew),
        None => smallest_grace_ms(root),
    }
}

fn smallest_grace_ms(step: &Step) -> Option<i64> {
    let here = match &step.kind {
        StepKind::Aggregate(aggregate) => aggregate.window.map(|window| window.grace_ms),
        StepKind::Join(join) => match join.shape {
            JoinShape::StreamStream { grace_ms, .. } => grace_ms,
            _ => None,
        },
        _ => None,
    };
    step.inputs().into_iter().filter_map(smallest_grace_ms).chain(here).min()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::MemoryLog;

    #[test]
    fn the_earliest_goes_on_and_the_others_wait_for_it() {
        let log = MemoryLog::new(crate::clock::ManualClock::at(0));
        let siblings = Siblings::new(log, 3, 10);
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
}
