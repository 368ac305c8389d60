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
        self.topics.values().find(|t| t.name == name)
    }

    /// Whether `change` can be applied; nothing has changed when this fails.
    pub fn check(&self, change: &Control) -> Result<()> {
        match change {
            Control::CreateTopic(topic) => {
                if self.topic(&topic.name).is_some() || self.topics.contains_key(&topic.id) {
                    return Err(Error::statement(format!("Topic '{}' already exists", topic.name)));
                }
                if topic.id.0 < self.next_topic_id {
                    return Err(Error::internal(format!("topic id {} was used before", topic.id.0)));
                }
                if topic.partitions == 0 {
                    return Err(Error::statement(format!("topic '{}' needs at least one partition", topic.name)));
                }
                Ok(())
            }
            Control::DropTopic(id) if !self.topics.contains_key(id) => Err(topic_gone(*id)),
            _ => Ok(()),
        }
    }

    pub fn apply(&mut self, change: &Control, position: LogPosition) {
        match change {
            Control::CreateTopic(topic) => {
                self.next_topic_id = self.next_topic_id.max(topic.id.0 + 1);
                self.topics.insert(topic.id, topic.clone());
            }
            Control::DropTopic(id) => {
                self.topics.remove(id);
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
        Topic { id, name: name.into(), partitions: 1, internal: false, retention_ms: None, retention_bytes: None }
    }

    #[test]
    fn a_dropped_id_is_never_taken_again() {
        let mut state = ControlState::default();
        state.apply(&Control::CreateTopic(topic(1, "A")), LogPosition(1));
        assert!(state.check(&Control::CreateTopic(topic(2, "A"))).is_err());
        state.apply(&Control::DropTopic(TopicId(1)), LogPosition(2));
        assert!(state.check(&Control::CreateTopic(topic(1, "A"))).is_err());
        assert!(state.check(&Control::CreateTopic(topic(2, "A"))).is_ok());
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
        let text = serde_json::to_string(&state).unwrap();
        assert_eq!(serde_json::from_str::<ControlState>(&text).unwrap(), state);
    }
}
