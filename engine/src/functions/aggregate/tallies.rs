//! Aggregates that count distinct values: HISTOGRAM shows the counts, ATTR the value if there is only one.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, MapArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int64Type};
use indexmap::IndexMap;

use super::cells::{Cell, Codec, Lists};
use super::slots::{Step, Walk, reach};
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

type Counts = IndexMap<Cell, i64>;

pub struct Tally {
    shown: Shown,
    item: SqlType,
    codec: Codec,
    states: Vec<Counts>,
}

impl Tally {
    pub fn new(shown: Shown, item: &SqlType) -> Result<Self> {
        Ok(Self { shown, item: item.clone(), codec: Codec::new(item)?, states: Vec::new() })
    }

    fn add(shown: Shown, counts: &mut Counts, cell: &[u8], times: i64) {
        if let Some(count) = counts.get_mut(cell) {
            *count += times;
            return;
        }
        let full = matches!(shown, Shown::Histogram { values_max } if counts.len() >= values_max);
        if !full {
            counts.insert(cell.into(), times);
        }
    }

    fn undo(counts: &mut Counts, cell: &[u8]) {
        let Some(count) = counts.get_mut(cell) else { return };
        *count -= 1;
        if *count < 1 {
            counts.shift_remove(cell);
        }
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
                let only = match counts.len() {
                    1 => counts.get_index(0).map(|(cell, _)| &**cell),
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
        self.cells.push(counts.keys().map(|cell| &**cell));
        self.counts.extend(counts.values());
        self.lengths.push(counts.len());
    }
}

impl Aggregator for Tally {
    fn update(&mut self, groups: &[u32], args: &Args<'_>, emit: Emit<'_>) -> Result<Updated> {
        let mut states = std::mem::take(&mut self.states);
        reach(&mut states, groups, Counts::default());
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
                    self.show(&states[group as usize], &null, &mut old);
                }
            },
            |states, group, row, step| {
                let counts = &mut states[group as usize];
                match (step, &undone) {
                    (Step::Add, _) if !skips(&args.values[0], row) => {
                        Self::add(self.shown, counts, cells.row(row).data(), 1);
                    }
                    (Step::Undo, Some((cells, values))) if !skips(values, row) => {
                        Self::undo(counts, cells.row(row).data());
                    }
                    _ => {}
                }
            },
            |states, group| self.show(&states[group as usize], &null, &mut new),
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
        reach(&mut self.states, &[into, from], Counts::default());
        let counts = self.states[from as usize].clone();
        for (cell, times) in counts {
            Self::add(self.shown, &mut self.states[into as usize], &cell, times);
        }
        Ok(())
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        let (empty, null) = (Counts::default(), self.null_cell()?);
        let mut tallies = Tallies::default();
        for &slot in slots {
            self.show(self.states.get(slot as usize).unwrap_or(&empty), &null, &mut tallies);
        }
        self.result(&tallies)
    }

    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let empty = Counts::default();
        let mut tallies = Tallies::default();
        for &slot in slots {
            tallies.push(self.states.get(slot as usize).unwrap_or(&empty));
        }
        let (values, counts) = self.columns(&tallies)?;
        Ok(vec![values, counts])
    }

    fn load(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        reach(&mut self.states, slots, Counts::default());
        let cells = self.codec.cells_of(&state[0])?;
        let counts = state[1].as_list::<i32>();
        for (row, (&slot, cells)) in slots.iter().zip(cells).enumerate() {
            let times = counts.value(row);
            let times = times.as_primitive::<Int64Type>();
            self.states[slot as usize] = cells.into_iter().zip(times.values().iter().copied()).collect();
        }
        Ok(())
    }

    fn clear(&mut self, slots: &[u32]) {
        for &slot in slots {
            if let Some(counts) = self.states.get_mut(slot as usize) {
                *counts = Counts::default();
            }
        }
    }

    fn state_types(&self) -> Vec<SqlType> {
        vec![SqlType::array(self.item.clone()), SqlType::array(SqlType::Bigint)]
    }
}
