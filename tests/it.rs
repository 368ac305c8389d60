//! Tests.

mod corpus;
mod crash;
mod engine;
mod http;
mod oracle;
mod splits;
