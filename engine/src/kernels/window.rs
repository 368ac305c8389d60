//! Windows of a record: tumbling and hopping, aligned to the epoch (Kafka Streams: `TimeWindows.windowsFor`).
//!
//! ```text
//! size 10 advance 5     time 12 → [5, 15) [10, 20)       time 3 → [0, 10)     (never before the epoch)
//! ```

/// Start of the first window that holds `time`.
pub fn first_start(time: i64, size_ms: i64, advance_ms: i64) -> i64 {
    let earliest = time.saturating_sub(size_ms).saturating_add(advance_ms).max(0);
    earliest - earliest % advance_ms
}

/// Start of the only window that holds each time.
pub fn tumbling_starts(times: &[i64], size_ms: i64) -> Vec<i64> {
    times.iter().map(|&time| time.max(0) - time.max(0) % size_ms).collect()
}

/// Row-major expansion: for each row its windows by ascending start, as `(row, start)`.
pub fn hopping_starts(times: &[i64], size_ms: i64, advance_ms: i64) -> (Vec<u32>, Vec<i64>) {
    let per_row = (size_ms / advance_ms.max(1) + 1).clamp(1, 1024) as usize;
    let mut rows = Vec::with_capacity(times.len() * per_row);
    let mut starts = Vec::with_capacity(times.len() * per_row);
    for (row, &time) in times.iter().enumerate() {
        let mut start = first_start(time, size_ms, advance_ms);
        while start <= time {
            rows.push(row as u32);
            starts.push(start);
            start += advance_ms;
        }
    }
    (rows, starts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hopping_record_is_in_every_window_that_covers_it() {
        let (rows, starts) = hopping_starts(&[12, 3], 10, 5);
        assert_eq!((rows, starts), (vec![0, 0, 1], vec![5, 10, 0]));
    }

    #[test]
    fn tumbling_is_hopping_by_its_own_size() {
        for time in [0, 9, 10, 11, 25] {
            assert_eq!(tumbling_starts(&[time], 10), hopping_starts(&[time], 10, 10).1);
        }
    }
}
