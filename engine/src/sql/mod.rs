//! SQL text → statements. Knows nothing of Arrow, catalogs or plans.

pub mod ast;
