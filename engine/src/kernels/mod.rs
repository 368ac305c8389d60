//! Pure functions over columns: loops over slices with plain arguments, no `self`, no decisions.
