//! Pure functions over columns: loops over slices with plain arguments, no decisions about meaning.
//!
//! | need | where |
//! |---|---|
//! | a dense number (slot) per key | [`keys`] |
//! | previous and last row of the same key in a run, stream time at each row | [`order`] |
//! | windows of a row | [`window`] |
//! | rows stored by slot, fetched back as columns | [`row_store`] |
//! | rows by partition, order kept | [`split`] |

pub mod keys;
pub mod order;
pub mod row_store;
pub mod split;
pub mod window;

/// Memory of a vector's items, room for more included.
pub fn fixed_bytes<T>(items: &Vec<T>) -> usize {
    items.capacity() * size_of::<T>()
}
