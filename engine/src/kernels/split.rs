//! Stable split: which rows go to which partition, order kept within each.

use arrow::array::UInt32Array;

/// Rows of each partition, ascending. A counting sort: two passes, no comparison.
///
/// ```text
/// partition of row  1 0 1 2      →  [1] [0 2] [3]
/// ```
pub fn split(partitions: &[u32], count: usize) -> Vec<UInt32Array> {
    let mut sizes = vec![0usize; count];
    for &partition in partitions {
        sizes[partition as usize] += 1;
    }
    let mut rows: Vec<Vec<u32>> = sizes.into_iter().map(Vec::with_capacity).collect();
    for (row, &partition) in partitions.iter().enumerate() {
        rows[partition as usize].push(row as u32);
    }
    rows.into_iter().map(UInt32Array::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_within_a_partition() {
        let parts = split(&[1, 0, 1, 2], 4);
        let parts: Vec<&[u32]> = parts.iter().map(|p| p.values().as_ref()).collect();
        assert_eq!(parts, [&[1][..], &[0, 2], &[3], &[]]);
    }
}
