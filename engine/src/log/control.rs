//! What the groups say beside records: topics, the catalog, counters, consumed positions.
//!
//! A pure fold over groups: `state at n + 1 = apply(state at n, group n + 1)`. The log folds it as groups are sequenced;
//! the control checkpoint is one value of it; recovery folds the rest of the write-ahead log onto that value.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Control, LogPosition, Offset, ProducerId, Topic, TopicId, TopicPartition};
use crate::error::{Error, Result};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct ControlState {
    /// Larger than every id ever created, dropped ones included.
    pub next_topic_id: u64,
    pub topics: BTreeMap<TopicId, Topic>,
    #[serde(skip)]
    by_name: BTreeMap<String, TopicId>,
    pub catalog: BTreeMap<String, String>,
    pub counters: BTreeMap<String, String>,
    /// Next offset of each input, by who consumed it.
    #[serde(with = "positions_as_pairs")]
    pub consumed: BTreeMap<ProducerId, BTreeMap<TopicPartition, Offset>>,
    /// When a query was last forgotten: state at or before it belongs to nobody.
    pub forgotten: BTreeMap<String, LogPosition>,
}

impl ControlState {
    pub fn topic(&self, name: &str) -> Option<&Topic> {
        self.topics.get(self.by_name.get(name)?)
    }

    /// Topics by their names again, after the state was read.
    pub fn index(&mut self) {
        self.by_name = self.topics.values().map(|topic| (topic.name.clone(), topic.id)).collect();
    }

    /// Up to where the one reader of each partition has consumed it, of topics that keep only what is not consumed.
    pub fn consumed_until(&self) -> BTreeMap<TopicPartition, Offset> {
        let mut until = BTreeMap::new();
        if !self.topics.values().any(|topic| topic.delete_consumed) {
            return until;
        }
        for (at, next) in self.consumed.values().flatten() {
            if self.topics.get(&at.topic).is_some_and(|topic| topic.delete_consumed) {
                until.entry(*at).and_modify(|least: &mut Offset| *least = (*next).min(*least)).or_insert(*next);
            }
        }
        until
    }

    pub fn apply(&mut self, change: &Control, position: LogPosition) {
        match change {
            Control::CreateTopic(topic) => {
                self.next_topic_id = self.next_topic_id.max(topic.id.0 + 1);
                self.by_name.insert(topic.name.clone(), topic.id);
                self.topics.insert(topic.id, topic.clone());
            }
            Control::DropTopic(id) => {
                if let Some(topic) = self.topics.remove(id) {
                    self.by_name.remove(&topic.name);
                }
                for positions in self.consumed.values_mut() {
                    positions.retain(|at, _| at.topic != *id);
                }
            }
            Control::Catalog { key, value: Some(value) } => {
                self.catalog.insert(key.clone(), value.clone());
            }
            Control::Catalog { key, value: None } => {
                self.catalog.remove(key);
            }
            Control::ForgetQuery { query } => {
                self.counters.remove(query);
                self.consumed.retain(|producer, _| !belongs_to(producer, query));
                self.forgotten.insert(query.clone(), position);
            }
            Control::Counters { query, value } => {
                self.counters.insert(query.clone(), value.clone());
            }
        }
    }

    pub fn consume(&mut self, producer: &ProducerId, input: TopicPartition, next: Offset) {
        match self.consumed.get_mut(producer) {
            Some(positions) => {
                positions.insert(input, next);
            }
            None => {
                self.consumed.insert(producer.clone(), BTreeMap::from([(input, next)]));
            }
        }
    }
}

/// The topics as they would be after some changes, checked one by one; the state is not copied.
pub(crate) struct Trial<'a> {
    state: &'a ControlState,
    created: Vec<&'a Topic>,
    dropped: Vec<TopicId>,
}

impl<'a> Trial<'a> {
    pub fn new(state: &'a ControlState) -> Self {
        Self { state, created: Vec::new(), dropped: Vec::new() }
    }

    pub fn topic(&self, id: TopicId) -> Option<&'a Topic> {
        let created = self.created.iter().copied().find(|topic| topic.id == id);
        created.or_else(|| self.state.topics.get(&id)).filter(|topic| !self.dropped.contains(&topic.id))
    }

    fn named(&self, name: &str) -> Option<&'a Topic> {
        let lives = |topic: &&Topic| !self.dropped.contains(&topic.id);
        let created = self.created.iter().copied().filter(lives).find(|topic| topic.name == name);
        created.or_else(|| self.state.topic(name).filter(lives))
    }

    /// Notes `change`, or says why it cannot be applied.
    pub fn change(&mut self, change: &'a Control) -> Result<()> {
        match change {
            Control::CreateTopic(topic) => {
                if self.named(&topic.name).is_some() || self.topic(topic.id).is_some() {
                    return Err(Error::statement(format!("Topic '{}' already exists", topic.name)));
                }
                let newest = self.created.iter().map(|created| created.id.0 + 1).max();
                if topic.id.0 < newest.unwrap_or(0).max(self.state.next_topic_id) {
                    return Err(Error::internal(format!("topic id {} was used before", topic.id.0)));
                }
                if topic.partitions == 0 {
                    return Err(Error::statement(format!("topic '{}' needs at least one partition", topic.name)));
                }
                self.created.push(topic);
                Ok(())
            }
            Control::DropTopic(id) if self.topic(*id).is_none() => Err(topic_gone(*id)),
            Control::DropTopic(id) => {
                self.dropped.push(*id);
                Ok(())
            }
            Control::Catalog { .. } | Control::ForgetQuery { .. } | Control::Counters { .. } => Ok(()),
        }
    }
}

/// A query's producers are named by its id, alone or between other parts (`query/CSAS_OUT_3/1/0`, `CSAS_OUT_3/0`).
fn belongs_to(producer: &ProducerId, query: &str) -> bool {
    let name = producer.0.strip_prefix("query/").unwrap_or(&producer.0);
    name.strip_prefix(query).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

pub(crate) fn topic_gone(id: TopicId) -> Error {
    Error::not_found(format!("topic with id {} does not exist any more", id.0))
}

/// JSON has no maps with structs as keys.
mod positions_as_pairs {
    use super::*;
    use serde::{Deserializer, Serializer};

    type Positions = BTreeMap<ProducerId, BTreeMap<TopicPartition, Offset>>;

    pub fn serialize<S: Serializer>(positions: &Positions, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(positions.iter().map(|(producer, inputs)| (producer, inputs.iter().collect::<Vec<_>>())))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Positions, D::Error> {
        let pairs = Vec::<(ProducerId, Vec<(TopicPartition, Offset)>)>::deserialize(from)?;
        Ok(pairs.into_iter().map(|(producer, inputs)| (producer, inputs.into_iter().collect())).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(id: u64, name: &str) -> Topic {
        let id = TopicId(id);
        Topic {
            id,
            name: name.into(),
            partitions: 1,
            internal: false,
            retention_ms: None,
            retention_bytes: None,
            delete_consumed: false,
        }
    }

    #[test]
    fn a_dropped_id_is_never_taken_again() {
        let mut state = ControlState::default();
        let allows = |state: &ControlState, changes: &[Control]| {
            let mut trial = Trial::new(state);
            changes.iter().all(|change| trial.change(change).is_ok())
        };
        let create = |id| Control::CreateTopic(topic(id, "A"));
        let drop = Control::DropTopic(TopicId(1));
        state.apply(&create(1), LogPosition(1));
        assert!(!allows(&state, &[create(2)]));
        assert!(allows(&state, &[drop.clone(), create(2)]));
        assert!(!allows(&state, &[drop.clone(), drop.clone()]));
        assert!(!allows(&state, &[drop.clone(), create(2), create(3)]));
        state.apply(&drop, LogPosition(2));
        assert!(!allows(&state, &[create(1)]));
        assert!(allows(&state, &[create(2)]));
    }

    #[test]
    fn a_partition_is_consumed_as_far_as_its_slowest_reader_and_topics_are_found_by_name_again() {
        let mut state = ControlState::default();
        let kept = topic(1, "KEPT");
        let passing = Topic { delete_consumed: true, ..topic(2, "PASSING") };
        for topic in [&kept, &passing] {
            state.apply(&Control::CreateTopic(topic.clone()), LogPosition(1));
        }
        for (producer, next) in [("query/Q/1/0", 7), ("query/Q/2/0", 5)] {
            state.consume(&ProducerId(producer.into()), passing.partition(0), next);
            state.consume(&ProducerId(producer.into()), kept.partition(0), next);
        }
        assert_eq!(state.consumed_until(), BTreeMap::from([(passing.partition(0), 5)]));
        let text = serde_json::to_string(&state).unwrap();
        let mut read: ControlState = serde_json::from_str(&text).unwrap();
        read.index();
        assert_eq!(read.topic("PASSING"), Some(&passing));
        assert_eq!(read, state);
    }

    #[test]
    fn forgetting_a_query_takes_its_tasks_but_not_its_namesakes() {
        let mut state = ControlState::default();
        let input = topic(1, "A").partition(0);
        for producer in ["Q_1", "Q_1/0/3", "query/Q_1/2/0", "Q_10", "query/Q_10/2/0"] {
            state.consume(&ProducerId(producer.into()), input, 5);
        }
        state.apply(&Control::ForgetQuery { query: "Q_1".into() }, LogPosition(9));
        assert_eq!(state.consumed.keys().map(|p| p.0.as_str()).collect::<Vec<_>>(), ["Q_10", "query/Q_10/2/0"]);
    }
}
