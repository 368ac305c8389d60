//! Tests.

mod crash;
mod engine;
mod http;
mod splits;
