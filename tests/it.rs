//! Tests.

mod crash;
mod http;
