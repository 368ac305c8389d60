//! The embedded log on a real file system.

use std::path::{Path, PathBuf};

use arrow::array::{BinaryArray, Int64Array, RecordBatch, StringArray};

use super::segment_reader::SegmentReader;
use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::error::ErrorKind;
use crate::log::redo::tests::{changes, content};
use crate::log::{
    Appended, Control, EncodedRecords, Log, LogBatch, LogBody, ProducerId, ReadLevel, ReadLimit, StoreId,
    TopicPartition, Wanted,
};
use crate::rows::Rows;

fn options(directory: &Path) -> Options {
    Options { threads: false, ..Options::new(directory, Sync::Always, ManualClock::at(1000)) }
}

fn open(directory: &Path) -> Arc<EmbeddedLog> {
    EmbeddedLog::open(options(directory)).unwrap()
}

fn encoded(keys: &[&str]) -> LogBody {
    LogBody::Encoded(EncodedRecords {
        keys: BinaryArray::from_iter_values(keys),
        values: BinaryArray::from_iter_values(keys),
        time: Int64Array::from_iter_values(0..keys.len() as i64),
        headers: None,
    })
}

fn typed(rows: std::ops::Range<i64>) -> LogBody {
    let columns = RecordBatch::try_from_iter_with_nullable(vec![
        ("ID", Arc::new(Int64Array::from_iter_values(rows.clone())) as _, true),
        ("NAME", Arc::new(StringArray::from_iter_values(rows.clone().map(|i| format!("name {i}")))) as _, true),
    ])
    .unwrap();
    LogBody::Typed { rows: Rows::append(columns, Int64Array::from_iter_values(rows)), fingerprint: 7 }
}

fn create(log: &EmbeddedLog, name: &str) -> Topic {
    let topic = Topic {
        id: log.next_topic_id(),
        name: name.into(),
        partitions: 2,
        internal: false,
        retention_ms: None,
        retention_bytes: None,
        delete_consumed: false,
    };
    commit(log, |t| t.control(Control::CreateTopic(topic.clone())));
    topic
}

fn commit(log: &EmbeddedLog, fill: impl FnOnce(&mut dyn crate::log::Transaction)) -> crate::log::Receipt {
    let mut producer = log.producer(&ProducerId("p".into())).unwrap();
    let mut transaction = producer.begin().unwrap();
    fill(transaction.as_mut());
    transaction.commit(ReadLevel::Durable, None).unwrap().wait().unwrap()
}

fn append(log: &EmbeddedLog, to: TopicPartition, body: LogBody) {
    commit(log, |t| assert!(matches!(t.append(&to, body).unwrap(), Appended::Done)));
}

fn read(log: &EmbeddedLog, at: TopicPartition) -> Vec<Arc<LogBatch>> {
    let mut reader = log.reader(&at, 0, ReadLevel::Durable).unwrap();
    std::iter::from_fn(|| reader.take(ReadLimit { rows_max: 100_000 }).unwrap()).collect()
}

fn ids(batches: &[Arc<LogBatch>]) -> Vec<i64> {
    let mut ids = Vec::new();
    for batch in batches {
        let LogBody::Typed { rows, fingerprint: 7 } = &batch.body else { panic!("typed") };
        ids.extend(rows.time.values());
        assert_eq!(rows.columns.num_columns(), 2);
    }
    ids
}

fn store() -> StoreId {
    StoreId { query: "Q".into(), step: 1, partition: 0 }
}

#[test]
fn everything_committed_is_there_after_a_restart() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let topic = create(&log, "orders/é");
    append(&log, topic.partition(0), typed(0..3));
    append(&log, topic.partition(0), typed(3..1000));
    commit(&log, |t| {
        t.control(Control::Catalog { key: "k".into(), value: Some("v".into()) });
        t.control(Control::Counters { query: "Q".into(), value: "9".into() });
        t.consumed(&topic.partition(1), 42);
        t.state(&store(), changes(&[("a", Some(1)), ("b", Some(2))]));
    });
    commit(&log, |t| t.state(&store(), changes(&[("a", None)])));
    for seal in [false, true] {
        if seal {
            log.seal().unwrap();
            log.snapshot().unwrap();
            log.checkpoint().unwrap();
        }
        let check = |log: &EmbeddedLog| {
            assert_eq!(log.topic("orders/é").unwrap(), topic);
            assert_eq!(ids(&read(log, topic.partition(0))), (0..1000).collect::<Vec<_>>());
            assert_eq!(log.offset_at_time(&topic.partition(0), 500, ReadLevel::Durable).unwrap(), 500);
            assert_eq!(log.catalog()["k"], "v");
            assert_eq!(log.counters()["Q"], "9");
            let producer = log.producer(&ProducerId("p".into())).unwrap();
            assert_eq!(producer.positions().unwrap()[&topic.partition(1)], 42);
            let redo = producer.redo(&store(), LogPosition(0)).unwrap();
            let merged: Vec<_> = redo.into_iter().map(|(_, c)| c).collect();
            let merged = crate::log::redo::merge(&merged, crate::log::redo::Deletions::Drop).unwrap();
            assert_eq!(content(&merged), vec![("b".to_string(), Some(2))]);
        };
        check(&log);
        let image = tempfile::tempdir().unwrap();
        copy(directory.path(), image.path());
        check(&open(image.path()));
    }
    log.close().unwrap();
    log.close().unwrap();
    assert_eq!(log.producer(&ProducerId("p".into())).err().unwrap().kind(), ErrorKind::Unavailable);
    assert_eq!(ids(&read(&open(directory.path()), topic.partition(0))).len(), 1000);
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            std::fs::create_dir_all(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn a_directory_has_one_holder_and_a_known_format() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let error = EmbeddedLog::open(options(directory.path())).err().unwrap();
    assert!(error.message().ends_with(&format!("is in use by process {}", std::process::id())), "{error}");
    log.close().unwrap();
    std::fs::write(directory.path().join("FORMAT"), "99\n").unwrap();
    let error = EmbeddedLog::open(options(directory.path())).err().unwrap();
    assert!(error.message().ends_with("was written by a newer Headwater"), "{error}");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let inner = directory.path().join("new");
        open(&inner).close().unwrap();
        assert_eq!(std::fs::metadata(inner).unwrap().permissions().mode() & 0o777, 0o700);
    }
}

#[test]
fn a_torn_tail_is_cut_and_damage_before_it_is_an_error_that_names_the_place() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let topic = create(&log, "T");
    for i in 0..4 {
        append(&log, topic.partition(0), encoded(&[&format!("key {i}")]));
    }
    let wal = directory.path().join("wal").join(wal::file_name(1));
    let whole = std::fs::read(&wal).unwrap();
    let image = tempfile::tempdir().unwrap();
    copy(directory.path(), image.path());
    let image_wal = image.path().join("wal").join(wal::file_name(1));
    let frames: Vec<usize> = (64..whole.len()).filter(|at| whole[*at..].starts_with(b"HWG1")).collect();
    let last = frames[frames.len() - 1];
    for cut in (last..whole.len()).step_by(5) {
        copy(directory.path(), image.path());
        std::fs::write(&image_wal, &whole[..cut]).unwrap();
        let log = open(image.path());
        assert_eq!(log.range(&topic.partition(0), ReadLevel::Durable).unwrap(), 0..3);
        assert_eq!(std::fs::metadata(&image_wal).unwrap().len(), last as u64);
        drop(log);
        std::fs::remove_dir_all(image.path()).unwrap();
        std::fs::create_dir(image.path()).unwrap();
    }
    for at in [frames[1], frames[1] + 70, frames[2] + 9] {
        copy(directory.path(), image.path());
        let mut damaged = whole.clone();
        damaged[at] ^= 4;
        std::fs::write(&image_wal, &damaged).unwrap();
        let error = EmbeddedLog::open(options(image.path())).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Storage);
        let frame = frames.iter().rfind(|f| **f <= at).unwrap();
        assert!(error.message().contains(&format!("at byte {frame}")), "{error}");
        assert_eq!(std::fs::read(&image_wal).unwrap(), damaged, "damage is never written over");
    }
}

/// The first batch of a segment, all of it.
fn whole_batch(disk: &Arc<dyn Disk>, path: PathBuf) -> Result<Arc<LogBatch>> {
    SegmentReader::new(&segment::Segment::open(disk, path)?, None)?.batch_at(0)
}

#[test]
fn any_flipped_bit_of_a_segment_is_seen_and_the_file_reads_as_plain_arrow() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let topic = create(&log, "T");
    append(&log, topic.partition(1), typed(0..20));
    append(&log, topic.partition(1), typed(20..40));
    log.seal().unwrap();
    let path = directory.path().join("topics/T-1/1").join(segment::file_name(0));
    let bytes = std::fs::read(&path).unwrap();
    let reader = arrow::ipc::reader::FileReader::try_new(std::io::Cursor::new(&bytes), None).unwrap();
    let names: Vec<String> = reader.schema().fields().iter().map(|f| f.name().clone()).collect();
    assert_eq!(names, ["ID", "NAME", "$time", "$offset"]);
    assert_eq!(reader.map(|b| b.unwrap().num_rows()).sum::<usize>(), 40);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let whole = whole_batch(&disk, path.clone()).unwrap();
    assert_eq!(whole.body.len(), 40);
    let other = tempfile::tempdir().unwrap();
    let footer = bytes.len() - 10 - i32::from_le_bytes(bytes[bytes.len() - 10..][..4].try_into().unwrap()) as usize;
    for bit in (0..footer * 8).step_by(61) {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let path = other.path().join("s.arrow");
        std::fs::write(&path, damaged).unwrap();
        let read = whole_batch(&disk, path);
        // The marker between the last batch and the footer is read by other tools only.
        assert!(read.is_err() || bit / 8 >= footer - 8, "bit {bit}");
    }
}

#[test]
fn a_narrow_reader_shows_the_wanted_columns_and_does_not_look_at_the_others() {
    let directory = tempfile::tempdir().unwrap();
    let log = open(directory.path());
    let topic = create(&log, "T");
    append(&log, topic.partition(1), typed(0..20));
    log.seal().unwrap();
    let path = directory.path().join("topics/T-1/1").join(segment::file_name(0));
    let mut bytes = std::fs::read(&path).unwrap();
    // Somewhere within the names, which nobody asks for.
    let name = bytes.windows(7).position(|text| text == b"name 11").unwrap();
    bytes[name] ^= 1;
    let damaged = directory.path().join("s.arrow");
    std::fs::write(&damaged, bytes).unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    assert!(whole_batch(&disk, damaged.clone()).is_err());
    let opened = segment::Segment::open(&disk, damaged).unwrap();
    let read = |fingerprint, columns: Vec<usize>| {
        SegmentReader::new(&opened, Some(&Wanted { fingerprint, columns })).and_then(|reader| reader.batch_at(7))
    };
    let LogBody::Typed { fingerprint, .. } = typed(0..1) else { panic!("typed rows") };
    let batch = read(fingerprint, vec![0]).unwrap();
    assert_eq!(ids(std::slice::from_ref(&batch)), (0..20).collect::<Vec<_>>());
    assert_eq!(batch.body.slice(3, 2).len(), 2);
    assert!(read(fingerprint, vec![0, 1]).is_err(), "the damaged column is wanted");
    assert!(read(fingerprint + 1, vec![0]).is_err(), "of another schema nothing is known: all is wanted");
}

#[test]
fn retention_unlinks_old_segments_and_a_restart_remembers_where_the_topic_starts() {
    let directory = tempfile::tempdir().unwrap();
    let clock = ManualClock::at(0);
    let options = || Options { clock: clock.clone(), ..options(directory.path()) };
    let log = EmbeddedLog::open(options()).unwrap();
    let mut topic = create(&log, "T");
    commit(&log, |t| t.control(Control::DropTopic(topic.id)));
    topic = Topic { id: log.next_topic_id(), retention_ms: Some(100), ..topic };
    commit(&log, |t| t.control(Control::CreateTopic(topic.clone())));
    for (time, rows) in [(0, 0..10), (50, 10..20), (120, 20..30)] {
        clock.set(time);
        append(&log, topic.partition(0), typed(rows));
        log.seal().unwrap();
    }
    let held = read(&log, topic.partition(0));
    log.work().unwrap();
    let files = || std::fs::read_dir(directory.path().join("topics/T-2/0")).unwrap().count();
    assert_eq!((log.range(&topic.partition(0), ReadLevel::Durable).unwrap(), files()), (10..30, 3));
    assert_eq!(ids(&held).len(), 30);
    drop(held);
    log.checkpoint().unwrap();
    assert_eq!(files(), 2);
    assert!(!directory.path().join("topics/T-1").exists());
    clock.set(1000);
    log.work().unwrap();
    assert_eq!(log.range(&topic.partition(0), ReadLevel::Durable).unwrap(), 30..30);
    log.close().unwrap();
    let log = EmbeddedLog::open(options()).unwrap();
    assert_eq!(log.range(&topic.partition(0), ReadLevel::Durable).unwrap(), 30..30);
    append(&log, topic.partition(0), typed(30..31));
    assert_eq!(ids(&read(&log, topic.partition(0))), [30]);
}

#[test]
fn with_threads_many_producers_share_fsyncs_and_all_is_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits {
        wal_file_bytes_max: 64 << 10,
        wal_bytes_max: 256 << 10,
        background_bytes: 32 << 10,
        ..Limits::default()
    };
    let options =
        || Options { limits: limits.clone(), ..Options::new(directory.path(), Sync::Always, Arc::new(SystemClock)) };
    let log = EmbeddedLog::open(options()).unwrap();
    let topic = create(&log, "T");
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (log, topic) = (&log, &topic);
            scope.spawn(move || {
                let id = ProducerId(format!("producer {number}"));
                let mut producer = log.producer(&id).unwrap();
                for i in 0..100 {
                    let mut transaction = producer.begin().unwrap();
                    transaction.append(&topic.partition(number % 2), typed(i..i + 1)).unwrap();
                    let store = StoreId { query: format!("Q{number}"), step: 0, partition: 0 };
                    transaction.state(&store, changes(&[("n", Some(i))]));
                    transaction.consumed(&topic.partition(0), i);
                    transaction.commit(ReadLevel::Durable, None).unwrap().wait().unwrap();
                }
            });
        }
    });
    log.close().unwrap();
    let log = EmbeddedLog::open(options()).unwrap();
    for partition in 0..2 {
        assert_eq!(ids(&read(&log, topic.partition(partition))).len(), 200);
    }
    for number in 0..4 {
        let producer = log.producer(&ProducerId(format!("producer {number}"))).unwrap();
        assert_eq!(producer.positions().unwrap()[&topic.partition(0)], 99);
        let store = StoreId { query: format!("Q{number}"), step: 0, partition: 0 };
        let redo = producer.redo(&store, LogPosition(0)).unwrap();
        assert_eq!(content(&redo.last().unwrap().1), vec![("n".to_string(), Some(99))]);
    }
}

#[test]
fn consumed_records_of_a_repartition_topic_give_back_memory_segments_and_log_files() {
    let directory = tempfile::tempdir().unwrap();
    let limits = Limits { wal_file_bytes_max: 1000, ..Limits::default() };
    let open = || EmbeddedLog::open(Options { limits: limits.clone(), ..options(directory.path()) }).unwrap();
    let log = open();
    let topic = Topic { delete_consumed: true, name: "between".into(), ..create(&log, "kept") };
    let topic = Topic { id: log.next_topic_id(), ..topic };
    commit(&log, |t| t.control(Control::CreateTopic(topic.clone())));
    let at = topic.partition(0);
    for first in [0, 100, 200] {
        append(&log, at, typed(first..first + 100));
    }
    log.seal().unwrap();
    append(&log, at, typed(300..400));
    log.work().unwrap();
    assert_eq!(log.range(&at, ReadLevel::Durable).unwrap(), 0..400, "nobody has consumed anything");
    commit(&log, |t| t.consumed(&at, 350));
    log.work().unwrap();
    assert_eq!(log.range(&at, ReadLevel::Durable).unwrap(), 300..400, "a batch goes as a whole");
    assert_eq!(std::fs::read_dir(log.background.paths.partition(&topic, 0)).unwrap().count(), 0);
    commit(&log, |t| t.consumed(&at, 400));
    log.work().unwrap();
    assert_eq!(log.range(&at, ReadLevel::Durable).unwrap(), 400..400);
    assert_eq!(log.core.lock().unsealed_bytes, 0);
    log.checkpoint().unwrap();
    assert_eq!(log.background.files.lock().len(), 1, "no file of the write-ahead log is needed");
    append(&log, at, typed(400..401));
    drop(log);
    assert_eq!(ids(&read(&open(), at)), [400]);
}
