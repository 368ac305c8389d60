//! A plan, run one record at a time, in the plainest way there is: the oracle for the operators.
//!
//! Nothing here is fast or shared with the engine but the plan itself. A group keeps the arguments of all its rows and
//! every result is computed afresh; windows are found by trying all of them.

use std::collections::{BTreeMap, HashMap};

use headwater_engine::plan::expr::{ArithmeticOp, ComparisonOp, Expr, ExprKind, Value};
use headwater_engine::plan::steps::{
    Aggregate, AggregateCall, Join, JoinKind, JoinShape, Plan, ScanColumn, Step, StepKind, WindowSpec, WindowSpecKind,
};

use super::records::{Cell, Record};

/// A record on its way through the plan, with the row it replaces (tables).
#[derive(Debug, Clone)]
struct Change {
    record: Record,
    old: Option<Vec<Cell>>,
}

/// The state of a step, found by the step's address.
#[derive(Default)]
struct State {
    table: BTreeMap<String, Vec<Cell>>,
    groups: BTreeMap<(String, i64, i64), Group>,
    stream_time: Option<i64>,
    newest: Option<i64>,
    said: Option<i64>,
    arrivals: i64,
    /// Joins of tables: per side the time and value of each key.
    tables: [BTreeMap<String, (i64, Vec<Cell>)>; 2],
    /// Joins of streams: per side all rows ever stored, and the largest time.
    sides: [Vec<Kept>; 2],
    largest: [Option<i64>; 2],
}

struct Kept {
    key: Vec<Cell>,
    time: i64,
    value: Vec<Cell>,
    waiting: bool,
}

#[derive(Debug, Clone, Default)]
struct Group {
    key: Vec<Cell>,
    /// Arrival and arguments, per call, of every row in it.
    rows: Vec<(i64, Vec<Vec<Cell>>)>,
    time: Option<i64>,
    expired: bool,
}

pub struct Interpreter<'a> {
    plan: &'a Plan,
    states: HashMap<usize, State>,
    /// Rows dropped because their windows were closed.
    pub late: u64,
}

impl<'a> Interpreter<'a> {
    pub fn new(plan: &'a Plan) -> Self {
        Self { plan, states: HashMap::new(), late: 0 }
    }

    /// A record of a source, over its declared columns; what the plan puts out for it.
    pub fn feed(&mut self, source: &str, record: &Record) -> Vec<Record> {
        let plan = self.plan;
        self.run(&plan.root, source, record).into_iter().map(|change| change.record).collect()
    }

    fn state(&mut self, step: &Step) -> &mut State {
        self.states.entry(std::ptr::from_ref(step) as usize).or_default()
    }

    fn run(&mut self, step: &Step, source: &str, record: &Record) -> Vec<Change> {
        match &step.kind {
            StepKind::Scan(scan) if scan.source != source => Vec::new(),
            StepKind::Scan(scan) => {
                let declared: Vec<&str> = scan.declared.columns().map(|c| c.name.as_str()).collect();
                let row = record.row(scan.declared.key.len(), scan.declared.value.len());
                let pick = |column: &ScanColumn| match column {
                    ScanColumn::Declared(name) => row[declared.iter().position(|d| d == name).unwrap()].clone(),
                    ScanColumn::RowTime => Cell::Int(record.time),
                    other => panic!("the interpreter has no {other:?}"),
                };
                let cells: Vec<Cell> = scan.columns.iter().map(|(_, column)| pick(column)).collect();
                let keys = step.schema.key.len();
                let mut scanned = record.clone();
                scanned.key = record.key.as_ref().map(|_| cells[..keys].to_vec());
                scanned.value = record.value.as_ref().map(|_| cells[keys..].to_vec());
                if !step.table {
                    return vec![Change { record: scanned, old: None }];
                }
                self.table_change(step, scanned)
            }
            StepKind::Filter { input, predicate } => {
                let changes = self.run(input, source, record);
                changes.into_iter().filter_map(|change| filter(input, predicate, change)).collect()
            }
            StepKind::Project { input, key, value } => {
                let changes = self.run(input, source, record);
                let project = |change: Change| {
                    let row = change.record.row(input.schema.key.len(), input.schema.value.len());
                    let eval = |list: &[headwater_engine::plan::steps::NamedExpr], row: &[Cell]| {
                        list.iter().map(|named| evaluate(&named.expr, input, row)).collect::<Vec<_>>()
                    };
                    let old = change.old.map(|old| [eval(key, &old), eval(value, &old)].concat());
                    let key = change.record.key.as_ref().map(|_| eval(key, &row));
                    let value = change.record.value.as_ref().map(|_| eval(value, &row));
                    Change { record: Record { key, value, ..change.record }, old }
                };
                changes.into_iter().map(project).collect()
            }
            StepKind::FlatMap { input, functions } => {
                let mut out = Vec::new();
                for change in self.run(input, source, record) {
                    let Some(value) = &change.record.value else { continue };
                    let row = change.record.row(input.schema.key.len(), input.schema.value.len());
                    let lists: Vec<Vec<Cell>> = functions
                        .iter()
                        .map(|call| match evaluate(&call.args[0], input, &row) {
                            Cell::List(list) => list,
                            _ => Vec::new(),
                        })
                        .collect();
                    for i in 0..lists.iter().map(Vec::len).max().unwrap_or(0) {
                        let more = lists.iter().map(|list| list.get(i).cloned().unwrap_or(Cell::Null));
                        let value = Some(value.iter().cloned().chain(more).collect());
                        out.push(Change { record: Record { value, ..change.record.clone() }, old: None });
                    }
                }
                out
            }
            StepKind::Rekey { input, key, .. } => {
                let changes = self.run(input, source, record);
                let rekey = |change: Change| {
                    let row = change.record.row(input.schema.key.len(), input.schema.value.len());
                    // A row without a value has its old key alone.
                    let of_key = |name: &str| input.schema.key.iter().any(|column| column.name == name);
                    let part = |expr: &Expr| match change.record.value {
                        None if !expr.reads_only(&of_key) => Cell::Null,
                        _ => evaluate(expr, input, &row),
                    };
                    let parts: Vec<Cell> = key.iter().map(|named| part(&named.expr)).collect();
                    let value = change.record.value.as_ref().map(|_| {
                        let columns = step.schema.value.iter();
                        columns.map(|c| row[input.schema.index_of(&c.name).unwrap()].clone()).collect()
                    });
                    let no_key = parts.is_empty() || parts == [Cell::Null];
                    Change { record: Record { key: (!no_key).then_some(parts), value, ..change.record }, old: None }
                };
                changes.into_iter().map(rekey).collect()
            }
            StepKind::Aggregate(aggregate) => {
                let changes = self.run(&aggregate.input, source, record);
                let mut out = Vec::new();
                for change in changes {
                    out.extend(self.aggregate(step, aggregate, change));
                }
                match &aggregate.having {
                    Some(having) => out.into_iter().filter_map(|change| filter(step, having, change)).collect(),
                    None => out,
                }
            }
            StepKind::Join(join) => self.join(step, join, source, record),
        }
    }

    /// A change of a table: null keys are ignored, the old row goes beside the new one.
    fn table_change(&mut self, step: &Step, record: Record) -> Vec<Change> {
        let Some(key) = record.key.clone().filter(|key| *key != [Cell::Null]) else { return Vec::new() };
        let table = &mut self.state(step).table;
        let name = format!("{key:?}");
        let old = match &record.value {
            Some(value) => table.insert(name, [key, value.clone()].concat()),
            None => table.remove(&name),
        };
        vec![Change { record, old }]
    }

    fn join(&mut self, step: &Step, join: &Join, source: &str, record: &Record) -> Vec<Change> {
        match &join.shape {
            JoinShape::StreamTable => self.stream_table(step, join, source, record),
            JoinShape::TableTable => {
                let mut out = Vec::new();
                for (side, input) in [&join.left, &join.right].into_iter().enumerate() {
                    for change in self.run(input, source, record) {
                        out.extend(self.table_table(step, join, side, change.record));
                    }
                }
                out
            }
            JoinShape::StreamStream { before_ms, after_ms, grace_ms } => {
                let mut out = Vec::new();
                for (side, input) in [&join.left, &join.right].into_iter().enumerate() {
                    for change in self.run(input, source, record) {
                        out.extend(self.stream_stream(
                            step,
                            join,
                            side,
                            (*before_ms, *after_ms, *grace_ms),
                            change.record,
                        ));
                    }
                }
                out
            }
            JoinShape::ForeignKey { left_expr } => {
                let mut out = Vec::new();
                for change in self.run(&join.left, source, record) {
                    out.extend(self.foreign_key_left(step, join, left_expr, change.record));
                }
                for change in self.run(&join.right, source, record) {
                    out.extend(self.foreign_key_right(step, join, left_expr, change.record));
                }
                out
            }
        }
    }

    /// A left row finds its right row. Whether the result had a row before is judged by the old foreign key alone.
    fn foreign_key_left(&mut self, step: &Step, join: &Join, on: &Expr, record: Record) -> Option<Change> {
        let key = record.key.clone().filter(|key| *key != [Cell::Null])?;
        let outer = join.kind == JoinKind::Left;
        let foreign_key = |value: &Vec<Cell>| evaluate(on, &join.left, &[key.clone(), value.clone()].concat());
        let tables = &mut self.state(step).tables;
        let name = format!("{key:?}");
        let old = match &record.value {
            Some(value) => tables[0].insert(name, (record.time, value.clone())),
            None => tables[0].remove(&name),
        };
        let was_subscribed = old.as_ref().is_some_and(|old| foreign_key(&old.1) != Cell::Null);
        let now = record.value.as_ref().map(foreign_key).filter(|now| *now != Cell::Null);
        let right = now.as_ref().and_then(|now| tables[1].get(&format!("{:?}", [now])).cloned());
        let answered = match &record.value {
            None => was_subscribed || outer && old.is_some(),
            Some(_) => outer || was_subscribed || right.is_some(),
        };
        let time = right.as_ref().map_or(record.time, |right| right.0.max(record.time));
        let value = foreign_key_row(join, record.value.as_ref(), right.as_ref().map(|right| &right.1));
        answered.then(|| self.said(step, key, Record { value, time, ..record }))
    }

    /// A right row is told to every left row that names it, in the order of their keys.
    fn foreign_key_right(&mut self, step: &Step, join: &Join, on: &Expr, record: Record) -> Vec<Change> {
        let Some(right_key) = record.key.clone().filter(|key| *key != [Cell::Null]) else { return Vec::new() };
        let tables = &mut self.state(step).tables;
        let name = format!("{right_key:?}");
        match &record.value {
            Some(value) => tables[1].insert(name, (record.time, value.clone())),
            None => tables[1].remove(&name),
        };
        let left: Vec<(i64, Vec<Cell>)> = tables[0]
            .iter()
            .map(|(name, (_, value))| (name["[Int(".len()..name.len() - ")]".len()].parse().unwrap(), value.clone()))
            .collect();
        let mut subscribers: Vec<_> = left
            .into_iter()
            .filter(|(key, value)| {
                [evaluate(on, &join.left, &[vec![Cell::Int(*key)], value.clone()].concat())] == right_key[..]
            })
            .collect();
        subscribers.sort_by_key(|(key, _)| *key);
        let tell = |(key, left): (i64, Vec<Cell>)| {
            let key = vec![Cell::Int(key)];
            let value = foreign_key_row(join, Some(&left), record.value.as_ref());
            self.said(step, key.clone(), Record { key: Some(key), window: None, value, time: record.time })
        };
        subscribers.into_iter().map(tell).collect()
    }

    /// A row of the result beside the one said of its key before.
    fn said(&mut self, step: &Step, key: Vec<Cell>, record: Record) -> Change {
        let table = &mut self.state(step).table;
        let name = format!("{key:?}");
        let old = match &record.value {
            Some(value) => table.insert(name, [key, value.clone()].concat()),
            None => table.remove(&name),
        };
        Change { record, old }
    }

    fn table_table(&mut self, step: &Step, join: &Join, side: usize, record: Record) -> Option<Change> {
        let key = record.key.clone().filter(|key| *key != [Cell::Null])?;
        let name = format!("{key:?}");
        let tables = &mut self.state(step).tables;
        let old = match &record.value {
            Some(value) => tables[side].insert(name.clone(), (record.time, value.clone())),
            None => tables[side].remove(&name),
        };
        let other = tables[1 - side].get(&name).cloned();
        let widths = [join.left.schema.value.len(), join.right.schema.value.len()];
        let outer = [
            matches!(join.kind, JoinKind::Left | JoinKind::Full),
            matches!(join.kind, JoinKind::Right | JoinKind::Full),
        ];
        let joined = |this: Option<&Vec<Cell>>| -> Option<Vec<Cell>> {
            let other = other.as_ref().map(|other| &other.1);
            let exists = match (this, other) {
                (Some(_), Some(_)) => true,
                (Some(_), None) => outer[side],
                (None, Some(_)) => outer[1 - side],
                (None, None) => false,
            };
            let pad = |cells: Option<&Vec<Cell>>, side: usize| cells.cloned().unwrap_or(vec![Cell::Null; widths[side]]);
            let (this, other) = (pad(this, side), pad(other, 1 - side));
            exists.then(|| if side == 0 { [this, other].concat() } else { [other, this].concat() })
        };
        if other.is_none() && (!outer[side] || record.value.is_none() && old.is_none()) {
            return None;
        }
        let value = joined(record.value.as_ref());
        let old = joined(old.as_ref().map(|old| &old.1)).map(|old| [key, old].concat());
        let time = other.as_ref().map_or(record.time, |other| other.0.max(record.time));
        Some(Change { record: Record { value, time, ..record }, old })
    }

    fn stream_stream(
        &mut self,
        step: &Step,
        join: &Join,
        side: usize,
        (before, after, grace): (i64, i64, Option<i64>),
        record: Record,
    ) -> Vec<Change> {
        let (Some(key), Some(value)) = (record.key.clone(), record.value.clone()) else { return Vec::new() };
        if key == [Cell::Null] {
            return Vec::new();
        }
        let time = record.time;
        let retention = before + after + grace.unwrap_or(24 * 60 * 60 * 1000);
        let (ahead, behind) = ([after, before], [before, after]);
        let outer = [
            matches!(join.kind, JoinKind::Left | JoinKind::Full),
            matches!(join.kind, JoinKind::Right | JoinKind::Full),
        ];
        let widths = [join.left.schema.value.len(), join.right.schema.value.len()];
        let pair = |a: Option<&Vec<Cell>>, b: Option<&Vec<Cell>>, side: usize, key: &[Cell], time: i64| {
            let (left, right) = if side == 0 { (a, b) } else { (b, a) };
            let left = left.cloned().unwrap_or(vec![Cell::Null; widths[0]]);
            let right = right.cloned().unwrap_or(vec![Cell::Null; widths[1]]);
            let value = Some([left, right].concat());
            Change { record: Record { key: Some(key.to_vec()), window: None, value, time }, old: None }
        };
        let state = self.state(step);
        let now = state.stream_time.unwrap_or(time).max(time);
        state.stream_time = Some(now);
        state.largest[side] = state.largest[side].max(Some(time));
        let mut out = Vec::new();
        if let Some(grace) = grace
            && time == now
        {
            // Right before left, then key, among rows of one time.
            let mut closed: Vec<(i64, bool, usize, usize)> = Vec::new();
            for (of, ahead) in ahead.into_iter().enumerate() {
                for (i, row) in state.sides[of].iter().enumerate() {
                    if row.waiting && row.time + ahead + grace < now {
                        closed.push((row.time, of == 0, of, i));
                    }
                }
            }
            closed.sort_by(|a, b| {
                let key = |c: &(i64, bool, usize, usize)| state.sides[c.2][c.3].key.clone();
                (a.0, a.1).cmp(&(b.0, b.1)).then(key(a).partial_cmp(&key(b)).unwrap()).then(a.3.cmp(&b.3))
            });
            for (at, _, of, i) in closed {
                let row = &mut state.sides[of][i];
                row.waiting = false;
                out.push(pair(Some(&row.value), None, of, &row.key, at));
            }
        }
        let oldest = state.largest[1 - side].map(|largest| largest - retention);
        let mut partners: Vec<usize> = (0..state.sides[1 - side].len())
            .filter(|&i| {
                let row = &state.sides[1 - side][i];
                let near = (time - behind[side]..=time + ahead[side]).contains(&row.time);
                row.key == key && near && oldest.is_none_or(|oldest| row.time >= oldest)
            })
            .collect();
        partners.sort_by_key(|&i| (state.sides[1 - side][i].time, i));
        for &i in &partners {
            let row = &mut state.sides[1 - side][i];
            row.waiting = false;
            out.push(pair(Some(&value), Some(&row.value), side, &key, time.max(row.time)));
        }
        let mut waiting = false;
        if partners.is_empty() && outer[side] {
            waiting = grace.is_some() && time + ahead[side] >= now;
            if !waiting {
                out.push(pair(Some(&value), None, side, &key, time));
            }
        }
        if time >= state.largest[side].unwrap() - retention || waiting {
            state.sides[side].push(Kept { key, time, value, waiting });
        }
        out
    }

    fn stream_table(&mut self, step: &Step, join: &Join, source: &str, record: &Record) -> Vec<Change> {
        for change in self.run(&join.right, source, record) {
            self.table_change(step, change.record);
        }
        let mut out = Vec::new();
        for change in self.run(&join.left, source, record) {
            let (Some(key), Some(value)) = (&change.record.key, &change.record.value) else { continue };
            let found = self.state(step).table.get(&format!("{key:?}")).cloned();
            let right = match (found, join.kind) {
                _ if *key == [Cell::Null] => continue,
                (Some(row), _) => row[join.right.schema.key.len()..].to_vec(),
                (None, JoinKind::Left) => vec![Cell::Null; join.right.schema.value.len()],
                (None, _) => continue,
            };
            let value = Some([value.clone(), right].concat());
            out.push(Change { record: Record { value, ..change.record.clone() }, old: None });
        }
        out
    }

    fn aggregate(&mut self, step: &Step, aggregate: &Aggregate, change: Change) -> Vec<Change> {
        let input = &aggregate.input;
        let group_of = |row: &[Cell]| -> Option<Vec<Cell>> {
            let parts: Vec<Cell> = aggregate.group.iter().map(|g| evaluate(&g.expr, input, row)).collect();
            (!parts.contains(&Cell::Null)).then_some(parts)
        };
        let args_of = |row: &[Cell]| -> Vec<Vec<Cell>> {
            let calls = aggregate.aggregates.iter();
            calls.map(|call| call.args.iter().map(|arg| evaluate(arg, input, row)).collect()).collect()
        };
        let row = change.record.row(input.schema.key.len(), input.schema.value.len());
        let new = change.record.value.as_ref().and_then(|_| Some((group_of(&row)?, args_of(&row))));
        let old = change.old.as_ref().and_then(|old| Some((group_of(old)?, args_of(old))));
        let time = change.record.time;
        if let Some(window) = aggregate.window {
            let Some((key, args)) = new else { return Vec::new() };
            return match window.kind {
                WindowSpecKind::Session { gap_ms } => self.session(step, aggregate, window, gap_ms, key, args, time),
                _ => self.windows(step, aggregate, window, key, args, time),
            };
        }
        match (old, new) {
            (Some((from, undo)), Some((to, add))) if from == to => {
                vec![self.touch(step, aggregate, to, Some(add), Some(undo), time)]
            }
            (old, new) => {
                let mut out = Vec::new();
                if let Some((key, undo)) = old {
                    out.push(self.touch(step, aggregate, key, None, Some(undo), time));
                }
                if let Some((key, add)) = new {
                    out.push(self.touch(step, aggregate, key, Some(add), None, time));
                }
                out
            }
        }
    }

    /// An unwindowed group takes a row back and a row in.
    fn touch(
        &mut self,
        step: &Step,
        aggregate: &Aggregate,
        key: Vec<Cell>,
        add: Option<Vec<Vec<Cell>>>,
        undo: Option<Vec<Vec<Cell>>>,
        time: i64,
    ) -> Change {
        let state = self.state(step);
        state.arrivals += 1;
        let arrival = state.arrivals;
        let group = state.groups.entry((format!("{key:?}"), 0, 0)).or_default();
        let before = group.time.map(|_| [key.clone(), results(aggregate, group, None)].concat());
        group.key = key.clone();
        if let Some(undo) = undo {
            let at = group.rows.iter().rposition(|(_, args)| *args == undo);
            at.map(|at| group.rows.remove(at));
        }
        if let Some(add) = add {
            group.rows.push((arrival, add));
        }
        group.time = group.time.max(Some(time));
        let value = Some(results(aggregate, group, None));
        let record = Record { key: Some(key), window: None, value, time: group.time.unwrap() };
        Change { record, old: before }
    }

    fn windows(
        &mut self,
        step: &Step,
        aggregate: &Aggregate,
        window: WindowSpec,
        key: Vec<Cell>,
        args: Vec<Vec<Cell>>,
        time: i64,
    ) -> Vec<Change> {
        let (size, advance) = match window.kind {
            WindowSpecKind::Tumbling { size_ms } => (size_ms, size_ms),
            WindowSpecKind::Hopping { size_ms, advance_ms } => (size_ms, advance_ms),
            WindowSpecKind::Session { .. } => unreachable!(),
        };
        let grace = window.grace_ms;
        let retention = window.retention_ms.max(size + grace);
        let state = self.state(step);
        let now = state.stream_time.unwrap_or(time).max(time);
        let starts: Vec<i64> = (0..=time / advance).map(|n| n * advance).filter(|s| time < s + size).collect();
        let open: Vec<i64> = starts.into_iter().filter(|start| start + size + grace > now).collect();
        if open.is_empty() {
            self.late += 1;
            return Vec::new();
        }
        state.stream_time = Some(now);
        state.arrivals += 1;
        let arrival = state.arrivals;
        let mut out = Vec::new();
        for start in open {
            let bounds = (start, start + size);
            let group = state.groups.entry((format!("{key:?}"), start, start + size)).or_default();
            let before = group.time.map(|_| [key.clone(), results(aggregate, group, Some(bounds))].concat());
            group.key = key.clone();
            group.rows.push((arrival, args.clone()));
            group.time = group.time.max(Some(time));
            let value = Some(results(aggregate, group, Some(bounds)));
            let record = Record { key: Some(key.clone()), window: Some(bounds), value, time: group.time.unwrap() };
            out.push(Change { record, old: before });
            state.newest = state.newest.max(Some(start));
        }
        if !aggregate.emit_final {
            return out;
        }
        let newest = state.newest.unwrap();
        let said = state.said;
        let mut closed: Vec<(&(String, i64, i64), &Group)> = state
            .groups
            .iter()
            .filter(|((_, _, end), _)| end + grace <= now && said.is_none_or(|said| end + grace > said))
            .filter(|((_, start, _), _)| *start >= newest - retention)
            .collect();
        closed.sort_by(|a, b| a.0.1.cmp(&b.0.1).then(a.1.key.partial_cmp(&b.1.key).unwrap()));
        let out = closed.into_iter().map(|((_, start, end), group)| final_change(aggregate, group, (*start, *end)));
        let out = out.collect();
        state.said = Some(now);
        out
    }

    fn session(
        &mut self,
        step: &Step,
        aggregate: &Aggregate,
        window: WindowSpec,
        gap: i64,
        key: Vec<Cell>,
        args: Vec<Vec<Cell>>,
        time: i64,
    ) -> Vec<Change> {
        let retention = window.retention_ms.max(gap + window.grace_ms);
        let state = self.state(step);
        let now = state.stream_time.unwrap_or(time).max(time);
        state.stream_time = Some(now);
        let name = format!("{key:?}");
        let newest = state.newest;
        let mut found: Vec<(i64, i64)> = state
            .groups
            .iter()
            .filter(|((other, start, end), _)| *other == name && *end >= time - gap && *start <= time + gap)
            .filter(|((_, _, end), _)| newest.is_none_or(|newest| *end > newest - retention))
            .map(|((_, start, end), _)| (*end, *start))
            .collect();
        found.sort_unstable();
        let start = found.iter().map(|f| f.1).fold(time, i64::min);
        let end = found.iter().map(|f| f.0).fold(time, i64::max);
        if end + gap + window.grace_ms < now {
            self.late += 1;
            return Vec::new();
        }
        state.arrivals += 1;
        let mut merged = Group { key: key.clone(), ..Group::default() };
        let mut out = Vec::new();
        for (old_end, old_start) in found {
            let group = state.groups.remove(&(name.clone(), old_start, old_end)).unwrap();
            if (start, end) != (time, time) {
                let bounds = Some((old_start, old_end));
                let old = Some([key.clone(), results(aggregate, &group, bounds)].concat());
                let record = Record { key: Some(key.clone()), window: bounds, value: None, time: old_end };
                out.push(Change { record, old });
            }
            merged.rows.extend(group.rows);
        }
        merged.rows.push((state.arrivals, args));
        merged.time = Some(end);
        out.push(final_change(aggregate, &merged, (start, end)));
        state.groups.insert((name, start, end), merged);
        state.newest = state.newest.max(Some(end));
        if !aggregate.emit_final {
            return out;
        }
        let limit = gap + window.grace_ms;
        let (newest, said) = (state.newest.unwrap(), state.said);
        for ((.., end), group) in &mut state.groups {
            let segment = (retention / 2).max(60_000);
            group.expired |= end.div_euclid(segment) < (newest - retention).div_euclid(segment);
        }
        let mut closed: Vec<(&(String, i64, i64), &Group)> = state
            .groups
            .iter()
            .filter(|((.., end), group)| {
                end + limit < now && said.is_none_or(|said| end + limit >= said) && !group.expired
            })
            .collect();
        closed.sort_by(|a, b| (a.0.2, a.0.1).cmp(&(b.0.2, b.0.1)).then(a.1.key.partial_cmp(&b.1.key).unwrap()));
        let out: Vec<Change> =
            closed.into_iter().map(|((_, start, end), group)| final_change(aggregate, group, (*start, *end))).collect();
        state.said = Some(now);
        out
    }
}

fn final_change(aggregate: &Aggregate, group: &Group, bounds: (i64, i64)) -> Change {
    let value = Some(results(aggregate, group, Some(bounds)));
    let record = Record { key: Some(group.key.clone()), window: Some(bounds), value, time: group.time.unwrap() };
    Change { record, old: None }
}

/// WHERE and HAVING: a stream's row passes or not; a table's change may become a tombstone.
fn filter(input: &Step, predicate: &Expr, change: Change) -> Option<Change> {
    let row = change.record.row(input.schema.key.len(), input.schema.value.len());
    let holds = |row: &[Cell]| evaluate(predicate, input, row) == Cell::Bool(true);
    let new = change.record.value.is_some() && holds(&row);
    let old = change.old.filter(|old| holds(old));
    match (new, &old) {
        (true, _) => Some(Change { record: change.record, old }),
        (false, Some(_)) => Some(Change { record: Record { value: None, ..change.record }, old }),
        (false, None) => None,
    }
}

fn results(aggregate: &Aggregate, group: &Group, window: Option<(i64, i64)>) -> Vec<Cell> {
    let mut cells: Vec<Cell> =
        aggregate.aggregates.iter().enumerate().map(|(i, call)| result(call, i, group)).collect();
    let (start, end) = window.unwrap_or_default();
    cells.extend(aggregate.window_start.iter().map(|_| Cell::Int(start)));
    cells.extend(aggregate.window_end.iter().map(|_| Cell::Int(end)));
    cells
}

fn result(call: &AggregateCall, index: usize, group: &Group) -> Cell {
    let mut rows: Vec<(i64, Cell)> = Vec::new();
    for (arrival, args) in &group.rows {
        rows.push((*arrival, args[index].first().cloned().unwrap_or(Cell::Bool(true))));
    }
    let values: Vec<Cell> = rows.iter().map(|row| row.1.clone()).filter(|cell| *cell != Cell::Null).collect();
    let order = |a: &&Cell, b: &&Cell| a.partial_cmp(b).unwrap();
    let sum = || values.iter().map(Cell::number).sum::<f64>();
    match call.function.as_str() {
        "COUNT" => Cell::Int(values.len() as i64),
        "SUM" => match call.ty {
            headwater_engine::types::SqlType::Double => Cell::Double(sum()),
            _ => Cell::Int(values.iter().map(Cell::whole).sum()),
        },
        "AVG" if values.is_empty() => Cell::Double(0.0),
        "AVG" => Cell::Double(sum() / values.len() as f64),
        "MIN" => values.iter().min_by(order).cloned().unwrap_or(Cell::Null),
        "MAX" => values.iter().max_by(order).cloned().unwrap_or(Cell::Null),
        "COLLECT_LIST" => Cell::List(rows.into_iter().map(|row| row.1).collect()),
        "LATEST_BY_OFFSET" => {
            rows.retain(|row| row.1 != Cell::Null);
            rows.into_iter().max_by_key(|row| row.0).map_or(Cell::Null, |row| row.1)
        }
        "EARLIEST_BY_OFFSET" => {
            rows.retain(|row| row.1 != Cell::Null);
            rows.into_iter().min_by_key(|row| row.0).map_or(Cell::Null, |row| row.1)
        }
        "TOPK" => {
            let Some(Value::Integer(k)) = call.constants.first() else { panic!("TOPK needs k") };
            let mut values = values;
            values.sort_by(|a, b| b.partial_cmp(a).unwrap());
            values.truncate(*k as usize);
            Cell::List(values)
        }
        other => panic!("the interpreter has no {other}"),
    }
}

/// The joined row, if there is one.
fn foreign_key_row(join: &Join, left: Option<&Vec<Cell>>, right: Option<&Vec<Cell>>) -> Option<Vec<Cell>> {
    let nothing = vec![Cell::Null; join.right.schema.value.len()];
    match (left, right) {
        (Some(left), Some(right)) => Some([left.clone(), right.clone()].concat()),
        (Some(left), None) if join.kind == JoinKind::Left => Some([left.clone(), nothing].concat()),
        _ => None,
    }
}

/// An expression over a row of `input`'s columns.
fn evaluate(expr: &Expr, input: &Step, row: &[Cell]) -> Cell {
    let eval = |expr: &Expr| evaluate(expr, input, row);
    match &expr.kind {
        ExprKind::Column(name) => row[input.schema.index_of(name).unwrap()].clone(),
        ExprKind::Literal(value) => match value {
            Value::Null => Cell::Null,
            Value::Integer(v) => Cell::Int(i64::from(*v)),
            Value::Bigint(v) => Cell::Int(*v),
            Value::Double(v) => Cell::Double(*v),
            Value::String(v) => Cell::Text(v.clone()),
            Value::Boolean(v) => Cell::Bool(*v),
            other => panic!("the interpreter has no {other:?}"),
        },
        ExprKind::Arithmetic { op, left, right } => {
            let (left, right) = (eval(left), eval(right));
            if left == Cell::Null || right == Cell::Null {
                return Cell::Null;
            }
            let (a, b) = (left.whole(), right.whole());
            match op {
                ArithmeticOp::Add => Cell::Int(a + b),
                ArithmeticOp::Subtract => Cell::Int(a - b),
                ArithmeticOp::Multiply => Cell::Int(a * b),
                ArithmeticOp::Divide if b == 0 => Cell::Null,
                ArithmeticOp::Modulo if b == 0 => Cell::Null,
                ArithmeticOp::Divide => Cell::Int(a / b),
                ArithmeticOp::Modulo => Cell::Int(a % b),
            }
        }
        ExprKind::Comparison { op, left, right } => {
            let (left, right) = (eval(left), eval(right));
            if left == Cell::Null || right == Cell::Null {
                return Cell::Bool(false);
            }
            let order = left.partial_cmp(&right).unwrap();
            Cell::Bool(match op {
                ComparisonOp::Equal => order.is_eq(),
                ComparisonOp::NotEqual => order.is_ne(),
                ComparisonOp::Less => order.is_lt(),
                ComparisonOp::LessOrEqual => order.is_le(),
                ComparisonOp::Greater => order.is_gt(),
                ComparisonOp::GreaterOrEqual => order.is_ge(),
                other => panic!("the interpreter has no {other:?}"),
            })
        }
        ExprKind::IsNull { expr, negated } => Cell::Bool((eval(expr) == Cell::Null) != *negated),
        ExprKind::Cast(inner) => eval(inner),
        ExprKind::Array(items) => Cell::List(items.iter().map(eval).collect()),
        other => panic!("the interpreter has no {other:?}"),
    }
}
