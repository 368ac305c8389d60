//! The right part of a foreign-key join: asks of left rows and changes of right rows → joined rows.
//!
//! ```text
//! right a | x
//! ask   a: Match 1 (row p)     →  1 | p x
//! ask   b: Always 2 (row q)    →  INNER: 2 | –      LEFT: 2 | q null
//! right a | y                  →  1 | p y           one answer per subscriber, in the order of left key bytes
//! right a | –                  →  INNER: 1 | –      LEFT: 1 | p null
//! ```
//!
//! State table 0: subscriptions, by foreign key and left key, with the left row and its version; table 1: the right
//! table. See [`crate::ops::keyed_rows`].

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{Int32Type, SchemaRef};
use arrow::row::{RowConverter, SortField};

use super::{Ask, Travelling};
use crate::error::Result;
use crate::format::{self, FormatRef, FormatSpec, Side};
use crate::kernels::row_store::Source;
use crate::ops::evaluate::{mask, null_values, null_where, some_bits};
use crate::ops::keyed_rows::{KeyedRows, numbered, with_keys};
use crate::ops::{InputId, OpContext, Operator, Output, Then};
use crate::plan::steps::JoinKind;
use crate::rows::{Change, Rows, batch_of};
use crate::schema::Schema;
use crate::state::StateChanges;

const RIGHT_TABLE: u32 = 1;

/// Memory of an entry of the order beside its bytes: pointer, length, slot, and its share of a node.
const PLACE_BYTES: usize = 32;

pub struct ForeignKeyRight {
    /// Left rows without a right one are kept.
    outer: bool,
    left_keys: usize,
    left_columns: usize,
    /// Foreign key, left key | left values, version.
    subscriptions: KeyedRows,
    subscriptions_schema: SchemaRef,
    /// Slots of the subscriptions by length and bytes of their foreign key, then their left key's bytes.
    in_order: BTreeMap<Box<[u8]>, u32>,
    /// Approximate memory of `in_order`.
    order_bytes: usize,
    foreign_keys: RowConverter,
    left_key: FormatRef,
    right: KeyedRows,
    answers_schema: SchemaRef,
}

impl ForeignKeyRight {
    /// `left_key_format` says in which order a right row's subscribers are answered.
    pub fn new(
        kind: JoinKind,
        left: &Schema,
        left_key_format: &FormatSpec,
        right: &Schema,
        travelling: &Travelling,
    ) -> Result<Self> {
        let foreign_key = &travelling.asks.key;
        let key = foreign_key.iter().chain(&left.key).cloned().collect();
        // All of an ask but what it asks.
        let value = travelling.asks.value[left.key.len()..travelling.asks.value.len() - 1].to_vec();
        let subscriptions = Schema::new(key, value);
        Ok(Self {
            outer: kind == JoinKind::Left,
            left_keys: left.key.len(),
            left_columns: left.len(),
            subscriptions: KeyedRows::new(&subscriptions, false)?,
            subscriptions_schema: subscriptions.to_arrow(),
            in_order: BTreeMap::new(),
            order_bytes: 0,
            foreign_keys: RowConverter::new(vec![SortField::new(foreign_key[0].ty.to_arrow())])?,
            left_key: format::create(left_key_format, &left.key, Side::Key)?,
            right: KeyedRows::new(right, false)?,
            answers_schema: travelling.answers.to_arrow(),
        })
    }

    fn asks(&mut self, asks: &Rows, ctx: &mut OpContext<'_>) -> Result<Rows> {
        let columns = asks.columns.columns();
        let asked: Vec<Ask> =
            columns[columns.len() - 1].as_primitive::<Int32Type>().values().iter().map(|&code| Ask::of(code)).collect();
        let foreign_key = &columns[0];
        let run = self.right.encode(&columns[..1], None)?;
        let mut picked: Vec<u32> = Vec::with_capacity(asks.len());
        let mut found: Vec<Source> = Vec::with_capacity(asks.len());
        let mut dead = Vec::with_capacity(asks.len());
        for (row, ask) in asked.iter().enumerate() {
            let right = match ask {
                Ask::Leave => continue,
                Ask::Match | Ask::Always if foreign_key.is_valid(row) => self.right.find(&run, row),
                _ => None,
            };
            if *ask == Ask::Match && right.is_none() && !self.outer {
                ctx.counters.unmatched += 1;
                continue;
            }
            picked.push(row as u32);
            found.push(right.map_or(Source::Nothing, Source::Slot));
            dead.push(*ask == Ask::Delete || right.is_none() && !self.outer);
        }
        self.subscribe(asks, &asked)?;
        let time = picked.iter().zip(&found).map(|(&row, source)| match source {
            Source::Slot(slot) => asks.time.value(row as usize).max(self.right.time(*slot)),
            _ => asks.time.value(row as usize),
        });
        let time = Int64Array::from_iter_values(time);
        let right = self.right.gather(&found)?;
        let asks = asks.take(&UInt32Array::from(picked))?;
        let left = &asks.columns.columns()[1..=self.left_columns];
        let version = asks.columns.column(1 + self.left_columns);
        let columns = [left, &right.columns()[1..]].concat();
        self.answers(&asks, time, columns, version, BooleanBuffer::from(dead))
    }

    /// Keeps the subscriptions that begin and forgets those that end.
    fn subscribe(&mut self, asks: &Rows, asked: &[Ask]) -> Result<()> {
        let columns = asks.columns.columns();
        let ends = BooleanBuffer::collect_bool(asks.len(), |row| matches!(asked[row], Ask::Leave | Ask::Delete));
        let columns = columns[..columns.len() - 1].to_vec();
        let changes = Rows {
            columns: batch_of(SchemaRef::clone(&self.subscriptions_schema), columns, asks.len())?,
            null_key: None,
            null_value: some_bits(ends),
            headers: None,
            ..asks.clone()
        };
        let changes = match &asks.null_key {
            Some(nulls) => changes.filter(&mask(!nulls))?,
            None => changes,
        };
        self.subscriptions.upsert(&changes, false)?;
        self.order(changes.columns.columns())
    }

    /// Brings the order up to date for subscriptions that have changed; `columns` begin with foreign key and left key.
    fn order(&mut self, columns: &[ArrayRef]) -> Result<()> {
        let run = self.subscriptions.encode(columns, None)?;
        let foreign_keys = self.foreign_keys.convert_columns(&columns[..1])?;
        let left_keys = self.left_key.encode(&columns[1..=self.left_keys], None)?.bytes;
        for row in 0..run.len() {
            let mut place = prefix(foreign_keys.row(row).data());
            place.extend_from_slice(left_keys.value(row));
            let bytes = place.len() + PLACE_BYTES;
            if let Some(slot) = self.subscriptions.find(&run, row) {
                let known = self.in_order.insert(place.into(), slot).is_some();
                self.order_bytes += if known { 0 } else { bytes };
            } else if self.in_order.remove(place.as_slice()).is_some() {
                self.order_bytes -= bytes;
            }
        }
        Ok(())
    }

    fn right_changes(&mut self, rows: &Rows, ctx: &mut OpContext<'_>) -> Result<Rows> {
        let foreign_keys = self.foreign_keys.convert_columns(&rows.columns.columns()[..1])?;
        let (mut picked, mut subscribers): (Vec<u32>, Vec<Source>) = (Vec::new(), Vec::new());
        for row in 0..rows.len() {
            let prefix = prefix(foreign_keys.row(row).data());
            let before = picked.len();
            let from = (Bound::Included(prefix.as_slice()), Bound::Unbounded);
            let from = self.in_order.range::<[u8], _>(from);
            for (_, &slot) in from.take_while(|(place, _)| place.starts_with(&prefix)) {
                picked.push(row as u32);
                subscribers.push(Source::Slot(slot));
            }
            ctx.counters.unmatched += u64::from(picked.len() == before);
        }
        self.right.upsert(rows, false)?;
        let left = self.subscriptions.gather(&subscribers)?;
        let right = rows.take(&UInt32Array::from(picked))?;
        let gone = null_values(&right).cloned().unwrap_or_else(|| BooleanBuffer::new_unset(right.len()));
        let right_values =
            right.columns.columns()[1..].iter().map(|c| null_where(c, &gone)).collect::<Result<Vec<_>>>()?;
        let columns = [&left.columns()[1..=self.left_columns], &right_values].concat();
        let dead = if self.outer { BooleanBuffer::new_unset(right.len()) } else { gone };
        self.answers(&right, right.time.clone(), columns, left.column(1 + self.left_columns), dead)
    }

    /// Answers triggered by `by`: left key, left and right values in `columns`; tombstones where `dead`.
    fn answers(
        &self,
        by: &Rows,
        time: Int64Array,
        mut columns: Vec<ArrayRef>,
        version: &ArrayRef,
        dead: BooleanBuffer,
    ) -> Result<Rows> {
        for column in &mut columns[self.left_keys..] {
            *column = null_where(column, &dead)?;
        }
        columns.push(Arc::clone(version));
        let columns = batch_of(SchemaRef::clone(&self.answers_schema), columns, by.len())?;
        let change = Change::Upsert { old: None };
        Ok(Rows { columns, time, null_key: None, null_value: some_bits(dead), change, ..by.clone() })
    }
}

/// What the places of all subscriptions under a foreign key begin with.
fn prefix(foreign_key: &[u8]) -> Vec<u8> {
    let mut prefix = (foreign_key.len() as u32).to_be_bytes().to_vec();
    prefix.extend_from_slice(foreign_key);
    prefix
}

impl Operator for ForeignKeyRight {
    fn process(
        &mut self,
        input: InputId,
        rows: &Rows,
        ctx: &mut OpContext<'_>,
        out: &mut Output,
    ) -> Result<(usize, Then)> {
        let unmatched = ctx.counters.unmatched;
        let (answers, missing) = if input == 0 {
            (self.asks(rows, ctx)?, 0)
        } else {
            let (keyed, missing) = with_keys(rows, 1)?;
            (self.right_changes(&keyed, ctx)?, missing as u64)
        };
        ctx.counters.rows_in += rows.len() as u64;
        ctx.counters.rejected += missing;
        ctx.counters.accepted += rows.len() as u64 - missing - (ctx.counters.unmatched - unmatched);
        ctx.counters.rows_out += answers.len() as u64;
        out.push(answers);
        Ok((rows.len(), Then::Continue))
    }

    fn track_changes(&mut self, track: bool) {
        self.subscriptions.track(track);
        self.right.track(track);
    }

    fn take_changes(&mut self) -> Result<Option<StateChanges>> {
        let mut changes = self.subscriptions.take_changes()?;
        changes.tables.extend(numbered(self.right.take_changes()?.tables, RIGHT_TABLE).tables);
        Ok(Some(changes))
    }

    fn apply(&mut self, changes: &StateChanges) -> Result<()> {
        for table in &changes.tables {
            let one = numbered(vec![table.clone()], 0);
            if table.table == RIGHT_TABLE {
                self.right.apply(&one)?;
            } else {
                self.subscriptions.apply(&one)?;
                self.order(KeyedRows::row_columns(table))?;
            }
        }
        Ok(())
    }

    fn snapshot(&self) -> Result<Option<StateChanges>> {
        let mut state = self.subscriptions.snapshot()?;
        state.tables.extend(numbered(self.right.snapshot()?.tables, RIGHT_TABLE).tables);
        Ok(Some(state))
    }

    fn state_size(&self) -> (u64, u64) {
        let (subscriptions, right) = (self.subscriptions.size(), self.right.size());
        (subscriptions.0 + right.0, subscriptions.1 + right.1 + self.order_bytes as u64)
    }
}
