//! Foreign-key join of two tables: an expression over the left row equals the right table's key.
//!
//! The tables are partitioned by different keys, so the join travels. Each part lives where its key is, and what travels
//! is a run of plain rows:
//!
//! ```text
//! left table ─► left ──asks, by foreign key──► right ──answers, by left key──► result ─►
//!                                right table ────┘
//! ```
//!
//! | part | partitioned by | keeps | per row |
//! |---|---|---|---|
//! | [`left`] | left key | the foreign key of each left row | asks: subscribe, unsubscribe |
//! | [`right`] | foreign key | right rows; subscriptions with their left row | an answer to each ask; on a right change one to each subscriber |
//! | [`result`] | left key | how far each left row is answered | drops answers that came too late |
//!
//! A left row travels with its ask, and the answer is the joined row. So an answer says what was true when it was given,
//! however many later changes of the same row went the same way in the same run.
//!
//! | left change (old foreign key → new) | INNER asks | LEFT asks |
//! |---|---|---|
//! | none → f | `Match` f | `Always` f |
//! | none → none, row is there | – | `Always` null |
//! | f → f | `Always` f | `Always` f |
//! | f → g | `Leave` f, `Always` g | `Leave` f, `Always` g |
//! | f → none, row is there | `Delete` f | `Leave` f, `Always` null |
//! | f → row deleted | `Delete` f | `Delete` f |
//! | none → row deleted | – | `Delete` null |
//!
//! After Kafka Streams' foreign-key join: nobody knows whether an earlier row of the result exists, so a tombstone may be
//! written where there was nothing to delete. The result's time is that of what triggered it; of a left row that finds a
//! right one, the later of both.

pub mod left;
pub mod result;
pub mod right;

use crate::plan::steps::Join;
use crate::schema::{Column, Schema};
use crate::types::SqlType;

/// What a change of a left row asks of where its foreign key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ask {
    /// End the subscription, without an answer.
    Leave,
    /// End the subscription (if there is one); the answer is a tombstone.
    Delete,
    /// Subscribe; an answer only if there is a right row.
    Match,
    /// Subscribe (under a foreign key); an answer in any case.
    Always,
}

impl Ask {
    fn code(self) -> i32 {
        self as i32
    }

    fn of(code: i32) -> Ask {
        [Ask::Leave, Ask::Delete, Ask::Match, Ask::Always]
            .into_iter()
            .find(|ask| ask.code() == code)
            .expect("asks are written by the left part of the same plan")
    }
}

/// What travels between the parts of one join.
#[derive(Clone)]
pub struct Travelling {
    /// Key: the foreign key. Value: the left row, its version, what is asked.
    pub asks: Schema,
    /// Key: the left key. Value: left and right values, the version of the left row.
    pub answers: Schema,
}

impl Travelling {
    /// `output` is the schema of the join's result.
    pub fn new(join: &Join, foreign_key: &SqlType, output: &Schema) -> Self {
        let version = || Column::new("KSQL_FK_VERSION", SqlType::Bigint);
        let asks = join.left.schema.columns().cloned();
        let asks = asks.chain([version(), Column::new("KSQL_FK_ASK", SqlType::Integer)]).collect();
        let answers = output.value.iter().cloned().chain([version()]).collect();
        Self {
            asks: Schema::new(vec![Column::new("KSQL_FK", foreign_key.clone())], asks),
            answers: Schema::new(output.key.clone(), answers),
        }
    }
}
