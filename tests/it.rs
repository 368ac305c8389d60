//! Tests.

mod bounds;
mod corpus;
mod crash;
mod engine;
mod http;
mod oracle;
mod plans;
mod splits;
