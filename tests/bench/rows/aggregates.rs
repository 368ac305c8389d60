//! What does an aggregate cost a row, over a thousand groups?
//!
//! `final`: values go in, no result is asked for, as DataFusion's accumulator does it. `running`: a result after every
//! row, as a continuous query emits them; shown beside it, there is nothing to compare it with.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch};
use arrow::buffer::BooleanBuffer;
use datafusion::execution::SessionStateDefaults;
use datafusion::logical_expr::GroupsAccumulator;
use datafusion::physical_expr::aggregate::AggregateExprBuilder;
use datafusion::physical_expr::expressions::col;
use headwater_engine::functions::aggregate::{Aggregator, Args, Emit, EmitRows, create};

use super::Comparison;
use super::data::{ROWS, batch, columns, scattered};

const GROUPS: usize = 1000;
const BAR: f64 = 2.0;

/// Ours, theirs, column.
const AGGREGATES: &[(&str, &str, &str)] = &[
    ("COUNT", "count", "BN"),
    ("SUM", "sum", "B"),
    ("SUM", "sum", "D"),
    ("SUM", "sum", "N"),
    ("MIN", "min", "B"),
    ("MAX", "max", "D"),
    ("MAX", "max", "T"),
    ("AVG", "avg", "D"),
    ("STDDEV_SAMPLE", "stddev", "D"),
];

pub fn run(measure: &mut dyn FnMut(Comparison<'_>)) {
    let batch = batch();
    let groups: Vec<usize> = (0..ROWS).map(|row| scattered(row, 77) as usize % GROUPS).collect();
    let slots: Vec<u32> = groups.iter().map(|&group| group as u32).collect();
    let all = BooleanBuffer::new_set(ROWS);
    for (name, their_name, column) in AGGREGATES {
        let ty = columns().into_iter().find(|c| c.name == *column).expect("a column").ty;
        let values = [Arc::clone(batch.column_by_name(column).expect("a column"))];
        let ours = || create(name, std::slice::from_ref(&ty), &[], &BTreeMap::new()).expect("an aggregate");
        let mut running = ours();
        let update = |aggregator: &mut dyn Aggregator, rows: EmitRows<'_>| {
            let args = Args { values: &values, add: &all, undo: None };
            let updated = aggregator.update(&slots, &args, Emit { rows, old: false });
            drop(black_box(updated.expect("an update")));
        };
        let mut theirs = accumulator(their_name, column, &batch);
        let mut theirs = || theirs_update(theirs.as_mut(), &values, &groups);
        let mut silent = ours();
        measure(Comparison {
            name: &format!("{name}({ty}), final"),
            rows: ROWS,
            bar: BAR,
            ours: &mut || update(silent.as_mut(), EmitRows::Nothing),
            theirs: Some((their_name, &mut theirs)),
        });
        measure(Comparison {
            name: &format!("{name}({ty}), running"),
            rows: ROWS,
            bar: BAR,
            ours: &mut || update(running.as_mut(), EmitRows::EveryRow),
            theirs: None,
        });
    }
}

fn accumulator(name: &str, column: &str, batch: &RecordBatch) -> Box<dyn GroupsAccumulator> {
    let functions = SessionStateDefaults::default_aggregate_functions();
    let function = functions.into_iter().find(|f| f.name() == name).expect("DataFusion has it");
    let argument = col(column, &batch.schema()).expect("a column");
    let built = AggregateExprBuilder::new(function, vec![argument]).schema(batch.schema()).alias(name).build();
    let mut accumulator = built.and_then(|f| f.create_groups_accumulator()).expect("an accumulator");
    // Its groups are there before the first turn, as ours are.
    theirs_update(accumulator.as_mut(), &[Arc::clone(batch.column_by_name(column).expect("a column"))], &[0; ROWS]);
    accumulator
}

fn theirs_update(accumulator: &mut dyn GroupsAccumulator, values: &[ArrayRef], groups: &[usize]) {
    accumulator.update_batch(values, groups, None, GROUPS).expect("an update");
}
