//! A log that lives and dies with the process: `:memory:`, tests, step mode.
//!
//! What is sequenced is durable. Records stay for ever, or as long as the topic's retention says; state changes are
//! merged to about the size of the state.

use std::sync::Arc;

use super::core::{Core, CoreLog};
use super::transaction::RedoSource;
use super::{LogPosition, StoreId};
use crate::clock::Clock;
use crate::error::Result;
use crate::state::StateChanges;

pub struct MemoryLog {
    core: Arc<Core>,
}

impl MemoryLog {
    pub fn new(clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { core: Core::new(clock, None) })
    }
}

impl RedoSource for Core {
    fn redo(&self, store: &StoreId, after: LogPosition) -> Result<Vec<(LogPosition, StateChanges)>> {
        Ok(self.held_redo(store, after))
    }
}

impl CoreLog for MemoryLog {
    fn core(&self) -> &Arc<Core> {
        &self.core
    }

    fn redo_source(&self) -> Arc<dyn RedoSource> {
        self.core.clone()
    }

    fn held_bytes(&self) -> u64 {
        let state = self.core.lock();
        let records: usize = state.partitions.values().map(|p| p.inner.lock().tail_bytes).sum();
        let changes: usize = state.redo.values().map(|held| held.bytes()).sum();
        (records + changes) as u64
    }

    fn end(&self) -> Result<()> {
        self.core.close();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{BinaryArray, Int64Array};

    use super::*;
    use crate::clock::ManualClock;
    use crate::error::ErrorKind;
    use crate::log::redo::tests::{changes, content};
    use crate::log::{Commit, Control, EncodedRecords, Log, LogBody, ProducerId, ReadLevel, ReadLimit, Topic};

    fn records(rows: &[(&str, i64)]) -> LogBody {
        LogBody::Encoded(EncodedRecords {
            keys: BinaryArray::from_iter_values(rows.iter().map(|r| r.0.as_bytes())),
            values: BinaryArray::from_iter_values(rows.iter().map(|r| r.0.as_bytes())),
            time: Int64Array::from_iter_values(rows.iter().map(|r| r.1)),
            headers: None,
        })
    }

    fn topic(log: &MemoryLog, name: &str, partitions: u32) -> Topic {
        Topic {
            id: log.next_topic_id(),
            name: name.into(),
            partitions,
            internal: false,
            retention_ms: None,
            retention_bytes: None,
            delete_consumed: false,
        }
    }

    fn with_topic() -> (Arc<MemoryLog>, Topic) {
        let log = MemoryLog::new(ManualClock::at(1000));
        let topic = topic(&log, "T", 2);
        let mut producer = log.producer(&ProducerId("ddl".into())).unwrap();
        let mut transaction = producer.begin().unwrap();
        transaction.control(Control::CreateTopic(topic.clone()));
        transaction.commit(ReadLevel::Durable, None).unwrap().wait().unwrap();
        (log, topic)
    }

    #[test]
    fn a_group_gets_offsets_and_is_read_back_in_order() {
        let (log, topic) = with_topic();
        let mut producer = log.producer(&ProducerId("p".into())).unwrap();
        for (i, rows) in [&[("a", 10), ("b", 20)][..], &[("c", 30)][..]].into_iter().enumerate() {
            let mut transaction = producer.begin().unwrap();
            assert!(matches!(
                transaction.append(&topic.partition(0), records(rows)).unwrap(),
                super::super::Appended::Done
            ));
            transaction.consumed(&topic.partition(1), i as i64);
            transaction.state(&store(), changes(&[("k", Some(i as i64))]));
            let Commit::Done(receipt) = transaction.commit(ReadLevel::Durable, None).unwrap() else {
                panic!("memory is durable at once")
            };
            assert_eq!(receipt.offsets, vec![(topic.partition(0), [0, 2][i])]);
        }
        let mut reader = log.reader(&topic.partition(0), 1, ReadLevel::Durable).unwrap();
        let batch = reader.take(ReadLimit { rows_max: 10 }).unwrap().unwrap();
        assert_eq!((batch.base_offset, batch.body.len(), reader.next_offset()), (1, 2, 3));
        assert!(reader.take(ReadLimit { rows_max: 10 }).unwrap().is_none());
        reader.seek(0);
        assert_eq!(reader.take(ReadLimit { rows_max: 1 }).unwrap().unwrap().body.len(), 1);
        assert_eq!(log.offset_at_time(&topic.partition(0), 15, ReadLevel::Durable).unwrap(), 1);
        assert_eq!(log.offset_at_time(&topic.partition(0), 31, ReadLevel::Durable).unwrap(), 3);
        assert_eq!(producer.positions().unwrap()[&topic.partition(1)], 1);
        let redo = producer.redo(&store(), LogPosition(0)).unwrap();
        assert_eq!(redo.iter().map(|(_, c)| content(c)[0].1).collect::<Vec<_>>(), vec![Some(0), Some(1)]);
        assert_eq!(producer.redo(&store(), redo[0].0).unwrap().len(), 1);
    }

    fn store() -> StoreId {
        StoreId { query: "Q".into(), step: 1, partition: 0 }
    }

    #[test]
    fn an_older_holder_of_a_producer_id_is_refused() {
        let (log, topic) = with_topic();
        let id = ProducerId("p".into());
        let mut old = log.producer(&id).unwrap();
        let mut transaction = old.begin().unwrap();
        transaction.append(&topic.partition(0), records(&[("a", 1)])).unwrap();
        let mut new = log.producer(&id).unwrap();
        assert!(transaction.commit(ReadLevel::Sequenced, None).is_err());
        assert!(old.begin().is_err());
        drop(old);
        assert!(new.begin().is_ok());
        assert_eq!(log.range(&topic.partition(0), ReadLevel::Sequenced).unwrap(), 0..0);
    }

    #[test]
    fn a_dropped_topic_wakes_and_ends_its_readers_and_a_new_one_has_another_id() {
        let (log, old) = with_topic();
        let mut reader = log.reader(&old.partition(0), 0, ReadLevel::Sequenced).unwrap();
        let mut producer = log.producer(&ProducerId("ddl".into())).unwrap();
        let mut transaction = producer.begin().unwrap();
        let new = topic(&log, "T", 1);
        transaction.control(Control::DropTopic(old.id));
        transaction.control(Control::CreateTopic(new.clone()));
        transaction.append(&new.partition(0), records(&[("a", 1)])).unwrap();
        transaction.commit(ReadLevel::Durable, None).unwrap().wait().unwrap();
        assert_eq!(reader.take(ReadLimit { rows_max: 1 }).unwrap_err().kind(), ErrorKind::NotFound);
        assert_eq!(log.topic("T").unwrap(), new);
        assert_ne!(old.id, new.id);
        assert_eq!(log.range(&new.partition(0), ReadLevel::Durable).unwrap(), 0..1);
    }

    #[test]
    fn a_refused_group_changes_nothing() {
        let (log, existing) = with_topic();
        let mut producer = log.producer(&ProducerId("p".into())).unwrap();
        let mut transaction = producer.begin().unwrap();
        transaction.append(&existing.partition(0), records(&[("a", 1)])).unwrap();
        transaction.append(&existing.partition(7), records(&[("a", 1)])).unwrap();
        transaction.control(Control::Catalog { key: "k".into(), value: Some("v".into()) });
        assert_eq!(transaction.commit(ReadLevel::Durable, None).err().unwrap().kind(), ErrorKind::NotFound);
        assert!(log.catalog().is_empty());
        assert_eq!(log.range(&existing.partition(0), ReadLevel::Sequenced).unwrap(), 0..0);
    }

    #[test]
    fn retention_moves_the_start_and_readers_skip_to_it() {
        let clock = ManualClock::at(0);
        let log = MemoryLog::new(clock.clone());
        let topic = Topic { retention_ms: Some(100), ..topic(&log, "T", 1) };
        let mut producer = log.producer(&ProducerId("p".into())).unwrap();
        for time in [0, 50, 120] {
            clock.set(time);
            let mut transaction = producer.begin().unwrap();
            if time == 0 {
                transaction.control(Control::CreateTopic(topic.clone()));
            }
            transaction.append(&topic.partition(0), records(&[("a", time)])).unwrap();
            transaction.commit(ReadLevel::Durable, None).unwrap().wait().unwrap();
        }
        assert_eq!(log.range(&topic.partition(0), ReadLevel::Durable).unwrap(), 1..3);
        let mut reader = log.reader(&topic.partition(0), 0, ReadLevel::Durable).unwrap();
        assert_eq!(reader.take(ReadLimit { rows_max: 9 }).unwrap().unwrap().base_offset, 1);
    }
}
