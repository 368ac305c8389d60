//! Aggregates whose state is a list of values: COLLECT_LIST, COLLECT_SET, TOPK, TOPKDISTINCT, EARLIEST_BY_OFFSET,
//! LATEST_BY_OFFSET.
//!
//! | function | a value is added | a value is taken back |
//! |---|---|---|
//! | COLLECT_LIST | at the end, up to the limit; nulls too | the last equal one goes |
//! | COLLECT_SET | at the end, unless it is there | – |
//! | TOPK | at its place, greatest first, behind equal ones; nulls never | – |
//! | TOPKDISTINCT | the same, unless it is there | – |
//! | EARLIEST_BY_OFFSET | at the end, while fewer than n | – |
//! | LATEST_BY_OFFSET | at the end; the first goes when there are more than n | – |
//!
//! Sessions that merge append the second list to the first under the same rule; the OFFSET functions go by arrival,
//! which each value remembers.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, ListArray, StructArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field, Int64Type};
use indexmap::IndexSet;

use super::cells::{Cell, Codec, Lists};
use super::slots::{Step, Walk, Weigh, Weighed};
use super::{Aggregator, Args, Emit, Updated};
use crate::error::{Error, Result};
use crate::types::SqlType;

/// How a list grows.
#[derive(Debug, Clone, Copy)]
pub enum Rule {
    List { limit: usize },
    Set { limit: usize },
    Top { k: usize, distinct: bool },
    Earliest { n: usize, ignore_nulls: bool },
    Latest { n: usize, ignore_nulls: bool },
}

#[derive(Debug, Clone, Default)]
struct State {
    entries: Vec<Entry>,
    /// The cells again, for COLLECT_SET alone.
    known: IndexSet<Cell>,
    /// Of the entries' cells.
    bytes: usize,
}

impl State {
    fn insert(&mut self, at: usize, entry: Entry) {
        self.bytes += entry.bytes();
        self.entries.insert(at, entry);
    }

    fn remove(&mut self, at: usize) {
        self.bytes -= self.entries.remove(at).bytes();
    }
}

impl Weigh for State {
    fn bytes(&self) -> usize {
        // Cell and hash, and the index's own entry; the cell's bytes are there once more.
        const KNOWN_BYTES: usize = 32;
        let known = if self.known.is_empty() { 0 } else { self.bytes + self.known.len() * KNOWN_BYTES };
        self.bytes + self.entries.capacity() * size_of::<Entry>() + known
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Entry {
    cell: Cell,
    /// What TOPK orders by; empty otherwise.
    order: Cell,
    /// When it arrived, for the OFFSET functions.
    arrival: i64,
}

impl Entry {
    fn bytes(&self) -> usize {
        self.cell.len() + self.order.len()
    }
}

pub struct ListAggregate {
    rule: Rule,
    codec: Codec,
    /// TOPK with further columns: how the first one is ordered.
    order: Option<Codec>,
    item: SqlType,
    /// The result is the one value, not a list of it.
    single: bool,
    states: Weighed<State>,
    arrivals: i64,
}

impl ListAggregate {
    /// `item` is the type of one entry.
    pub fn new(rule: Rule, item: &SqlType, single: bool) -> Result<Self> {
        Ok(Self {
            rule,
            codec: Codec::new(item)?,
            order: None,
            item: item.clone(),
            single,
            states: Weighed::default(),
            arrivals: 0,
        })
    }

    /// TOPK whose entries are structs, ordered by their first field.
    pub fn ordered_structs(rule: Rule, item: &SqlType, first: &SqlType) -> Result<Self> {
        Ok(Self { order: Some(Codec::new(first)?), ..Self::new(rule, item, false)? })
    }

    /// The entries' column: the argument, or a struct of all arguments.
    fn entries(&self, args: &[ArrayRef]) -> Result<ArrayRef> {
        if self.order.is_none() {
            return Ok(Arc::clone(&args[0]));
        }
        let DataType::Struct(fields) = self.item.to_arrow() else {
            return Err(Error::internal("entries of several columns are structs"));
        };
        Ok(Arc::new(StructArray::try_new(fields, args.to_vec(), None)?))
    }

    fn result(&self, lists: &Lists) -> Result<ArrayRef> {
        if !self.single {
            return self.codec.lists(lists);
        }
        self.codec.decode(lists.cells())
    }

    /// What a state shows: its cells, or for a single value the one cell (null if there is none).
    fn show(&self, state: &State, null: &[u8], lists: &mut Lists) {
        if self.single && state.entries.is_empty() {
            lists.push(std::iter::once(null));
        } else {
            lists.push(state.entries.iter().map(|entry| &*entry.cell));
        }
    }

    fn null_cell(&self) -> Result<Cell> {
        let null = arrow::array::new_null_array(&self.item.to_arrow(), 1);
        Ok(self.codec.encode(&null)?.row(0).data().into())
    }
}

impl Rule {
    fn skips_nulls(self) -> bool {
        match self {
            Rule::List { .. } | Rule::Set { .. } => false,
            Rule::Top { .. } => true,
            Rule::Earliest { ignore_nulls, .. } | Rule::Latest { ignore_nulls, .. } => ignore_nulls,
        }
    }

    fn add(self, state: &mut State, entry: Entry) {
        let len = state.entries.len();
        match self {
            Rule::List { limit } => {
                if len < limit {
                    state.insert(len, entry);
                }
            }
            Rule::Set { limit } => {
                if len < limit && state.known.insert(entry.cell.clone()) {
                    state.insert(len, entry);
                }
            }
            Rule::Top { k, distinct } => {
                let at = state.entries.partition_point(|other| other.order >= entry.order);
                if at >= k || distinct && at > 0 && state.entries[at - 1].order == entry.order {
                    return;
                }
                state.insert(at, entry);
                if len == k {
                    state.remove(k);
                }
            }
            Rule::Earliest { n, .. } => {
                let at = state.entries.partition_point(|other| other.arrival <= entry.arrival);
                state.insert(at, entry);
                if len == n {
                    state.remove(n);
                }
            }
            Rule::Latest { n, .. } => {
                let at = state.entries.partition_point(|other| other.arrival <= entry.arrival);
                state.insert(at, entry);
                if len == n {
                    state.remove(0);
                }
            }
        }
    }

    fn undo(self, state: &mut State, cell: &[u8]) {
        if let Rule::List { .. } = self
            && let Some(at) = state.entries.iter().rposition(|entry| *entry.cell == *cell)
        {
            state.remove(at);
        }
    }
}

impl Aggregator for ListAggregate {
    fn update(&mut self, groups: &[u32], args: &Args<'_>, emit: Emit<'_>) -> Result<Updated> {
        let mut states = std::mem::take(&mut self.states);
        states.reach(groups);
        let cells = self.codec.encode(&self.entries(args.values)?)?;
        let orders = match &self.order {
            Some(order) => Some(order.encode(&args.values[0])?),
            None => None,
        };
        let undone = match args.undo {
            Some((values, _)) => Some(self.codec.encode(&self.entries(values)?)?),
            None => None,
        };
        let nulls = args.values[0].logical_nulls().filter(|_| self.rule.skips_nulls());
        let null_cell = self.null_cell()?;
        let (mut new, mut old) = (Lists::default(), Lists::default());
        let walk = Walk::new(groups, args, &emit);
        let (rule, first_arrival) = (self.rule, self.arrivals);
        let ordered = matches!(rule, Rule::Top { .. });
        walk.run(
            &mut states,
            |states, group| {
                if emit.old {
                    self.show(states.get(group), &null_cell, &mut old);
                }
            },
            |states, group, row, step| {
                states.change(group, |state| match step {
                    Step::Undo => {
                        if let Some(undone) = &undone {
                            rule.undo(state, undone.row(row).data());
                        }
                    }
                    Step::Add if nulls.as_ref().is_some_and(|nulls| nulls.is_null(row)) => {}
                    Step::Add => {
                        let cell: Cell = cells.row(row).data().into();
                        let order = match &orders {
                            Some(orders) => orders.row(row).data().into(),
                            None if ordered => cell.clone(),
                            None => Cell::default(),
                        };
                        rule.add(state, Entry { cell, order, arrival: first_arrival + row as i64 });
                    }
                });
            },
            |states, group| self.show(states.get(group), &null_cell, &mut new),
        );
        self.arrivals += groups.len() as i64;
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
        let entries = self.states.get(from).entries.clone();
        let rule = self.rule;
        self.states.change(into, |state| entries.into_iter().for_each(|entry| rule.add(state, entry)));
        Ok(())
    }

    fn evaluate(&self, slots: &[u32]) -> Result<ArrayRef> {
        let null = self.null_cell()?;
        let mut lists = Lists::default();
        for &slot in slots {
            self.show(self.states.get(slot), &null, &mut lists);
        }
        self.result(&lists)
    }

    fn store(&self, slots: &[u32]) -> Result<Vec<ArrayRef>> {
        let mut lists = Lists::default();
        let mut arrivals = Vec::new();
        let mut lengths = Vec::with_capacity(slots.len());
        for &slot in slots {
            let state = self.states.get(slot);
            lists.push(state.entries.iter().map(|entry| &*entry.cell));
            arrivals.extend(state.entries.iter().map(|entry| entry.arrival));
            lengths.push(state.entries.len());
        }
        let arrivals = ListArray::new(
            Arc::new(Field::new_list_field(DataType::Int64, true)),
            OffsetBuffer::from_lengths(lengths),
            Arc::new(Int64Array::from(arrivals)),
            None,
        );
        Ok(vec![self.codec.lists(&lists)?, Arc::new(arrivals)])
    }

    fn load(&mut self, slots: &[u32], state: &[ArrayRef]) -> Result<()> {
        self.states.reach(slots);
        let cells = self.codec.cells_of(&state[0])?;
        let orders = match &self.order {
            Some(order) => Some(first_fields(order, &state[0])?),
            None => None,
        };
        let arrivals = state[1].as_list::<i32>();
        for (row, (&slot, cells)) in slots.iter().zip(cells).enumerate() {
            let arrived = arrivals.value(row);
            let arrived = arrived.as_primitive::<Int64Type>();
            let mut loaded = State::default();
            for (i, cell) in cells.into_iter().enumerate() {
                let order = match (&orders, self.rule) {
                    (Some(orders), _) => orders[row][i].clone(),
                    (None, Rule::Top { .. }) => cell.clone(),
                    _ => Cell::default(),
                };
                if let Rule::Set { .. } = self.rule {
                    loaded.known.insert(cell.clone());
                }
                self.arrivals = self.arrivals.max(arrived.value(i) + 1);
                loaded.insert(i, Entry { cell, order, arrival: arrived.value(i) });
            }
            self.states.change(slot, |state| *state = loaded);
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

/// The first field of each struct of a list column, as cells.
fn first_fields(order: &Codec, lists: &ArrayRef) -> Result<Vec<Vec<Cell>>> {
    let lists = lists.as_list::<i32>();
    let first = Arc::clone(lists.values().as_struct().column(0));
    let item = Arc::new(Field::new_list_field(first.data_type().clone(), true));
    let firsts: ArrayRef = Arc::new(ListArray::new(item, lists.offsets().clone(), first, None));
    order.cells_of(&firsts)
}
