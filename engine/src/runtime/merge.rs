//! Chooses the next run among a task's inputs (Kafka Streams' rule).
//!
//! Among the inputs that have rows, the one with the smallest head time, ties to the lower number; of it, the longest
//! prefix that stays at or below every other head (strictly below the heads of lower-numbered inputs).
//!
//! ```text
//! input 0: 10 20 30      → input 0, 1 row  (10 ≤ 15, 20 is not)
//! input 1: 15 16         → input 1, 2 rows (15 16 < 20)
//! ```

use arrow::array::Int64Array;

/// `heads[i]` = remaining times of input i, None when it has no rows. Returns the input and how many of its rows.
pub fn choose(heads: &[Option<&Int64Array>]) -> Option<(usize, usize)> {
    let first = |i: usize| heads[i].and_then(|times| times.values().first().copied());
    let chosen = (0..heads.len()).filter(|i| first(*i).is_some()).min_by_key(|i| (first(*i), *i))?;
    let times = heads[chosen]?.values();
    let mut len = times.len();
    for other in (0..heads.len()).filter(|i| *i != chosen) {
        if let Some(limit) = first(other) {
            let fits = |time: i64| if other < chosen { time < limit } else { time <= limit };
            len = times[..len].iter().position(|t| !fits(*t)).unwrap_or(len);
        }
    }
    Some((chosen, len.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(heads: &[&[i64]]) -> Option<(usize, usize)> {
        let arrays: Vec<Int64Array> = heads.iter().map(|h| Int64Array::from(h.to_vec())).collect();
        choose(&arrays.iter().map(|a| (!a.values().is_empty()).then_some(a)).collect::<Vec<_>>())
    }

    #[test]
    fn takes_the_longest_prefix_that_does_not_pass_another_head() {
        assert_eq!(pick(&[&[10, 20, 30], &[15, 16]]), Some((0, 1)));
        assert_eq!(pick(&[&[20, 30], &[15, 16]]), Some((1, 2)));
        assert_eq!(pick(&[&[10, 10, 11], &[10]]), Some((0, 2)));
        assert_eq!(pick(&[&[11], &[10, 11, 12]]), Some((1, 1)));
        assert_eq!(pick(&[&[], &[3, 1, 2]]), Some((1, 3)));
        assert_eq!(pick(&[&[], &[]]), None);
    }
}
