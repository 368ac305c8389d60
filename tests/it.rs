//! Tests.

mod bounds;
mod corpus;
mod crash;
mod engine;
mod functions;
mod http;
mod oracle;
mod plans;
mod seeds;
mod splits;
