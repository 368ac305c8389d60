//! Cut at every write and sync, recover, compare with what was written.
//!
//! A scripted workload (inputs typed and encoded, a task that counts per key with state and positions, one behind it whose
//! input goes once it is consumed, a topic dropped and created again, a query forgotten, sealing, snapshots, checkpoints, trimming) runs on a simulated disk that crashes at
//! its nth operation. The disk as a crash leaves it is opened again, which may crash, too; then
//!
//! | checked | against |
//! |---|---|
//! | the recovered position | at least what was acknowledged, at most what was written |
//! | records of each partition, positions, catalog, topics, state | the groups up to that position, folded by a model |
//! | counts of the task | a recount of its input up to its position |
//!
//! and the script goes on to its end on what was recovered. Mistakes planted in the log must each be seen.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BinaryArray, BooleanArray, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use headwater_engine::clock::ManualClock;
use headwater_engine::engine::Sync;
use headwater_engine::log::embedded::{Limits, Options, Planted};
use headwater_engine::log::{
    Control, EmbeddedLog, EncodedRecords, Log, LogBody, LogPosition, Offset, ProducerId, ReadLevel, ReadLimit, StoreId,
    Topic, TopicPartition, Transaction,
};
use headwater_engine::rows::Rows;
use headwater_engine::state::{StateChanges, StateTable};
use headwater_tests::faults::{Chance, Cut, FaultDisk};

type Failure = String;

/// A record as the model sees it: key and number.
type Record = (String, i64);

/// What one group does, as the script knows it.
#[derive(Debug, Clone, Default)]
struct Effect {
    controls: Vec<Control>,
    appends: Vec<(TopicPartition, Vec<Record>)>,
    state: Vec<(StoreId, Vec<(String, Option<i64>)>)>,
    consumed: Vec<(&'static str, TopicPartition, Offset)>,
}

/// All groups up to a position, folded.
#[derive(Debug, Default, PartialEq)]
struct Model {
    topics: BTreeMap<String, Topic>,
    records: BTreeMap<TopicPartition, Vec<Record>>,
    catalog: BTreeMap<String, String>,
    consumed: BTreeMap<&'static str, BTreeMap<TopicPartition, Offset>>,
    state: BTreeMap<StoreId, BTreeMap<String, i64>>,
}

impl Model {
    fn of(effects: &[Effect]) -> Model {
        let mut model = Model::default();
        for effect in effects {
            for control in &effect.controls {
                model.control(control);
            }
            for (to, records) in &effect.appends {
                model.records.entry(*to).or_default().extend(records.iter().cloned());
            }
            for (store, changes) in &effect.state {
                let rows = model.state.entry(store.clone()).or_default();
                for (key, value) in changes {
                    match value {
                        Some(value) => rows.insert(key.clone(), *value),
                        None => rows.remove(key),
                    };
                }
            }
            for (producer, input, next) in &effect.consumed {
                model.consumed.entry(producer).or_default().insert(*input, *next);
            }
        }
        model
    }

    fn control(&mut self, control: &Control) {
        match control {
            Control::CreateTopic(topic) => {
                self.topics.insert(topic.name.clone(), topic.clone());
                for partition in 0..topic.partitions {
                    self.records.insert(topic.partition(partition), Vec::new());
                }
            }
            Control::DropTopic(id) => {
                self.topics.retain(|_, t| t.id != *id);
                self.records.retain(|at, _| at.topic != *id);
                self.consumed.values_mut().for_each(|positions| positions.retain(|at, _| at.topic != *id));
            }
            Control::Catalog { key, value: Some(value) } => {
                self.catalog.insert(key.clone(), value.clone());
            }
            Control::Catalog { key, value: None } => {
                self.catalog.remove(key);
            }
            Control::ForgetQuery { query } => {
                self.state.retain(|store, _| store.query != *query);
                self.consumed.retain(|producer, _| *producer != query);
            }
            Control::Counters { .. } => {}
        }
    }
}

/// A script running on a log, and what it has done.
struct Run {
    disk: FaultDisk,
    planted: Planted,
    log: Option<Arc<EmbeddedLog>>,
    /// The effect of group n is at n - 1.
    effects: Vec<Effect>,
    acknowledged: u64,
}

const TASK: &str = "COUNTS";
/// The only reader of BETWEEN, which keeps what it has not consumed.
const NEXT: &str = "NEXT";
const OTHER: &str = "OTHER";
const STEPS: usize = 34;

impl Run {
    fn new(disk: FaultDisk, planted: Planted) -> Run {
        Run { disk, planted, log: None, effects: Vec::new(), acknowledged: 0 }
    }

    fn open(&mut self) -> Result<(), Failure> {
        self.log = None;
        let limits = Limits {
            wal_file_bytes_max: 1500,
            wal_bytes_max: 4000,
            snapshot_bytes: 1 << 20,
            reserve_bytes: 100,
            ..Limits::default()
        };
        let log = EmbeddedLog::open(Options {
            disk: Arc::new(self.disk.clone()),
            limits,
            threads: false,
            planted: self.planted,
            ..Options::new(Path::new("/data"), Sync::Always, ManualClock::at(1000))
        });
        self.log = Some(log.map_err(|e| format!("open: {e}"))?);
        Ok(())
    }

    fn log(&self) -> Arc<EmbeddedLog> {
        self.log.clone().expect("the log is open")
    }

    /// Commits `effect`; `durable` waits for the acknowledgement.
    fn commit(&mut self, producer: &'static str, effect: Effect, durable: bool) -> Result<(), Failure> {
        let log = self.log();
        let text = |e: headwater_engine::Error| format!("commit: {e}");
        let mut producer = log.producer(&ProducerId(producer.into())).map_err(text)?;
        let mut transaction = producer.begin().map_err(text)?;
        fill(transaction.as_mut(), &effect).map_err(text)?;
        let level = if durable { ReadLevel::Durable } else { ReadLevel::Sequenced };
        // The group counts as written from here on: the crash may come in the middle.
        let expected = self.effects.len() as u64 + 1;
        self.effects.push(effect);
        let receipt = transaction.commit(level, None).and_then(|c| c.wait()).map_err(text)?;
        if receipt.position.0 != expected {
            return Err(format!("WRONG: group {expected} got position {}", receipt.position.0));
        }
        if durable {
            self.acknowledged = receipt.position.0;
        }
        Ok(())
    }

    fn step(&mut self, step: usize) -> Result<(), Failure> {
        let log = self.log();
        let text = |e: headwater_engine::Error| format!("step {step}: {e}");
        for name in ["IN", "SIDE", "OUT", "SCRATCH", "BETWEEN"] {
            if log.topic(name).is_none() {
                self.create(name)?;
            }
        }
        let topic = |name: &str| log.topic(name).expect("it was just created");
        let input = |rows: usize| (0..rows).map(|i| (format!("k{}", (step + i) % 5), (step * 1000 + i) as i64));
        match step % 23 {
            0 => self.create_catalog(step)?,
            1 | 4 | 9 | 15 | 19 => {
                let to = topic("IN").partition(step as u32 % 2);
                let records = input(1 + step % 3).collect();
                self.commit(
                    "door",
                    Effect { appends: vec![(to, records)], ..Effect::default() },
                    step.is_multiple_of(2),
                )?;
            }
            7 => {
                let to = topic("IN").partition(0);
                let records = input(90).collect();
                self.commit("door", Effect { appends: vec![(to, records)], ..Effect::default() }, true)?;
            }
            2 | 5 | 16 => self.count(&log)?,
            10 | 20 => {
                self.count(&log)?;
                self.pass_on(&log)?;
            }
            3 | 12 | 21 => log.seal().map_err(text)?,
            6 => log.snapshot().map_err(text)?,
            14 => {
                log.snapshot().map_err(text)?;
                self.pass_on(&log)?;
            }
            8 | 18 => {
                let to = topic("SCRATCH").partition(0);
                let store = StoreId { query: OTHER.into(), step: 1, partition: 0 };
                let effect = Effect {
                    appends: vec![(to, input(2).collect()), (topic("SIDE").partition(0), input(1).collect())],
                    state: vec![(store, vec![(format!("s{}", step % 4), Some(step as i64)), ("gone".into(), None)])],
                    consumed: vec![(OTHER, topic("SIDE").partition(0), step as i64)],
                    ..Effect::default()
                };
                self.commit(OTHER, effect, false)?;
            }
            11 => {
                // Drop and create in two groups, without waiting: the crash may come between.
                let controls = vec![Control::DropTopic(topic("SCRATCH").id)];
                self.commit("ddl", Effect { controls, ..Effect::default() }, false)?;
                self.create("SCRATCH")?;
                let to = log.topic("SCRATCH").expect("it was just created").partition(0);
                let appends = vec![(to, input(3).collect())];
                self.commit("door", Effect { appends, ..Effect::default() }, step.is_multiple_of(2))?;
            }
            13 => {
                let controls = vec![Control::ForgetQuery { query: OTHER.into() }];
                let store = StoreId { query: OTHER.into(), step: 1, partition: 0 };
                self.commit("ddl", Effect { controls, ..Effect::default() }, false)?;
                let state = vec![(store, vec![("new".to_string(), Some(1))])];
                self.commit(OTHER, Effect { state, ..Effect::default() }, false)?;
            }
            _ => log
                .work()
                .and_then(|()| if step.is_multiple_of(2) { log.checkpoint() } else { Ok(()) })
                .map_err(text)?,
        }
        Ok(())
    }

    fn create(&mut self, name: &str) -> Result<(), Failure> {
        let topic = Topic {
            id: self.log().next_topic_id(),
            name: name.into(),
            partitions: 2,
            internal: false,
            retention_ms: None,
            retention_bytes: None,
            delete_consumed: name == "BETWEEN",
        };
        self.commit("ddl", Effect { controls: vec![Control::CreateTopic(topic)], ..Effect::default() }, false)
    }

    fn create_catalog(&mut self, step: usize) -> Result<(), Failure> {
        let controls = vec![
            Control::Catalog { key: format!("source/S{step}"), value: Some(format!("{{\"at\":{step}}}")) },
            Control::Catalog { key: "source/S0".into(), value: (step == 0).then(|| "{}".to_string()) },
        ];
        self.commit("ddl", Effect { controls, ..Effect::default() }, true)
    }

    /// The task: counts the keys of IN, writes each count to OUT and BETWEEN.
    fn count(&mut self, log: &EmbeddedLog) -> Result<(), Failure> {
        let text = |e: headwater_engine::Error| format!("task: {e}");
        let topic = |name: &str| log.topic(name).expect("created");
        let (input, output, between) = (topic("IN"), topic("OUT"), topic("BETWEEN"));
        for partition in 0..2 {
            let at = input.partition(partition);
            let store = task_store(partition);
            let (next, mut counts) = {
                let producer = log.producer(&ProducerId(TASK.into())).map_err(text)?;
                let next = producer.positions().map_err(text)?.get(&at).copied().unwrap_or(0);
                (next, state_of(producer.redo(&store, LogPosition(0)).map_err(text)?))
            };
            let mut reader = log.reader(&at, next, ReadLevel::Sequenced).map_err(text)?;
            while let Some(batch) = reader.take(ReadLimit { rows_max: 40 }).map_err(text)? {
                let mut changed = BTreeMap::new();
                let mut outputs = Vec::new();
                for (key, _) in records_of(&batch.body) {
                    let count = counts.entry(key.clone()).or_insert(0);
                    *count += 1;
                    changed.insert(key.clone(), Some(*count));
                    outputs.push((key, *count));
                }
                let effect = Effect {
                    appends: vec![
                        (between.partition(partition), outputs.clone()),
                        (output.partition(partition), outputs),
                    ],
                    state: vec![(store.clone(), changed.into_iter().collect())],
                    consumed: vec![(TASK, at, reader.next_offset())],
                    ..Effect::default()
                };
                self.commit(TASK, effect, false)?;
            }
        }
        Ok(())
    }

    /// The task behind: keeps the last count of each key of BETWEEN.
    fn pass_on(&mut self, log: &EmbeddedLog) -> Result<(), Failure> {
        let text = |e: headwater_engine::Error| format!("next task: {e}");
        let input = log.topic("BETWEEN").expect("created");
        for partition in 0..2 {
            let at = input.partition(partition);
            let positions = log.producer(&ProducerId(NEXT.into())).and_then(|p| p.positions()).map_err(text)?;
            let next = positions.get(&at).copied().unwrap_or(0);
            let mut reader = log.reader(&at, next, ReadLevel::Sequenced).map_err(text)?;
            let Some(batch) = reader.take(ReadLimit { rows_max: 60 }).map_err(text)? else { continue };
            if batch.base_offset != next {
                return Err(format!("WRONG: records {next}..{} are gone before they were read", batch.base_offset));
            }
            let last: BTreeMap<String, Option<i64>> =
                records_of(&batch.body).into_iter().map(|(key, count)| (key, Some(count))).collect();
            let effect = Effect {
                state: vec![(next_store(partition), last.into_iter().collect())],
                consumed: vec![(NEXT, at, reader.next_offset())],
                ..Effect::default()
            };
            self.commit(NEXT, effect, false)?;
        }
        Ok(())
    }

    /// Compares what the log has with the groups it says it has, and forgets the others.
    fn verify(&mut self) -> Result<(), Failure> {
        let log = self.log();
        let position = log.position(ReadLevel::Durable).0;
        if position < self.acknowledged || position > self.effects.len() as u64 {
            return Err(format!(
                "WRONG: recovered to {position}, acknowledged {}, written {}",
                self.acknowledged,
                self.effects.len()
            ));
        }
        self.effects.truncate(position as usize);
        let found = self.found(&log).map_err(|e| format!("WRONG: cannot read: {e}"))?;
        let expected = Model::of(&self.effects);
        if found != expected {
            return Err(format!("WRONG: found {found:#?}\nexpected {expected:#?}"));
        }
        recount(&found)
    }

    fn found(&self, log: &EmbeddedLog) -> headwater_engine::Result<Model> {
        let mut model = Model { catalog: log.catalog(), ..Model::default() };
        let known = Model::of(&self.effects);
        for topic in log.topics() {
            for partition in 0..topic.partitions {
                let at = topic.partition(partition);
                let range = log.range(&at, ReadLevel::Durable)?;
                let records = model.records.entry(at).or_default();
                if topic.delete_consumed {
                    let consumed = known.consumed.get(NEXT).and_then(|p| p.get(&at)).copied().unwrap_or(0);
                    assert!(range.start <= consumed, "{} is needed from {consumed} on, but has {range:?}", topic.name);
                    records.extend_from_slice(&known.records[&at][..range.start as usize]);
                }
                let mut reader = log.reader(&at, 0, ReadLevel::Durable)?;
                while let Some(batch) = reader.take(ReadLimit { rows_max: 1000 })? {
                    records.extend(records_of(&batch.body));
                }
                assert_eq!(range.end, records.len() as i64, "records fill the offsets of {}", topic.name);
            }
            model.topics.insert(topic.name.clone(), topic);
        }
        for producer in [TASK, NEXT, OTHER] {
            let taken = log.producer(&ProducerId(producer.into()))?;
            let positions = taken.positions()?;
            if !positions.is_empty() || known.consumed.contains_key(producer) {
                model.consumed.insert(producer, positions);
            }
            let tasks = [task_store(0), task_store(1), next_store(0), next_store(1)];
            for store in tasks.into_iter().chain([StoreId { query: OTHER.into(), step: 1, partition: 0 }]) {
                let redo = taken.redo(&store, LogPosition(0))?;
                if !redo.is_empty() || known.state.contains_key(&store) {
                    model.state.insert(store, state_of(redo));
                }
            }
        }
        Ok(model)
    }
}

fn task_store(partition: u32) -> StoreId {
    StoreId { query: TASK.into(), step: 2, partition }
}

fn next_store(partition: u32) -> StoreId {
    StoreId { query: NEXT.into(), step: 1, partition }
}

/// The task's state is the recount of its input up to its position, and its last outputs say the same.
fn recount(found: &Model) -> Result<(), Failure> {
    let Some(positions) = found.consumed.get(TASK) else { return Ok(()) };
    for (at, next) in positions {
        let mut counts: BTreeMap<String, i64> = BTreeMap::new();
        for (key, _) in &found.records[at][..*next as usize] {
            *counts.entry(key.clone()).or_default() += 1;
        }
        if found.state.get(&task_store(at.partition)) != Some(&counts) {
            return Err(format!("WRONG: state of partition {} is not the recount {counts:?}", at.partition));
        }
        let out = found.topics["OUT"].partition(at.partition);
        let last: BTreeMap<String, i64> = found.records[&out].iter().cloned().collect();
        if last != counts {
            return Err(format!("WRONG: outputs {last:?} are not the recount {counts:?}"));
        }
    }
    Ok(())
}

fn fill(transaction: &mut dyn Transaction, effect: &Effect) -> headwater_engine::Result<()> {
    for control in &effect.controls {
        transaction.control(control.clone());
    }
    for (to, records) in &effect.appends {
        // Both faces, as a door and a task would write them.
        let body = if records.len() % 2 == 0 { encoded(records) } else { typed(records) };
        transaction.append(to, body)?;
    }
    for (store, changes) in &effect.state {
        transaction.state(store, state_rows(changes));
    }
    for (_, input, next) in &effect.consumed {
        transaction.consumed(input, *next);
    }
    Ok(())
}

fn encoded(records: &[Record]) -> LogBody {
    LogBody::Encoded(EncodedRecords {
        keys: BinaryArray::from_iter_values(records.iter().map(|r| r.0.as_bytes())),
        values: BinaryArray::from_iter_values(records.iter().map(|r| r.1.to_string())),
        time: Int64Array::from_iter_values(records.iter().map(|r| r.1)),
        headers: None,
    })
}

fn typed(records: &[Record]) -> LogBody {
    let columns: [(&str, ArrayRef, bool); 2] = [
        ("K", Arc::new(StringArray::from_iter_values(records.iter().map(|r| &r.0))), true),
        ("V", Arc::new(Int64Array::from_iter_values(records.iter().map(|r| r.1))), true),
    ];
    let columns = RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length");
    let rows = Rows::append(columns, Int64Array::from_iter_values(records.iter().map(|r| r.1)));
    LogBody::Typed { rows, fingerprint: 1 }
}

fn records_of(body: &LogBody) -> Vec<Record> {
    match body {
        LogBody::Encoded(records) => (0..records.time.len())
            .map(|i| {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("the script writes text");
                (text(records.keys.value(i)), text(records.values.value(i)).parse().expect("a number"))
            })
            .collect(),
        LogBody::Typed { rows, .. } => {
            let keys = rows.columns.column(0).as_string::<i32>();
            let values = rows.columns.column(1).as_primitive::<Int64Type>();
            (0..rows.len()).map(|i| (keys.value(i).to_string(), values.value(i))).collect()
        }
    }
}

fn state_rows(changes: &[(String, Option<i64>)]) -> StateChanges {
    let columns: [(&str, ArrayRef, bool); 3] = [
        ("key", Arc::new(BinaryArray::from_iter_values(changes.iter().map(|c| c.0.as_bytes()))), true),
        ("deleted", Arc::new(BooleanArray::from_iter(changes.iter().map(|c| Some(c.1.is_none())))), true),
        ("count", Arc::new(Int64Array::from_iter(changes.iter().map(|c| c.1))), true),
    ];
    let rows = RecordBatch::try_from_iter_with_nullable(columns).expect("columns of one length");
    StateChanges { tables: vec![StateTable { table: 0, rows }] }
}

fn state_of(redo: Vec<(LogPosition, StateChanges)>) -> BTreeMap<String, i64> {
    let mut state = BTreeMap::new();
    for table in redo.into_iter().flat_map(|(_, changes)| changes.tables) {
        let keys = table.rows.column(0).as_binary::<i32>();
        let deleted = table.rows.column(1).as_boolean();
        let values = table.rows.column(2).as_primitive::<Int64Type>();
        for i in 0..keys.len() {
            let key = String::from_utf8(keys.value(i).to_vec()).expect("the script writes text");
            if deleted.value(i) {
                state.remove(&key)
            } else {
                state.insert(key, values.value(i))
            };
        }
    }
    state
}

/// Runs the script from `step` on until it ends or the disk crashes; returns where it stopped.
fn play(run: &mut Run, mut step: usize) -> Result<usize, Failure> {
    while step < STEPS {
        match run.step(step) {
            Ok(()) => step += 1,
            Err(failure) if run.disk.has_crashed() && !failure.starts_with("WRONG") => return Ok(step),
            Err(failure) => return Err(failure),
        }
    }
    Ok(step)
}

/// One crash at operation `crash_at` of the script, one in the recovery after it, then the script to its end.
fn crash_and_recover(crash_at: u64, cut: Cut, second: u64, planted: Planted) -> Result<bool, Failure> {
    let disk = FaultDisk::default();
    disk.crash_after(crash_at);
    let mut run = Run::new(disk, planted);
    let opened = run.open();
    if !run.disk.has_crashed() {
        opened?;
    }
    let stopped = if run.disk.has_crashed() { 0 } else { play(&mut run, 0)? };
    let crashed = run.disk.has_crashed();
    run.log = None;
    run.disk = run.disk.survivors(cut);
    run.disk.crash_after(second);
    let opened = run.open();
    if run.disk.has_crashed() {
        run.log = None;
        run.disk = run.disk.survivors(cut);
        run.open()?;
    } else {
        opened?;
        // Recovery was quicker than the crash: let it come while the script goes on.
    }
    run.verify()?;
    let stopped = play(&mut run, stopped)?;
    if run.disk.has_crashed() {
        run.log = None;
        run.disk = run.disk.survivors(cut);
        run.open()?;
        run.verify()?;
    }
    run.disk.crash_never();
    play(&mut run, stopped)?;
    run.log().close().map_err(|e| format!("close: {e}"))?;
    run.open()?;
    run.verify()?;
    Ok(crashed)
}

/// Which cuts a campaign makes at each operation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cuts {
    /// One after the other, operation by operation.
    InTurn,
    All,
}

/// Crashes at every `stride`th operation of the script.
fn campaign(planted: Planted, stride: usize, cuts: Cuts) -> Result<u64, (u64, Cut, Failure)> {
    let mut chance = Chance(7);
    for (turn, crash_at) in (1..).step_by(stride).enumerate() {
        let all = [Cut::DropUnsynced, Cut::KeepUnsynced, Cut::Scramble { seed: chance.number() }];
        for (number, cut) in all.into_iter().enumerate() {
            if cuts == Cuts::InTurn && turn % 3 != number {
                continue;
            }
            let second = 1 + chance.below(24) as u64;
            match crash_and_recover(crash_at, cut, second, planted) {
                Ok(true) => {}
                Ok(false) => return Ok(crash_at),
                Err(failure) => return Err((crash_at, cut, failure)),
            }
        }
    }
    unreachable!("the script has an end")
}

#[test]
fn a_crash_at_any_write_or_sync_and_another_in_recovery_lose_nothing_acknowledged() {
    // All cuts at each operation take three times as long: before a release, and after a change of what is on disk.
    let cuts = if std::env::var_os("HEADWATER_CRASH_ALL_CUTS").is_some() { Cuts::All } else { Cuts::InTurn };
    match campaign(Planted::default(), 1, cuts) {
        Ok(operations) => assert!(operations > 200, "the script is long enough to be worth it: {operations}"),
        Err((at, cut, failure)) => panic!("crash at operation {at}, {cut:?}: {failure}"),
    }
}

/// A topic with records is dropped, created again after a restart, and read after another, with all groups still there.
fn two_incarnations(planted: Planted) -> Result<(), Failure> {
    let mut run = Run::new(FaultDisk::default(), planted);
    run.open()?;
    // A record that is never sealed keeps all files.
    run.create("IN")?;
    let to = run.log().topic("IN").ok_or("the topic was not created")?.partition(0);
    run.commit("door", Effect { appends: vec![(to, vec![("kept".into(), 1)])], ..Effect::default() }, true)?;
    for (round, records) in [3, 2].into_iter().enumerate() {
        run.create("SCRATCH")?;
        let topic = run.log().topic("SCRATCH").ok_or("the topic was not created")?;
        let records = (0..records).map(|i| (format!("round {round}"), i)).collect();
        run.commit("door", Effect { appends: vec![(topic.partition(0), records)], ..Effect::default() }, true)?;
        run.log().checkpoint().map_err(|e| e.to_string())?;
        if round == 0 {
            let controls = vec![Control::DropTopic(topic.id)];
            run.commit("ddl", Effect { controls, ..Effect::default() }, true)?;
        }
        run.log = None;
        run.open()?;
        run.verify()?;
    }
    Ok(())
}

#[test]
fn a_topic_created_again_has_none_of_the_old_records() {
    two_incarnations(Planted::default()).expect("the incarnations are apart");
}

#[test]
fn what_the_next_stage_has_consumed_goes_and_nothing_else() {
    let mut run = Run::new(FaultDisk::default(), Planted::default());
    run.open().expect("opens");
    play(&mut run, 0).expect("the disk works");
    for _ in 0..3 {
        let log = run.log();
        run.pass_on(&log).expect("there is nothing in the way");
    }
    let log = run.log();
    run.step(1).and_then(|()| run.count(&log)).expect("there is nothing in the way");
    log.work().and_then(|()| log.checkpoint()).expect("the disk works");
    let positions = log.producer(&ProducerId(NEXT.into())).and_then(|p| p.positions()).expect("it has positions");
    let kept: Vec<_> = positions.iter().map(|(at, next)| (log.range(at, ReadLevel::Durable), next)).collect();
    assert_eq!(kept.len(), 2);
    for (range, next) in kept {
        assert_eq!(range.expect("the topic is there").start, *next);
    }
    assert!(!run.disk.files().iter().any(|(path, _)| path.to_string_lossy().contains("BETWEEN")));
    run.verify().expect("the rest is there");
}

#[test]
fn planted_mistakes_are_each_seen() {
    let none = Planted::default();
    for (name, planted) in [
        ("an effect ahead of the durable position", Planted { effect_ahead: true, ..none }),
        ("a trim too early", Planted { trim_too_early: true, ..none }),
        ("records forgotten before they were consumed", Planted { trim_unconsumed: true, ..none }),
        ("a topic id given twice", Planted { reused_topic_id: true, ..none }),
        ("a stale group after a torn one", Planted { stale_group: true, ..none }),
    ] {
        // Which crashes show a mistake depends on the order of writes: coarse strides first, then all.
        let crashes = || [5, 3, 2, 1].into_iter().any(|stride| campaign(planted, stride, Cuts::All).is_err());
        let search = || two_incarnations(planted).is_err() || crashes();
        let seen = std::panic::catch_unwind(search).unwrap_or(true);
        assert!(seen, "nobody noticed {name}");
    }
}

#[test]
fn a_full_disk_holds_commits_back_and_lets_them_go_when_there_is_room() {
    let mut run = Run::new(FaultDisk::default(), Planted::default());
    run.open().expect("opens");
    let stopped = play_until(&mut run, 5);
    let full = run.disk.used_bytes() + 2000;
    run.disk.set_bytes_max(Some(full));
    let before = run.acknowledged;
    let mut refused = None;
    for i in 0..20 {
        let to = run.log().topic("IN").expect("created").partition(0);
        let records: Vec<Record> = (0..3).map(|k| (format!("full {k}"), i)).collect();
        if let Err(failure) = run.commit("door", Effect { appends: vec![(to, records)], ..Effect::default() }, true) {
            refused = Some(failure);
            break;
        }
    }
    assert!(refused.expect("the disk is full").contains("the disk is full"));
    assert!(run.acknowledged > before, "what fitted, with the reserve's help, was acknowledged");
    let sequenced = run.log().position(ReadLevel::Sequenced).0;
    run.disk.set_bytes_max(None);
    run.log().flush().expect("there is room again");
    assert_eq!(run.log().position(ReadLevel::Durable).0, run.effects.len() as u64, "{sequenced} were sequenced");
    run.acknowledged = run.effects.len() as u64;
    play(&mut run, stopped).expect("the script goes on");
    run.disk = run.disk.survivors(Cut::DropUnsynced);
    run.open().expect("opens");
    run.verify().expect("all is there");
}

/// Plays the script up to `end`.
fn play_until(run: &mut Run, end: usize) -> usize {
    for step in 0..end {
        run.step(step).expect("the disk works");
    }
    end
}

#[test]
fn a_failed_write_or_sync_ends_the_log_and_a_restart_has_all_that_was_acknowledged() {
    for operation in (1..120).step_by(3) {
        let mut run = Run::new(FaultDisk::default(), Planted::default());
        run.open().expect("opens");
        let _ = play_until(&mut run, 3);
        run.disk.fail_after(operation, std::io::ErrorKind::Other);
        let mut failed = false;
        for step in 3..STEPS {
            if run.step(step).is_err() {
                failed = true;
                break;
            }
        }
        let poisoned = run.log().flush().is_err();
        if poisoned {
            let error = run.log().producer(&ProducerId("late".into())).err().expect("every later call fails");
            assert_eq!(error.kind(), headwater_engine::ErrorKind::Storage);
        }
        assert!(failed || !poisoned);
        run.log = None;
        run.disk = run.disk.survivors(Cut::DropUnsynced);
        run.open().unwrap_or_else(|e| panic!("operation {operation}: {e}"));
        run.verify().unwrap_or_else(|e| panic!("operation {operation}: {e}"));
    }
}

/// What `damage` to any file of a closed data directory leads to: an error that names it, or no difference at all.
fn damaged_directories_are_refused_or_read_right(
    of_file: impl Fn(usize) -> usize,
    damage: impl Fn(&mut Vec<u8>, usize) -> Option<()>,
) {
    let mut run = Run::new(FaultDisk::default(), Planted::default());
    run.open().expect("opens");
    play(&mut run, 0).expect("the disk works");
    run.log().close().expect("closes");
    run.acknowledged = run.effects.len() as u64;
    let whole = run.disk.clone();
    for (path, length) in whole.files() {
        let name = path.file_name().and_then(|n| n.to_str()).unwrap_or_default().to_string();
        if name == "LOCK" || name == "RESERVE" {
            continue;
        }
        for case in 0..of_file(length) {
            run.disk = whole.damaged(&path, |bytes| damage(bytes, case));
            let seen =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run.open().and_then(|()| run.verify())));
            match seen.unwrap_or_else(|_| panic!("{name}, case {case}: a panic")) {
                Ok(()) => {}
                Err(failure) if failure.starts_with("WRONG: cannot read") || failure.starts_with("open:") => {}
                Err(failure) => panic!("{name}, case {case}: {failure}"),
            }
            assert_eq!(run.effects.len() as u64, run.acknowledged, "{name}, case {case}: groups were lost");
        }
    }
}

#[test]
fn a_flipped_bit_is_reported_or_makes_no_difference() {
    let cases = 40;
    damaged_directories_are_refused_or_read_right(
        |length| length.min(cases),
        |bytes, case| {
            let mut chance = Chance((bytes.len() * cases + case) as u64);
            let bit = chance.below(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            Some(())
        },
    );
}

#[test]
fn a_missing_emptied_shortened_or_lengthened_file_is_reported_or_makes_no_difference() {
    damaged_directories_are_refused_or_read_right(
        |_| 5,
        |bytes, case| {
            match case {
                0 => return None,
                1 => bytes.clear(),
                2 => bytes.truncate(bytes.len() / 2),
                3 => bytes.extend([0; 100]),
                _ => bytes.fill(0),
            }
            Some(())
        },
    );
}
