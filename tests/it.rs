//! Tests.

mod corpus;
mod crash;
mod engine;
mod functions;
mod http;
mod oracle;
mod seeds;
mod splits;
