//! Tests.

mod crash;
mod engine;
