//! Tests.

mod crash;
mod splits;
