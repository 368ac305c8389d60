//! Names, types and legality: ksqlDB's rules and messages on our own syntax tree.
//!
//! Statements: `ddl` plans sources, `sink` queries with a place to go, `insert` values, `pull` bounded lookups. A
//! continuous query is put together by `query` from `names`, `joins`, `aggregates`, `projection` and `keys`; `formats`,
//! `properties` and `replace` say what declarations may be. Planning looks at a catalog and changes nothing.
//!
//! Expressions: [`expr::Analyzer`] types one in a [`expr::Scope`]; `arithmetic`, `calls`, `casts`, `coerce`,
//! `comparison` and `literals` hold its rules, `walk` looks through syntax trees, `constant` computes constants,
//! `type_names` reads types.

mod aggregates;
pub mod arithmetic;
pub mod calls;
pub mod casts;
pub mod coerce;
pub mod comparison;
pub mod constant;
mod ddl;
mod depth;
pub mod expr;
mod formats;
mod insert;
mod joins;
mod keys;
pub mod literals;
mod names;
mod projection;
mod properties;
mod pull;
mod pull_keys;
mod query;
mod replace;
mod scope;
mod sink;
#[cfg(test)]
mod statement_tests;
mod tree;
pub mod type_names;
pub mod walk;

pub use literals::decimal_type;
pub use names::unused;
pub use type_names::resolve_type;
