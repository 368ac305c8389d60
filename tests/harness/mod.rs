//! Harness.

pub mod faults;
