//! The operators of one stage for one partition, wired from its inputs to its output.
//!
//! ```text
//! input 0 ─► Project ─► Join ─► Filter ─► out
//! input 1 ─► SourceTable ─┘
//! ```
//!
//! A run is driven through depth first: whatever an operator puts out goes all the way up before it sees its next rows.
//! The driver, not the operator, answers [`Then::Advance`] and [`Then::Yield`].

use super::{InputId, Lookup, OpContext, OpError, Operator, Output, Then};
use crate::error::{Error, Result};
use crate::ops::evaluate::mask;
use crate::plan::lower::{OperatorSettings, Stage};
use crate::rows::Rows;
use crate::state::StateChanges;

pub struct Pipeline {
    /// Inputs before the operators they feed.
    operators: Vec<Wired>,
    /// Where each input of the stage enters; none: straight to the output.
    entries: Vec<Option<(usize, InputId)>>,
}

pub(crate) struct Wired {
    /// Number of the store that keeps its state, if it has some.
    pub store: Option<u32>,
    pub operator: Box<dyn Operator>,
    /// The operator its rows go to, and as which input; none: out of the stage.
    pub to: Option<(usize, InputId)>,
    /// The operator its first input comes from.
    pub from: Option<usize>,
}

impl Pipeline {
    pub fn build(stage: &Stage, settings: &OperatorSettings) -> Result<Pipeline> {
        let (operators, entries) = stage.wire(settings)?;
        let mut pipeline = Pipeline { operators, entries };
        pipeline.set_track_changes(true);
        Ok(pipeline)
    }

    /// Whether `take_changes` will be called (the default). Off, operators do not note what changed: for push queries
    /// and logs that keep no state.
    pub fn set_track_changes(&mut self, track: bool) {
        for wired in &mut self.operators {
            wired.operator.track_changes(track);
        }
    }

    /// Sends a whole run through the operators, appending what leaves the stage, in order.
    pub fn push(&mut self, input: InputId, rows: &Rows, ctx: &mut OpContext<'_>, out: &mut Vec<Rows>) -> Result<()> {
        let entry = self.entries.get(input).copied();
        let entry = entry.ok_or_else(|| Error::internal(format!("the stage has no input {input}")))?;
        self.send(entry, rows, ctx, out)
    }

    fn send(
        &mut self,
        to: Option<(usize, InputId)>,
        rows: &Rows,
        ctx: &mut OpContext<'_>,
        out: &mut Vec<Rows>,
    ) -> Result<()> {
        if rows.is_empty() {
            return Ok(());
        }
        let Some((at, port)) = to else {
            out.push(rows.clone());
            return Ok(());
        };
        let mut rest = rows.clone();
        while !rest.is_empty() {
            let mut output = Output::default();
            let errors_before = ctx.errors.len();
            let (taken, then) = self.operators[at].operator.process(port, &rest, ctx, &mut output)?;
            // Rows are numbered from the start of the run that entered the operator, however it was cut up.
            let offset = rows.len() - rest.len();
            shift(&mut ctx.errors[errors_before..], offset);
            let progress = taken > 0 || then != Then::Continue;
            self.forward(at, output, ctx, out)?;
            if let Then::Advance { to } = then {
                self.advance(at, to, ctx, out)?;
            }
            if !progress {
                return Err(Error::internal("an operator took no rows and asked for nothing"));
            }
            rest = rest.slice(taken, rest.len() - taken);
        }
        Ok(())
    }

    fn advance(&mut self, at: usize, to: i64, ctx: &mut OpContext<'_>, out: &mut Vec<Rows>) -> Result<()> {
        loop {
            let mut output = Output::default();
            let then = self.operators[at].operator.advance(to, ctx, &mut output)?;
            self.forward(at, output, ctx, out)?;
            if then == Then::Continue {
                return Ok(());
            }
        }
    }

    fn forward(&mut self, at: usize, output: Output, ctx: &mut OpContext<'_>, out: &mut Vec<Rows>) -> Result<()> {
        let to = self.operators[at].to;
        for rows in output.runs {
            self.send(to, &rows, ctx, out)?;
        }
        Ok(())
    }

    /// State rows changed since the last call, by store number.
    pub fn take_changes(&mut self) -> Result<Vec<(u32, StateChanges)>> {
        let mut all = Vec::new();
        for wired in &mut self.operators {
            if let Some(store) = wired.store
                && let Some(changes) = wired.operator.take_changes()?
                && !changes.is_empty()
            {
                all.push((store, changes));
            }
        }
        Ok(all)
    }

    /// Bytes of results that operators hold back.
    pub fn held_bytes(&self) -> u64 {
        self.operators.iter().map(|wired| wired.operator.held_bytes()).sum()
    }

    /// Sends on what operators hold back, inputs before the operators they feed.
    pub fn release(&mut self, ctx: &mut OpContext<'_>, out: &mut Vec<Rows>) -> Result<()> {
        for at in 0..self.operators.len() {
            let mut output = Output::default();
            self.operators[at].operator.release(&mut output)?;
            self.forward(at, output, ctx, out)?;
        }
        Ok(())
    }

    /// Numbers of the stores that keep the state of these operators.
    pub fn stores(&self) -> Vec<u32> {
        self.operators.iter().filter_map(|wired| wired.store).collect()
    }

    /// Puts changes, or a snapshot, back.
    pub fn apply(&mut self, store: u32, changes: &StateChanges) -> Result<()> {
        match self.operators.iter_mut().find(|wired| wired.store == Some(store)) {
            Some(wired) => wired.operator.apply(changes),
            None => Err(Error::internal(format!("state of store {store}, which this stage does not have"))),
        }
    }

    /// All state, by store number.
    pub fn snapshot(&self) -> Result<Vec<(u32, StateChanges)>> {
        let mut all = Vec::new();
        for wired in &self.operators {
            if let Some(store) = wired.store
                && let Some(state) = wired.operator.snapshot()?
            {
                all.push((store, state));
            }
        }
        Ok(all)
    }

    /// The table this stage maintains, as its output rows: the topmost stateful operator's rows through the stateless
    /// ones above it. None if the stage holds no table.
    pub fn lookup(&mut self, lookup: &Lookup) -> Result<Option<Vec<Rows>>> {
        let mut asked = lookup.clone();
        let mut at = self.operators.len().checked_sub(1);
        while let Some(index) = at {
            let wired = &self.operators[index];
            if let Some(found) = wired.operator.lookup(&asked)? {
                return Ok(Some(self.above(index, found)?));
            }
            match wired.operator.trace(&asked) {
                Some(below) => asked = below,
                None => return Ok(None),
            }
            at = wired.from;
        }
        Ok(None)
    }

    /// Rows of an operator as they would leave the stage, without those that a filter turns away.
    fn above(&mut self, index: usize, found: Vec<Rows>) -> Result<Vec<Rows>> {
        let mut errors: Vec<OpError> = Vec::new();
        let mut counters = super::Counters::default();
        let mut ctx = OpContext { errors: &mut errors, counters: &mut counters };
        let mut out = Vec::new();
        self.forward(index, Output { runs: found }, &mut ctx, &mut out)?;
        let live = |rows: Rows| -> Result<Rows> {
            match &rows.null_value {
                Some(nulls) => Ok(Rows { null_value: None, ..rows.filter(&mask(!nulls))? }),
                None => Ok(rows),
            }
        };
        out.into_iter().map(live).filter(|rows| rows.as_ref().map_or(true, |rows| !rows.is_empty())).collect()
    }

    /// Approximate state: rows and bytes.
    pub fn state_size(&self) -> (u64, u64) {
        self.operators.iter().map(|wired| wired.operator.state_size()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
    }
}

fn shift(errors: &mut [OpError], offset: usize) {
    for error in errors {
        error.error.row += offset;
    }
}
