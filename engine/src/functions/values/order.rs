//! Java's order of texts and bytes, where Arrow's differs.
//!
//! | values | Arrow | Java |
//! |---|---|---|
//! | U+1F600, U+E000 | U+E000 first, by code point | U+1F600 first, by UTF-16 unit |
//! | bytes 7F, 80 | 7F first | 80 first, as bytes have a sign |

use std::cmp::Ordering;

/// `String.compareTo` of two texts in UTF-8: by UTF-16 units. That is the order of the bytes, but that characters beyond
/// U+FFFF (first byte F0 to F4) are written in UTF-16 with units below U+E000 to U+FFFF (first byte EE and EF).
pub fn text_order(a: &[u8], b: &[u8]) -> Ordering {
    const BEYOND_SURROGATES: u8 = 0xee;
    let at = common_prefix(a, b);
    match (a.get(at), b.get(at)) {
        (Some(x), Some(y)) if *x >= BEYOND_SURROGATES && *y >= BEYOND_SURROGATES => (*x < 0xf0, x).cmp(&(*y < 0xf0, y)),
        (x, y) => x.cmp(&y),
    }
}

/// How many bytes both begin with.
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    let (mut at, pairs) = (0, a.as_chunks().0.iter().zip(b.as_chunks().0));
    for (x, y) in pairs {
        let differs = word(x) ^ word(y);
        if differs != 0 {
            return at + differs.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    at + a[at..].iter().zip(&b[at..]).take_while(|(x, y)| x == y).count()
}

/// `ByteBuffer.compareTo`.
pub fn bytes_order(a: &[u8], b: &[u8]) -> Ordering {
    a.iter().map(|&byte| byte as i8).cmp(b.iter().map(|&byte| byte as i8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_compare_as_java_compares_them() {
        let texts =
            ["", "a", "ab", "b", "é", "\u{d7ff}", "\u{1f600}", "\u{10ffff}", "\u{e000}", "\u{ffff}", "a\u{ffff}"];
        for a in texts {
            for b in texts {
                let units = a.encode_utf16().cmp(b.encode_utf16());
                assert_eq!(text_order(a.as_bytes(), b.as_bytes()), units, "{a:?} and {b:?}");
            }
        }
    }
}
