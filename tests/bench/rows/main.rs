//! What does a row cost, against the nearest thing others have?
//!
//! ```text
//! cargo bench -p headwater-tests --bench rows [-- json | functions | aggregates] [name]
//! ```
//!
//! | part | ours | theirs | bar |
//! |---|---|---|---|
//! | `json` | a JSON record of declared columns into arrays | a plain serde walk over sonic-rs into the same arrays | ≥ 1.1 times as many rows a CPU-second |
//! | `functions` | an expression as a query evaluates it | DataFusion's nearest expression | ≤ 2 times the time a row |
//! | `aggregates` | one update of 1000 groups | DataFusion's `GroupsAccumulator` | ≤ 2 times the time a row |
//!
//! Both sides run in turns in one process; the best of the turns counts, in CPU time of this thread. One JSON line per
//! comparison: rows and CPU seconds of the best turns, nanoseconds a row, ours over theirs, and whether the bar holds.

mod aggregates;
mod data;
mod functions;
mod json;

use std::sync::LazyLock;
use std::time::Duration;

use headwater_engine::clock::Stopwatch;

/// How long one turn takes, about; the kernel counts a thread's time in steps of some milliseconds.
const TURN: Duration = Duration::from_millis(100);
const TURNS: usize = 5;
/// How long it works, about, until it looks whether the turn is over.
const LOOK: Duration = Duration::from_millis(5);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with("--")).collect();
    let part = words.first().map(String::as_str);
    let only = words.get(1).map(String::as_str).unwrap_or_default();
    let mut missed = Vec::new();
    for (name, run) in [
        ("json", json::run as fn(&mut dyn FnMut(Comparison<'_>))),
        ("functions", functions::run),
        ("aggregates", aggregates::run),
    ] {
        if part.is_none_or(|part| part == name) {
            run(&mut |comparison| {
                let what = comparison.name.to_string();
                if what.contains(only) && !comparison.report(name) {
                    missed.push(what);
                }
            });
        }
    }
    eprintln!("{} below the bar: {missed:?}", missed.len());
}

/// Two ways to do the same work.
struct Comparison<'a> {
    name: &'a str,
    rows: usize,
    /// Ours may take this many times the time of theirs.
    bar: f64,
    ours: &'a mut dyn FnMut(),
    theirs: Option<(&'a str, &'a mut dyn FnMut())>,
}

impl Comparison<'_> {
    /// Measures and prints; whether the bar holds.
    fn report(self, part: &str) -> bool {
        let (mut ours, mut theirs) = (Best::new(self.ours), None);
        let mut what = None;
        if let Some((name, work)) = self.theirs {
            what = Some(name);
            theirs = Some(Best::new(work));
        }
        for _ in 0..TURNS {
            ours.turn();
            theirs.iter_mut().for_each(Best::turn);
        }
        let ours = ours.seconds / self.rows as f64;
        let theirs = theirs.map(|theirs| theirs.seconds / self.rows as f64);
        let ratio = theirs.map(|theirs| ours / theirs);
        let holds = ratio.is_none_or(|ratio| ratio <= self.bar);
        let rounded = |value: f64| (value * 100.0).round() / 100.0;
        println!(
            "{}",
            serde_json::json!({
                "part": part,
                "name": self.name,
                "theirs": what,
                "rows": self.rows,
                "cpu_s": ours * self.rows as f64,
                "ns_per_row": rounded(ours * 1e9),
                "rows_per_cpu_s": (1.0 / ours).round(),
                "theirs_ns_per_row": theirs.map(|theirs| rounded(theirs * 1e9)),
                "ours_over_theirs": ratio.map(rounded),
                "bar": self.bar,
                "holds": holds,
            })
        );
        holds
    }
}

/// The fastest turn of some work so far.
struct Best<'a> {
    work: &'a mut dyn FnMut(),
    /// How often the work is done between two looks at the clock.
    repeats: u32,
    /// CPU seconds of doing the work once.
    seconds: f64,
}

impl<'a> Best<'a> {
    fn new(work: &'a mut dyn FnMut()) -> Self {
        let mut once = TURN;
        for _ in 0..3 {
            let started = Stopwatch::start();
            work();
            once = once.min(started.elapsed()).max(Duration::from_nanos(100));
        }
        Self { work, repeats: (LOOK.as_nanos() / once.as_nanos()).max(1) as u32, seconds: f64::INFINITY }
    }

    fn turn(&mut self) {
        let started = cpu_time();
        let mut done = 0;
        loop {
            for _ in 0..self.repeats {
                (self.work)();
            }
            done += self.repeats;
            let taken = cpu_time() - started;
            if taken >= TURN {
                self.seconds = self.seconds.min(taken.as_secs_f64() / f64::from(done));
                return;
            }
        }
    }
}

/// CPU time of this thread, as Linux tells it; elsewhere the time of the clock.
fn cpu_time() -> Duration {
    static START: LazyLock<Stopwatch> = LazyLock::new(Stopwatch::start);
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let told = told.and_then(|text| text.split(' ').next()?.parse().ok()).map(Duration::from_nanos);
    told.unwrap_or_else(|| START.elapsed())
}
