//! The current row of every key of a table, as columns.
//!
//! What [`super::source_table`] and the table side of [`super::stream_table`] keep. State table 0, one row per key:
//!
//! ```text
//! key (key columns, window) | deleted | time | start | end | key and value columns …
//! ```

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, RecordBatch, new_null_array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::{DataType, Int64Type};

use crate::error::{Error, Result};
use crate::kernels::fixed_bytes;
use crate::kernels::keys::{KeyIndex, KeyRun, KeyStore, state_keys};
use crate::kernels::order::{NONE, Stamps, Touched, last_rows, previous_rows};
use crate::kernels::row_store::{RowStore, Source, copy_rows};
use crate::ops::Lookup;
use crate::ops::evaluate::some_bits;
use crate::ops::groups::state_table;
use crate::plan::expr::{Expr, Value};
use crate::rows::{Change, OldRows, Rows, Windows};
use crate::schema::Schema;
use crate::state::{StateChanges, StateTable};
use crate::types::SqlType;

/// Where the row's own columns begin in a state table.
const ROW_COLUMNS: usize = 5;

pub struct KeyedRows {
    key_types: Vec<DataType>,
    windowed: bool,
    keys: KeyStore,
    index: KeyIndex,
    rows: RowStore,
    times: Vec<i64>,
    windows: Vec<(i64, i64)>,
    touched: Touched,
    stamps: Stamps,
}

impl KeyedRows {
    pub fn new(schema: &Schema, windowed: bool) -> Result<Self> {
        let key_types: Vec<DataType> = schema.key.iter().map(|column| column.ty.to_arrow()).collect();
        let mut identity = key_types.clone();
        if windowed {
            identity.extend([DataType::Int64, DataType::Int64]);
        }
        let keys = KeyStore::new(identity)?;
        let index = keys.index();
        Ok(Self {
            key_types,
            windowed,
            keys,
            index,
            rows: RowStore::new(schema.to_arrow()),
            times: Vec::new(),
            windows: Vec::new(),
            touched: Touched::default(),
            stamps: Stamps::default(),
        })
    }

    pub fn track(&mut self, track: bool) {
        self.touched.enabled = track;
    }

    /// The keys of a run; its rows have whole keys.
    pub fn encode(&self, columns: &[ArrayRef], window: Option<&Windows>) -> Result<KeyRun> {
        let mut identity = columns[..self.key_types.len()].to_vec();
        if self.windowed {
            let window = window.ok_or_else(|| Error::internal("rows of a windowed table carry no window"))?;
            identity.push(Arc::new(window.start.clone()));
            identity.push(Arc::new(window.end.clone()));
        }
        self.keys.encode(&identity)
    }

    /// The stored row of each of the run's keys.
    pub fn find(&self, run: &KeyRun, row: usize) -> Option<u32> {
        self.keys.find(&self.index, run, row).filter(|&slot| self.rows.contains(slot))
    }

    /// Time of the stored row.
    pub fn time(&self, slot: u32) -> i64 {
        self.times[slot as usize]
    }

    pub fn gather(&self, sources: &[Source]) -> Result<RecordBatch> {
        self.rows.gather(sources, None)
    }

    /// Puts a run of changes in; gives the row each one replaced, if asked for. No key of the run is null.
    pub fn upsert(&mut self, rows: &Rows, old: bool) -> Result<Option<OldRows>> {
        let run = self.encode(rows.columns.columns(), rows.window.as_ref())?;
        let mut slots = Vec::new();
        self.keys.intern(&mut self.index, &run, 0, run.len(), &mut slots);
        let replaced = if old { Some(self.replaced(rows, &slots)?) } else { None };
        self.touched.mark(&slots);
        let last = last_rows(&slots, &mut self.stamps);
        let (dead, live): (Vec<u32>, Vec<u32>) = last.into_iter().partition(|&row| rows.is_null_value(row as usize));
        let live_slots: Vec<u32> = live.iter().map(|&row| slots[row as usize]).collect();
        self.times.resize(self.keys.slots(), 0);
        self.windows.resize(self.keys.slots(), (0, 0));
        for (&row, &slot) in live.iter().zip(&live_slots) {
            self.times[slot as usize] = rows.time.value(row as usize);
        }
        for (row, &slot) in slots.iter().enumerate().filter(|_| self.windowed) {
            if let Some(window) = &rows.window {
                self.windows[slot as usize] = (window.start.value(row), window.end.value(row));
            }
        }
        self.rows.put(&live_slots, copy_rows(&rows.columns, &live)?)?;
        for row in dead {
            let slot = slots[row as usize];
            self.rows.remove(slot);
            if !self.touched.enabled {
                self.keys.forget(&mut self.index, slot);
            }
        }
        Ok(replaced)
    }

    fn replaced(&mut self, rows: &Rows, slots: &[u32]) -> Result<OldRows> {
        let previous = previous_rows(slots, &mut self.stamps);
        let sources: Vec<Source> = slots
            .iter()
            .zip(&previous)
            .map(|(&slot, &previous)| match previous {
                NONE if self.rows.contains(slot) => Source::Slot(slot),
                NONE => Source::Nothing,
                row if rows.is_null_value(row as usize) => Source::Nothing,
                row => Source::Run(row),
            })
            .collect();
        Ok(OldRows {
            columns: self.rows.gather(&sources, Some(&rows.columns))?,
            present: BooleanBuffer::collect_bool(sources.len(), |row| sources[row] != Source::Nothing),
        })
    }

    pub fn take_changes(&mut self) -> Result<StateChanges> {
        let slots = self.touched.take();
        let changes = self.state_rows(&slots)?;
        for slot in slots {
            if !self.rows.contains(slot) {
                self.keys.forget(&mut self.index, slot);
            }
        }
        Ok(changes)
    }

    pub fn snapshot(&self) -> Result<StateChanges> {
        self.state_rows(&self.rows.slots())
    }

    fn state_rows(&self, slots: &[u32]) -> Result<StateChanges> {
        if slots.is_empty() {
            return Ok(StateChanges::default());
        }
        let identity = self.keys.columns(slots)?;
        let deleted: BooleanArray = slots.iter().map(|&slot| Some(!self.rows.contains(slot))).collect();
        let long = |value: &dyn Fn(u32) -> i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values(slots.iter().map(|&slot| value(slot))))
        };
        let mut columns: Vec<ArrayRef> = vec![
            Arc::new(state_keys(&identity)?),
            Arc::new(deleted),
            long(&|slot| self.times[slot as usize]),
            long(&|slot| self.windows[slot as usize].0),
            long(&|slot| self.windows[slot as usize].1),
        ];
        let rows = self.rows.gather(&slots.iter().map(|&slot| Source::Slot(slot)).collect::<Vec<_>>(), None)?;
        // A deleted row keeps its key columns: they say which row is to go.
        columns.extend(identity.into_iter().take(self.key_types.len()));
        columns.extend(rows.columns()[self.key_types.len()..].iter().cloned());
        Ok(StateChanges { tables: vec![StateTable { table: 0, rows: state_table(columns)? }] })
    }

    pub fn apply(&mut self, changes: &StateChanges) -> Result<()> {
        let tracked = std::mem::replace(&mut self.touched.enabled, false);
        for table in &changes.tables {
            let deleted = table.rows.column(1).as_boolean().values().clone();
            let long = |i: usize| table.rows.column(i).as_primitive::<Int64Type>().clone();
            let mut columns = Self::row_columns(table).to_vec();
            // Columns that the table has had added since are null in its older rows.
            let added = self.rows.schema().fields().iter().skip(columns.len());
            columns.extend(
                added.map(|field| new_null_array(field.data_type(), table.rows.num_rows())).collect::<Vec<_>>(),
            );
            let rows = Rows {
                window: self.windowed.then(|| Windows { start: long(3), end: long(4) }),
                null_value: some_bits(deleted),
                change: Change::Upsert { old: None },
                ..Rows::append(
                    crate::rows::batch_of(Arc::clone(self.rows.schema()), columns, table.rows.num_rows())?,
                    long(2),
                )
            };
            self.upsert(&rows, false)?;
        }
        self.touched.enabled = tracked;
        Ok(())
    }

    /// The key and value columns of a table of its state.
    pub fn row_columns(table: &StateTable) -> &[ArrayRef] {
        &table.rows.columns()[ROW_COLUMNS..]
    }

    pub fn lookup(&self, lookup: &Lookup) -> Result<Vec<Rows>> {
        let mut slots = self.rows.slots();
        if let Some(wanted) = lookup_keys(lookup, &self.key_types)? {
            if self.windowed {
                slots = self.with_keys(&slots, &wanted)?;
            } else {
                let run = self.keys.encode(&wanted)?;
                slots = (0..run.len()).filter_map(|row| self.find(&run, row)).collect();
            }
        }
        if self.windowed {
            slots.retain(|&slot| in_windows(lookup, self.windows[slot as usize]));
        }
        let picks: Vec<Source> = slots.iter().map(|&slot| Source::Slot(slot)).collect();
        let columns = self.rows.gather(&picks, None)?;
        let time = slots.iter().map(|&slot| self.times[slot as usize]).collect::<Vec<_>>().into();
        let window = self.windowed.then(|| Windows {
            start: slots.iter().map(|&slot| self.windows[slot as usize].0).collect::<Vec<_>>().into(),
            end: slots.iter().map(|&slot| self.windows[slot as usize].1).collect::<Vec<_>>().into(),
        });
        Ok(vec![Rows { window, change: Change::Upsert { old: None }, ..Rows::append(columns, time) }])
    }

    fn with_keys(&self, slots: &[u32], wanted: &[ArrayRef]) -> Result<Vec<u32>> {
        let stored = state_keys(&self.keys.columns(slots)?[..self.key_types.len()])?;
        let wanted = state_keys(wanted)?;
        let wanted: hashbrown::HashSet<&[u8]> = wanted.iter().flatten().collect();
        Ok(slots
            .iter()
            .zip(stored.iter())
            .filter(|(_, key)| key.is_some_and(|k| wanted.contains(k)))
            .map(|(&s, _)| s)
            .collect())
    }

    pub fn size(&self) -> (u64, u64) {
        let beside = fixed_bytes(&self.times) + fixed_bytes(&self.windows);
        (self.rows.len() as u64, (self.keys.bytes() + self.rows.bytes() + beside) as u64)
    }
}

/// State tables under another number: an operator of several stores tells them apart by it.
pub fn numbered(mut tables: Vec<StateTable>, number: u32) -> StateChanges {
    tables.iter_mut().for_each(|table| table.table = number);
    StateChanges { tables }
}

/// The rows of a table's run that have a key, and how many had none. A null key is no key (ksqlDB: such records are ignored).
pub fn with_keys(rows: &Rows, key_columns: usize) -> Result<(Rows, usize)> {
    let mut valid: Option<BooleanBuffer> = rows.null_key.as_ref().map(|nulls| !nulls);
    if key_columns == 1
        && let Some(nulls) = rows.columns.column(0).logical_nulls()
    {
        valid = Some(match valid {
            Some(valid) => &valid & nulls.inner(),
            None => nulls.into_inner(),
        });
    }
    match valid {
        Some(valid) if valid.count_set_bits() < rows.len() => {
            let missing = rows.len() - valid.count_set_bits();
            Ok((Rows { null_key: None, ..rows.filter(&BooleanArray::new(valid, None))? }, missing))
        }
        _ => Ok((rows.clone(), 0)),
    }
}

/// The key columns a lookup asks for; none = all keys. Keys with a null part name no row.
pub fn lookup_keys(lookup: &Lookup, types: &[DataType]) -> Result<Option<Vec<ArrayRef>>> {
    let Some(keys) = &lookup.keys else { return Ok(None) };
    let mut seen: Vec<&Vec<Value>> = Vec::new();
    for key in keys {
        let whole = key.len() == types.len() && key.iter().all(|part| *part != Value::Null);
        if whole && !seen.contains(&key) {
            seen.push(key);
        }
    }
    let columns = types
        .iter()
        .enumerate()
        .map(|(i, ty)| constants(&seen.iter().map(|key| &key[i]).collect::<Vec<_>>(), ty))
        .collect::<Result<Vec<_>>>()?;
    Ok(Some(columns))
}

/// A column of constants of a type they are already of.
fn constants(values: &[&Value], ty: &DataType) -> Result<ArrayRef> {
    let sql = SqlType::from_arrow(ty)?;
    let row = crate::rows::batch_of(Arc::new(arrow::datatypes::Schema::empty()), Vec::new(), 1)?;
    let parts = values
        .iter()
        .map(|value| {
            let literal = Expr::literal((*value).clone(), sql.clone());
            Ok(crate::plan::compile::Compiled::new(&literal, &row.schema())?.evaluate(&row)?.0)
        })
        .collect::<Result<Vec<_>>>()?;
    if parts.is_empty() {
        return Ok(arrow::array::new_empty_array(ty));
    }
    Ok(arrow::compute::concat(&parts.iter().map(|part| part.as_ref()).collect::<Vec<_>>())?)
}

pub fn in_windows(lookup: &Lookup, window: (i64, i64)) -> bool {
    let within = |range: Option<(i64, i64)>, value: i64| range.is_none_or(|(from, to)| from <= value && value <= to);
    within(lookup.window_start, window.0) && within(lookup.window_end, window.1)
}
