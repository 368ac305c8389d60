//! Tests.

mod crash;
mod engine;
mod splits;
