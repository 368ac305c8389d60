//! What came before, within a run: pure functions of slots and times in row order.

/// For each row the previous row of the same slot in this run, or `NONE`.
///
/// ```text
/// slots  4  9  4  4
/// prev   -  -  0  2
/// ```
pub fn previous_rows(slots: &[u32], stamps: &mut Stamps) -> Vec<u32> {
    stamps.begin(slots);
    let mut previous = Vec::with_capacity(slots.len());
    for (row, &slot) in slots.iter().enumerate() {
        previous.push(stamps.swap(slot, row as u32));
    }
    previous
}

/// The last row of each slot in this run, in row order.
pub fn last_rows(slots: &[u32], stamps: &mut Stamps) -> Vec<u32> {
    stamps.begin(slots);
    let mut last = Vec::new();
    for (row, &slot) in slots.iter().enumerate().rev() {
        if stamps.swap(slot, row as u32) == NONE {
            last.push(row as u32);
        }
    }
    last.reverse();
    last
}

/// No row.
pub const NONE: u32 = u32::MAX;

/// A row number per slot that is forgotten at the start of each run, without touching every slot.
#[derive(Default)]
pub struct Stamps {
    run: u32,
    rows: Vec<(u32, u32)>,
}

impl Stamps {
    pub fn begin(&mut self, slots: &[u32]) {
        if self.run == u32::MAX {
            self.rows.clear();
            self.run = 0;
        }
        self.run += 1;
        if let Some(&max) = slots.iter().max()
            && self.rows.len() <= max as usize
        {
            self.rows.resize(max as usize + 1, (0, NONE));
        }
    }

    /// Puts `row` down for the slot, returns the row put down before in this run.
    pub fn swap(&mut self, slot: u32, row: u32) -> u32 {
        let before = std::mem::replace(&mut self.rows[slot as usize], (self.run, row));
        if before.0 == self.run { before.1 } else { NONE }
    }
}

/// Stream time at each row: the largest time so far, this row included.
pub fn stream_times(start: i64, times: &[i64]) -> Vec<i64> {
    let mut now = start;
    times
        .iter()
        .map(|&time| {
            now = now.max(time);
            now
        })
        .collect()
}

/// Slots changed since they were last taken, each once.
#[derive(Default)]
pub struct Touched {
    /// Off: nobody will ask, nothing is kept.
    pub enabled: bool,
    marked: Vec<bool>,
    slots: Vec<u32>,
}

impl Touched {
    pub fn mark(&mut self, slots: &[u32]) {
        if !self.enabled {
            return;
        }
        if let Some(&max) = slots.iter().max()
            && self.marked.len() <= max as usize
        {
            self.marked.resize(max as usize + 1, false);
        }
        for &slot in slots {
            let marked = &mut self.marked[slot as usize];
            if !*marked {
                *marked = true;
                self.slots.push(slot);
            }
        }
    }

    /// These slots are given back: what is later at their place is another key.
    pub fn forget(&mut self, slots: &[u32]) {
        for &slot in slots {
            if let Some(marked) = self.marked.get_mut(slot as usize) {
                *marked = false;
            }
        }
    }

    pub fn take(&mut self) -> Vec<u32> {
        let mut slots = std::mem::take(&mut self.slots);
        slots.retain(|&slot| std::mem::take(&mut self.marked[slot as usize]));
        slots
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_of_one_key_are_chained_within_a_run_only() {
        let mut stamps = Stamps::default();
        assert_eq!(previous_rows(&[4, 9, 4, 4], &mut stamps), [NONE, NONE, 0, 2]);
        assert_eq!(previous_rows(&[9, 4], &mut stamps), [NONE, NONE]);
        assert_eq!(last_rows(&[4, 9, 4, 1], &mut stamps), [1, 2, 3]);
    }

    #[test]
    fn a_slot_reused_after_it_was_forgotten_is_taken_once() {
        let mut touched = Touched { enabled: true, ..Touched::default() };
        touched.mark(&[3, 1, 3]);
        touched.forget(&[3]);
        touched.mark(&[3]);
        assert_eq!(touched.take(), [3, 1]);
        assert_eq!(touched.take(), Vec::<u32>::new());
    }
}
