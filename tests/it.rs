//! Tests.
mod engine;
