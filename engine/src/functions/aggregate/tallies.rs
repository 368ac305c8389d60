//! Aggregates that count distinct values: HISTOGRAM shows the counts, ATTR the value if there is only one.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, MapArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int64Type};
use indexmap::IndexMap;

use super::cells::{Cell, Codec, Lists};
use super::slots::{Step, Walk, Weigh, Weighed};
use super::{Aggregator, Args, Emit, Updated};
use crate::error::{Error, Result};
use crate::types::SqlType;

/// What is shown of the counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shown {
    /// Values and counts, at most this many values.
    Histogram { values_max: usize },
    /// The value, if it is the only one.
    Attribute,
}

#[derive(Debug, Clone, Default)]
struct Counts {
    of: IndexMap<Cell, i64>,
    /// Of the cells.
    bytes: usize,
}

impl Counts {
    fn add(&mut self, shown: Shown, cell: &[u8], times: i64) {
        if let Some(count) = self.of.get_mut(cell) {
            *count += times;
            return;
        }
        let full = matches!(shown, Shown::Histogram { values_max } if self.of.len() >= values_max);
        if !full {
            self.bytes += cell.len();
            self.of.insert(cell.into(), times);
        }
    }

    fn undo(&mut self, cell: &[u8]) {
        let Some(count) = self.of.get_mut(cell) else { return };
        *count -= 1;
        if *count < 1 {
            self.bytes -= cell.len();
            self.of.shift_remove(cell);
        }
    }
}

impl Weigh for Counts {
    fn bytes(&self) -> usize {
        // Cell, count and hash, and the index's own entry.
        const ENTRY_BYTES: usize = 48;
        self.bytes + self.of.capacity() * ENTRY_BYTES
    }
}

pub struct Tally {
    shown: Shown,
    item: SqlType,
    codec: Codec,
    states: Weighed<Counts>,
}

impl Tally {
    pub fn new(shown: Shown, item: &SqlType) -> Result<Self> {
        Ok(Self { shown, item: item.clone(), codec: Codec::new(item)?, states: Weighed::default() })
    }

    fn columns(&self, tallies: &Tallies) -> Result<(ArrayRef, ArrayRef)> {
        let lists = self.codec.lists(&tallies.cells)?;
        let item = Arc::new(Field::new_list_field(DataType::Int64, true));
        let offsets = OffsetBuffer::from_lengths(tallies.lengths.iter().copied());
        let counts = ListArray::new(item, offsets, Arc::new(Int64Array::from(tallies.counts.clone())), None);
        Ok((lists, Arc::new(counts)))
    }

    fn result(&self, tallies: &Tallies) -> Result<ArrayRef> {
        if self.shown == Shown::Attribute {
            return self.codec.decode(tallies.cells.cells());
        }
        let (values, counts) = self.columns(tallies)?;
        let DataType::Map(entries, sorted) = SqlType::map(self.item.clone(), SqlType::Bigint).to_arrow() else {
            return Err(Error::internal("a MAP is an Arrow map"));
        };
        let DataType::Struct(fields) = entries.data_type().clone() else {
            return Err(Error::internal("an Arrow map has entries"));
        };
        let (values, counts) = (values.as_list::<i32>(), counts.as_list::<i32>());
        let pairs = StructArray::try_new(fields, vec![Arc::clone(values.values()), Arc::clone(counts.values())], None)?;
        Ok(Arc::new(MapArray::try_new(entries, values.offsets().clone(), pairs, None, sorted)?))
    }

    fn show(&self, counts: &Counts, null: &[u8], tallies: &mut Tallies) {
        match self.shown {
            Shown::Histogram { .. } => tallies.push(counts),
            Shown::Attribute => {
                let only = match counts.of.len() {
                    1 => counts.of.get_index(0).map(|(cell, _)| &**cell),
                    _ => None,
                };
                tallies.cells.push(std::iter::once(only.unwrap_or(null)));
            }
        }
    }

    fn null_cell(&self) -> Result<Cell> {
        let null = arrow::array::new_null_array(&self.item.to_arrow(), 1);
        Ok(self.codec.encode(&null)?.row(0).data().into())
    }
}

/// Values and counts of several groups.
#[derive(Default)]
struct Tallies {
    cells: Lists,
    counts: Vec<i64>,
    lengths: Vec<usize>,
}

impl Tallies {
    fn push(&mut self, counts: &Counts) {
        self.cells.push(counts.of.keys().map(|cell| &**cell));
        self.counts.extend(counts.of.values());
        self.lengths.push(counts.of.len());
    }
}

impl Aggregator for Tally {
    fn update(&mut self, groups: &[u32], args: &Args<'_>, emit: Emit<'_>) -> Result<Updated> {
        let mut states = std::mem::take(&mut self.states);
        states.reach(groups);
        let cells = self.codec.encode(&args.values[0])?;
        let undone = match args.undo {
            Some((values, _)) => Some((self.codec.encode(&values[0])?, &values[0])),
            None => None,
        };
        // A histogram has no place for null.
        let skips = |values: &ArrayRef, row: usize| self.shown != Shown::Attribute && values.is_null(row);
        let null = self.null_cell()?;
        let (mut new, mut old) = (Tallies::default(), Tallies::default());
        let walk = Walk::new(groups, args, &emit);
        walk.run(
            &mut states,
            |states, group| {
                if emit.old {
                    self.show(states.get(group), &null, &mut old);
                }
            },
            |states, group, row, step| {
                states.change(group, |counts| match (step, &undone) {
                    (Step::Add, _) if !skips(&args.values[0], row) => {
                        counts.add(self.shown, cells.row(row).data(), 1);
                    }
                    (Step::Undo, Some((cells, values))) if !skips(values, row) => {
                        counts.undo(cells.row(row).data());
                    }
                    _ => {}
                });
            },
            |states, group| self.show(states.get(group), &null, &mut new),
        );
        let updated = Updated {
            new: if walk.emits() { Some(self.result(&new)?) } else { None },
            old: if emit.old { Some(self.result(&old)?) } else { None },
            errors: Vec::new(),
        };
        self.states = states;
        Ok(updated)
    }

    fn merge(&mut self, into: u32, from: u32) -> Result<()> {
        self.states.reach(&[into, from]);
        let counts = self.states.get(from).of.clone();
        let shown = self.shown;
        self.states.change(into, |into| counts.iter().for_each(|(cell, times)| into.add(shown, cell, *times)));
        Ok(())
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        let null = self.null_cell()?;
        let mut tallies = Tallies::default();
        for &slot in slots {
            self.show(self.states.get(slot), &null, &mut tallies);
        }
        self.result(&tallies)
    }

    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut tallies = Tallies::default();
        for &slot in slots {
            tallies.push(self.states.get(slot));
        }
        let (values, counts) = self.columns(&tallies)?;
        Ok(vec![values, counts])
    }

    fn load(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        self.states.reach(slots);
        let cells = self.codec.cells_of(&state[0])?;
        let counts = state[1].as_list::<i32>();
        for (row, (&slot, cells)) in slots.iter().zip(cells).enumerate() {
            let times = counts.value(row);
            let times = times.as_primitive::<Int64Type>();
            let bytes = cells.iter().map(|cell| cell.len()).sum();
            let of = cells.into_iter().zip(times.values().iter().copied()).collect();
            self.states.change(slot, |counts| *counts = Counts { of, bytes });
        }
        Ok(())
    }

    fn clear(&mut self, slots: &[u32]) {
        self.states.clear(slots);
    }

    fn bytes(&self) -> usize {
        self.states.bytes()
    }

    fn state_types(&self) -> Vec<SqlType> {
        vec![SqlType::array(self.item.clone()), SqlType::array(SqlType::Bigint)]
    }
}
