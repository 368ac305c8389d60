//! The Headwater engine: continuous SQL over partitioned Arrow logs.
//!
//! `ARCHITECTURE.md` beside the manifest is the map. A reader's minute: [`plan`] for what happens to SQL, [`runtime`] for
//! what happens to rows.

pub mod catalog;
pub mod clock;
pub mod config;
pub mod engine;
pub mod entity;
pub mod error;
pub mod format;
pub mod functions;
pub mod kernels;
pub mod log;
pub mod ops;
pub mod plan;
pub mod results;
pub mod rows;
pub mod runtime;
pub mod schema;
pub mod session;
pub mod sql;
pub mod state;
pub mod types;

pub use engine::{Engine, EngineConfig, Storage};
pub use error::{Error, ErrorKind, Result, RowError};
pub use session::{Access, Outcome, Session};
