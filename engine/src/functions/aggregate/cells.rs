//! Values of any type as bytes, for aggregates that keep values themselves.
//!
//! A cell is Arrow's row form of one value: equal values have equal cells, the order of cells is that of values, and a
//! null is a value like any other.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, ListArray};
use arrow::buffer::OffsetBuffer;
use arrow::datatypes::{DataType, Field};
use arrow::row::{RowConverter, Rows, SortField};

use crate::error::{Error, Result};
use crate::functions::values::equality::canonical;
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
        // Equal maps may list their entries in any order.
        let values = canonical(values).map_err(Error::internal)?;
        Ok(self.converter.convert_columns(&[values])?)
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
