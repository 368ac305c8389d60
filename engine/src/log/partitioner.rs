//! Which partition a record goes to: murmur2 over its key bytes, as Kafka's Java producer does, so that topics written by
//! others stay co-partitioned with ours.
//!
//! | key bytes | murmur2 | of 4 partitions |
//! |---|---|---|
//! | `21` | -973932308 | 0 |
//! | `foobar` | -790332482 | 2 |
//! | none | – | the caller's choice |

use arrow::array::{Array, BinaryArray};

/// The partition of a record with this key. `partitions` is at least 1.
pub fn partition_of(key: &[u8], partitions: u32) -> u32 {
    positive(murmur2(key)) % partitions.max(1)
}

/// The partition of each record; records without a key go to `keyless`.
pub fn partitions_of(keys: &BinaryArray, partitions: u32, keyless: u32) -> Vec<u32> {
    (0..keys.len())
        .map(|row| if keys.is_null(row) { keyless } else { partition_of(keys.value(row), partitions) })
        .collect()
}

/// Kafka's `Utils.toPositive`: clears the sign bit (not the absolute value).
fn positive(hash: i32) -> u32 {
    (hash & 0x7fff_ffff) as u32
}

/// Kafka's `Utils.murmur2`.
pub fn murmur2(data: &[u8]) -> i32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    let mut hash = SEED ^ data.len() as u32;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(M);
        k ^= k >> R;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        for (i, byte) in rest.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * i);
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^= hash >> 15;
    hash as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_the_java_producer() {
        for (key, hash) in [
            ("21", -973932308),
            ("foobar", -790332482),
            ("a-little-bit-long-string", -985981536),
            ("a-little-bit-longer-string", -1486304829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
            ("abc", 479470107),
        ] {
            assert_eq!(murmur2(key.as_bytes()), hash, "{key}");
        }
    }

    #[test]
    fn the_sign_bit_is_cleared_and_null_keys_go_where_the_caller_says() {
        assert_eq!(partition_of(b"21", 4), ((-973932308i32 & 0x7fff_ffff) % 4) as u32);
        let keys = BinaryArray::from_opt_vec(vec![Some(b"foobar".as_slice()), None]);
        assert_eq!(partitions_of(&keys, 4, 3), vec![2, 3]);
    }
}
