//! Tests.

mod crash;
