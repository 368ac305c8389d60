//! Producers and their transactions, the same for both logs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Waker;

use super::core::Core;
use super::group::{Draft, body_bytes, state_bytes};
use super::{
    Appended, Commit, Control, LogBody, LogPosition, Offset, Producer, ProducerId, ReadLevel, StoreId, TopicPartition,
    Transaction,
};
use crate::error::Result;
use crate::state::StateChanges;

/// A group takes no further batch beyond this; a single larger batch is a group of its own.
pub const GROUP_BYTES_MAX: usize = 64 << 20;

/// Where a store's changes are read back from.
pub(crate) trait RedoSource: Send + Sync {
    fn redo(&self, store: &StoreId, after: LogPosition) -> Result<Vec<(LogPosition, StateChanges)>>;
}

pub(crate) struct LogProducer {
    holder: Arc<Holder>,
    source: Arc<dyn RedoSource>,
}

/// The hold on a producer id: as long as its producer or a transaction of it lives, or until another takes it.
struct Holder {
    core: Arc<Core>,
    id: ProducerId,
    generation: u64,
}

impl Holder {
    fn check(&self) -> Result<()> {
        self.core.check_holder(&self.id, self.generation)
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.core.release_producer(&self.id, self.generation);
    }
}

impl LogProducer {
    pub fn take(core: &Arc<Core>, source: Arc<dyn RedoSource>, id: &ProducerId) -> Result<Box<dyn Producer>> {
        let generation = core.take_producer(id)?;
        let holder = Arc::new(Holder { core: core.clone(), id: id.clone(), generation });
        Ok(Box::new(Self { holder, source }))
    }
}

impl Producer for LogProducer {
    fn begin(&mut self) -> Result<Box<dyn Transaction>> {
        self.holder.check()?;
        Ok(Box::new(LogTransaction {
            holder: self.holder.clone(),
            draft: Draft {
                producer: self.holder.id.clone(),
                generation: self.holder.generation,
                controls: Vec::new(),
                appends: Vec::new(),
                state: Vec::new(),
                consumed: Vec::new(),
                bytes: 0,
            },
        }))
    }

    fn positions(&self) -> Result<BTreeMap<TopicPartition, Offset>> {
        self.holder.check()?;
        Ok(self.holder.core.lock().control.consumed.get(&self.holder.id).cloned().unwrap_or_default())
    }

    fn redo(&self, store: &StoreId, after: LogPosition) -> Result<Vec<(LogPosition, StateChanges)>> {
        self.holder.check()?;
        self.source.redo(store, after)
    }
}

struct LogTransaction {
    holder: Arc<Holder>,
    draft: Draft,
}

impl Transaction for LogTransaction {
    fn append(&mut self, to: &TopicPartition, body: LogBody) -> Result<Appended> {
        if body.is_empty() {
            return Ok(Appended::Done);
        }
        let bytes = body_bytes(&body);
        if self.draft.bytes > 0 && self.draft.bytes + bytes > GROUP_BYTES_MAX {
            return Ok(Appended::Full(body));
        }
        self.draft.bytes += bytes;
        self.draft.appends.push((*to, body, bytes));
        Ok(Appended::Done)
    }

    fn state(&mut self, store: &StoreId, changes: StateChanges) {
        if !changes.is_empty() {
            self.draft.bytes += state_bytes(&changes);
            self.draft.state.push((store.clone(), changes));
        }
    }

    fn consumed(&mut self, input: &TopicPartition, next: Offset) {
        match self.draft.consumed.iter_mut().find(|(at, _)| at == input) {
            Some(position) => position.1 = next,
            None => self.draft.consumed.push((*input, next)),
        }
    }

    fn control(&mut self, change: Control) {
        self.draft.controls.push(change);
    }

    fn bytes(&self) -> usize {
        self.draft.bytes
    }

    fn commit(self: Box<Self>, until: ReadLevel, waker: Option<&Waker>) -> Result<Commit> {
        self.holder.core.commit(self.draft, until, waker)
    }
}
