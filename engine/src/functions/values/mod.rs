//! Values as SQL sees them, beyond what Arrow's kernels know: their text, their equality, exact decimals, casts.

pub mod access;
pub mod arithmetic;
pub mod cast;
pub mod civil;
pub mod decimal;
pub mod equality;
pub mod like;
pub mod text;
