//! Values of any type as bytes, for aggregates that keep values themselves.
//!
//! A cell is Arrow's row form of one value: equal values have equal cells, the order of cells is that of values, and a
//! null is a value like any other. Maps are equal whatever the order of their entries, so that is settled first.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, ListArray, MapArray, StructArray, UInt32Array};
use arrow::buffer::OffsetBuffer;
use arrow::compute::take;
use arrow::datatypes::{DataType, Field};
use arrow::row::{RowConverter, Rows, SortField};

use crate::error::Result;
use crate::types::SqlType;

pub type Cell = Box<[u8]>;

pub struct Codec {
    converter: RowConverter,
    ty: DataType,
}

impl Codec {
    pub fn new(ty: &SqlType) -> Result<Self> {
        let ty = ty.to_arrow();
        Ok(Self { converter: RowConverter::new(vec![SortField::new(ty.clone())])?, ty })
    }

    pub fn encode(&self, values: &ArrayRef) -> Result<Rows> {
        Ok(self.converter.convert_columns(&[in_order(values)?])?)
    }

    pub fn decode<'a>(&self, cells: impl Iterator<Item = &'a [u8]>) -> Result<ArrayRef> {
        let parser = self.converter.parser();
        let mut columns = self.converter.convert_rows(cells.map(|cell| parser.parse(cell)))?;
        Ok(columns.remove(0))
    }

    /// Lists of values.
    pub fn lists(&self, lists: &Lists) -> Result<ArrayRef> {
        let values = self.decode(lists.cells())?;
        let item = Arc::new(Field::new_list_field(self.ty.clone(), true));
        let offsets = OffsetBuffer::from_lengths(lists.lengths.iter().copied());
        Ok(Arc::new(ListArray::new(item, offsets, values, None)))
    }

    /// The cells of a row of a list column.
    pub fn cells_of(&self, list: &ArrayRef) -> Result<Vec<Vec<Cell>>> {
        let list = arrow::array::AsArray::as_list::<i32>(list);
        let rows = self.encode(list.values())?;
        let offsets = list.value_offsets();
        Ok((0..list.len())
            .map(|i| (offsets[i]..offsets[i + 1]).map(|at| rows.row(at as usize).data().into()).collect())
            .collect())
    }
}

/// The same values, entries of maps sorted by their keys.
fn in_order(values: &ArrayRef) -> Result<ArrayRef> {
    Ok(match values.data_type() {
        DataType::List(item) if has_map(item.data_type()) => {
            let list = values.as_list::<i32>();
            let items = in_order(list.values())?;
            Arc::new(ListArray::try_new(Arc::clone(item), list.offsets().clone(), items, list.nulls().cloned())?)
        }
        DataType::Struct(fields) if fields.iter().any(|field| has_map(field.data_type())) => {
            let columns = values.as_struct().columns().iter().map(in_order).collect::<Result<Vec<_>>>()?;
            Arc::new(StructArray::try_new(fields.clone(), columns, values.nulls().cloned())?)
        }
        DataType::Map(field, sorted) => {
            let map = values.as_map();
            let keys = RowConverter::new(vec![SortField::new(map.key_type().clone())])?
                .convert_columns(std::slice::from_ref(map.keys()))?;
            let mut order: Vec<u32> = Vec::with_capacity(map.keys().len());
            let mut lengths = Vec::with_capacity(map.len());
            for ends in map.value_offsets().windows(2) {
                let mut entries: Vec<u32> = (ends[0] as u32..ends[1] as u32).collect();
                entries.sort_by(|&a, &b| keys.row(a as usize).cmp(&keys.row(b as usize)));
                lengths.push(entries.len());
                order.extend(entries);
            }
            let order = UInt32Array::from(order);
            let columns = vec![take(map.keys(), &order, None)?, in_order(&take(map.values(), &order, None)?)?];
            let entries = StructArray::try_new(map.entries().fields().clone(), columns, None)?;
            let offsets = OffsetBuffer::from_lengths(lengths);
            Arc::new(MapArray::try_new(Arc::clone(field), offsets, entries, map.nulls().cloned(), *sorted)?)
        }
        _ => Arc::clone(values),
    })
}

fn has_map(ty: &DataType) -> bool {
    match ty {
        DataType::Map(..) => true,
        DataType::List(item) => has_map(item.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_map(field.data_type())),
        _ => false,
    }
}

/// Lists of cells one behind the other: what a run's results are gathered in.
#[derive(Default)]
pub struct Lists {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    lengths: Vec<usize>,
}

impl Lists {
    pub fn push<'a>(&mut self, cells: impl Iterator<Item = &'a [u8]>) {
        let before = self.ends.len();
        for cell in cells {
            self.bytes.extend_from_slice(cell);
            self.ends.push(self.bytes.len());
        }
        self.lengths.push(self.ends.len() - before);
    }

    pub fn cells(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.bytes[start..end])
    }
}
