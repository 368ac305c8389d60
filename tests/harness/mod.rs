//! What the tests share.

pub mod faults;
pub mod interpreter;
pub mod records;
