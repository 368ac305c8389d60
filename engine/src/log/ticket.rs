//! What a committer holds while its commit is on the way.
//!
//! | the commit | slot | ticket at Sequenced | ticket at Durable |
//! |---|---|---|---|
//! | waits for room | Waiting | pending | pending |
//! | has its place | Sequenced | ready | pending until the durable position reaches it |
//! | was refused, or the log failed before | Failed | the error | the error |

use std::sync::Arc;
use std::task::Waker;

use parking_lot::Mutex;

use super::core::Core;
use super::{ReadLevel, Receipt, Ticket};
use crate::error::{Error, Result};

pub(crate) struct Slot(Mutex<SlotState>);

enum SlotState {
    Waiting { until: ReadLevel, waker: Option<Waker> },
    Sequenced(Receipt),
    Failed(Error),
}

impl Slot {
    pub fn waiting(until: ReadLevel, waker: Option<Waker>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(SlotState::Waiting { until, waker })))
    }

    pub fn sequenced(receipt: Receipt) -> Arc<Self> {
        Arc::new(Self(Mutex::new(SlotState::Sequenced(receipt))))
    }

    /// Says how the wait for room ended; returns who wants to know.
    pub fn resolve(&self, sequenced: Result<Receipt>) -> Option<(Waker, ReadLevel)> {
        let resolved = match sequenced {
            Ok(receipt) => SlotState::Sequenced(receipt),
            Err(error) => SlotState::Failed(error),
        };
        match std::mem::replace(&mut *self.0.lock(), resolved) {
            SlotState::Waiting { until, waker } => waker.map(|w| (w, until)),
            SlotState::Sequenced(_) | SlotState::Failed(_) => None,
        }
    }
}

pub(crate) struct PendingCommit {
    core: Arc<Core>,
    slot: Arc<Slot>,
    until: ReadLevel,
}

impl PendingCommit {
    pub fn new(core: Arc<Core>, slot: Arc<Slot>, until: ReadLevel) -> Self {
        Self { core, slot, until }
    }

    /// The outcome as far as it is known without asking whether the log has failed.
    fn outcome(&self) -> Option<Result<Receipt>> {
        match &*self.slot.0.lock() {
            SlotState::Waiting { .. } => None,
            SlotState::Failed(error) => Some(Err(error.clone())),
            SlotState::Sequenced(receipt) if self.core.position(self.until) >= receipt.position => {
                Some(Ok(receipt.clone()))
            }
            SlotState::Sequenced(_) => None,
        }
    }
}

impl Ticket for PendingCommit {
    fn poll(&mut self) -> Option<Result<Receipt>> {
        self.outcome().or_else(|| self.core.visible(self.until).err().map(Err))
    }

    fn wait(self: Box<Self>) -> Result<Receipt> {
        self.core.wait_for(|| self.outcome())?
    }
}
