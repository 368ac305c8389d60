//! Headwater's front doors. Each protocol is a folder, a thin layer over the engine's `Session`, and knows no other.
//!
//! [`http`] is ksqlDB's HTTP API with health and metrics beside it; [`serve()`] runs it on a socket.

pub mod http;
mod serve;

pub use http::{ServerOptions, router};
pub use serve::{DRAIN_TIMEOUT, serve};
