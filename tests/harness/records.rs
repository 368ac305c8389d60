//! Records as plain values, and their way into and out of the engine's columns.

use std::fmt;
use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, AsArray, BooleanArray, Float64Array, Int32Array, Int64Array, ListArray, StringArray,
};
use arrow::buffer::{BooleanBuffer, NullBuffer, OffsetBuffer};
use arrow::datatypes::{DataType, Field, Float64Type, Int32Type, Int64Type};
use headwater_engine::plan::steps::{Scan, ScanColumn};
use headwater_engine::rows::{Change, Rows, Windows, batch_of};
use headwater_engine::schema::Schema;
use headwater_engine::types::SqlType;

#[derive(Debug, Clone, PartialEq, PartialOrd)]
pub enum Cell {
    Null,
    Bool(bool),
    Int(i64),
    Double(f64),
    Text(String),
    List(Vec<Cell>),
}

impl Cell {
    pub fn number(&self) -> f64 {
        match self {
            Cell::Int(v) => *v as f64,
            Cell::Double(v) => *v,
            other => panic!("{other} is not a number"),
        }
    }

    pub fn whole(&self) -> i64 {
        match self {
            Cell::Int(v) => *v,
            other => panic!("{other} is not a whole number"),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cell::Null => f.write_str("null"),
            Cell::Bool(v) => write!(f, "{v}"),
            Cell::Int(v) => write!(f, "{v}"),
            Cell::Double(v) => write!(f, "{v:?}"),
            Cell::Text(v) => f.write_str(v),
            Cell::List(v) => write!(f, "[{}]", v.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")),
        }
    }
}

/// `a 1 | 5 null | @ 100 [0, 10)`: key, value (`–` for none), time, window.
#[derive(Debug, Clone, PartialEq)]
pub struct Record {
    pub key: Option<Vec<Cell>>,
    pub window: Option<(i64, i64)>,
    pub value: Option<Vec<Cell>>,
    pub time: i64,
}

impl Record {
    /// Key and value cells; null where the record has no key or value.
    pub fn row(&self, keys: usize, values: usize) -> Vec<Cell> {
        let key = self.key.clone().unwrap_or(vec![Cell::Null; keys]);
        let value = self.value.clone().unwrap_or(vec![Cell::Null; values]);
        [key, value].concat()
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for part in [&self.key, &self.value] {
            match part {
                Some(cells) => cells.iter().try_for_each(|cell| write!(f, "{cell} "))?,
                None => f.write_str("– ")?,
            }
            f.write_str("| ")?;
        }
        write!(f, "@ {}", self.time)?;
        match self.window {
            Some((start, end)) => write!(f, " [{start}, {end})"),
            None => Ok(()),
        }
    }
}

/// Records of a source as the scan hands them to the operators.
pub fn scanned(scan: &Scan, table: bool, records: &[Record]) -> Rows {
    let declared: Vec<_> = scan.declared.columns().cloned().collect();
    let rows: Vec<Vec<Cell>> =
        records.iter().map(|r| r.row(scan.declared.key.len(), scan.declared.value.len())).collect();
    let mut fields = Vec::new();
    let mut columns = Vec::new();
    for (name, column) in &scan.columns {
        let (ty, cells) = match column {
            ScanColumn::Declared(source) => {
                let at = declared.iter().position(|c| c.name == *source).unwrap();
                (declared[at].ty.clone(), rows.iter().map(|row| row[at].clone()).collect::<Vec<_>>())
            }
            ScanColumn::RowTime => (SqlType::Bigint, records.iter().map(|r| Cell::Int(r.time)).collect()),
            other => panic!("no {other:?} here"),
        };
        fields.push(Field::new(name, ty.to_arrow(), true));
        columns.push(array(&ty, &cells));
    }
    let bits = |set: &dyn Fn(&Record) -> bool| {
        let bits = BooleanBuffer::from_iter(records.iter().map(set));
        (bits.count_set_bits() > 0).then_some(bits)
    };
    let schema = Arc::new(arrow::datatypes::Schema::new(fields));
    let time = Int64Array::from_iter_values(records.iter().map(|r| r.time));
    Rows {
        null_key: bits(&|r| r.key.is_none()),
        null_value: bits(&|r| r.value.is_none()),
        change: if table { Change::Upsert { old: None } } else { Change::Append },
        ..Rows::append(batch_of(schema, columns, records.len()).unwrap(), time)
    }
}

/// The records of a run; value columns of rows without value must read as null.
pub fn records(schema: &Schema, rows: &Rows) -> Vec<Record> {
    let keys = schema.key.len();
    let cells: Vec<Vec<Cell>> = rows.columns.columns().iter().map(self::cells).collect();
    assert_eq!(cells.len(), schema.len(), "columns of {schema}");
    (0..rows.len())
        .map(|i| {
            let row: Vec<Cell> = cells.iter().map(|column| column[i].clone()).collect();
            if rows.is_null_value(i) {
                assert!(row[keys..].iter().all(|cell| *cell == Cell::Null), "a null row reads as null: {row:?}");
            }
            Record {
                key: (!rows.is_null_key(i)).then(|| row[..keys].to_vec()),
                window: rows.window.as_ref().map(|Windows { start, end }| (start.value(i), end.value(i))),
                value: (!rows.is_null_value(i)).then(|| row[keys..].to_vec()),
                time: rows.time.value(i),
            }
        })
        .collect()
}

fn array(ty: &SqlType, cells: &[Cell]) -> ArrayRef {
    let whole = |cell: &Cell| (*cell != Cell::Null).then(|| cell.whole());
    match ty {
        SqlType::Bigint => Arc::new(cells.iter().map(whole).collect::<Int64Array>()),
        SqlType::Integer => Arc::new(cells.iter().map(|c| whole(c).map(|v| v as i32)).collect::<Int32Array>()),
        SqlType::Double => {
            let real = |cell: &Cell| (*cell != Cell::Null).then(|| cell.number());
            Arc::new(cells.iter().map(real).collect::<Float64Array>())
        }
        SqlType::String => {
            let text = |cell: &Cell| match cell {
                Cell::Text(text) => Some(text.clone()),
                _ => None,
            };
            Arc::new(cells.iter().map(text).collect::<StringArray>())
        }
        SqlType::Boolean => Arc::new(cells.iter().map(|c| Some(*c == Cell::Bool(true))).collect::<BooleanArray>()),
        SqlType::Array(item) => {
            let list = |cell: &Cell| match cell {
                Cell::List(list) => list.clone(),
                _ => Vec::new(),
            };
            let lists: Vec<Vec<Cell>> = cells.iter().map(list).collect();
            let valid = NullBuffer::from_iter(cells.iter().map(|cell| *cell != Cell::Null));
            let field = Arc::new(Field::new_list_field(item.to_arrow(), true));
            let offsets = OffsetBuffer::from_lengths(lists.iter().map(Vec::len));
            Arc::new(ListArray::new(field, offsets, array(item, &lists.concat()), Some(valid)))
        }
        other => panic!("no {other} here"),
    }
}

fn cells(array: &ArrayRef) -> Vec<Cell> {
    let cell = |i: usize| match array.data_type() {
        _ if array.is_null(i) => Cell::Null,
        DataType::Int64 => Cell::Int(array.as_primitive::<Int64Type>().value(i)),
        DataType::Int32 => Cell::Int(i64::from(array.as_primitive::<Int32Type>().value(i))),
        DataType::Float64 => Cell::Double(array.as_primitive::<Float64Type>().value(i)),
        DataType::Utf8 => Cell::Text(array.as_string::<i32>().value(i).to_string()),
        DataType::Boolean => Cell::Bool(array.as_boolean().value(i)),
        DataType::List(_) => Cell::List(cells(&array.as_list::<i32>().value(i))),
        other => panic!("no {other} here"),
    };
    (0..array.len()).map(cell).collect()
}
