//! Names, types and legality: ksqlDB's rules and messages on our own syntax tree.
//!
//! Expressions: [`expr::Analyzer`] types one in a [`expr::Scope`]; `arithmetic`, `calls`, `casts`, `coerce`,
//! `comparison`, `literals` and `time_literals` hold its rules, `walk` looks through syntax trees, `constant` computes
//! constants, `type_names` reads types.

pub mod arithmetic;
pub mod calls;
pub mod casts;
pub mod coerce;
pub mod comparison;
pub mod constant;
pub mod expr;
pub mod literals;
pub mod time_literals;
pub mod type_names;
pub mod walk;
