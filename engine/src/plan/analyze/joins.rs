//! FROM with joins: what may be joined, by which key, and the tree of steps.
//!
//! Joins nest to the left. Each side comes to its join keyed by the join key under a name of the plan's own, every column
//! of its source being a value beside it (so `L.ID` can be null in an outer join's row although the row has a key):
//!
//! ```text
//! S JOIN T ON S.REF = T.ID      Join STREAM-TABLE   key [KSQL_JOIN_KEY_1]  value [S_ID, S_REF, T_ID, T_NAME]
//!                               ├ Rekey    KSQL_JOIN_KEY_1 = S_REF      (the stream moves to the table)
//!                               │ └ Scan S
//!                               └ Project  KSQL_JOIN_KEY_1 = T_ID
//!                                 └ Scan T
//! ```
//!
//! The key column of the result is any column that equals the join key (the first selected one); a FULL join, or one
//! between expressions only, has none and gets `ROWKEY`. A foreign-key join keeps the left table's key.

use super::expr::{Clause, text};
use super::formats;
use super::keys::{KeyColumn, KeyOrigin};
use super::names::{Names, unused};
use super::projection::{Written, projected};
use super::query::{Clauses, Input, QueryPlanner, implicit_repartition, rekeyed, scan};
use super::scope::StepScope;
use super::tree::column;
use super::walk::{collect_columns, same};
use crate::error::{Error, Result};
use crate::format::{FormatName, FormatSpec, Side};
use crate::plan::expr::Expr;
use crate::plan::steps::{Join, JoinKind, JoinShape, NamedExpr, Step, StepKind, WindowInfo, WindowType};
use crate::schema::{Column, Schema};
use crate::sql::ast;

/// One ON condition, the side of the newly joined source on the right.
pub(super) struct Condition {
    pub left: ast::Expr,
    pub right: ast::Expr,
    /// Position of the left expression's source among the relations.
    left_source: usize,
    /// As written.
    printed: String,
}

impl Condition {
    /// Reads the condition of the join that adds `names.relations[index]`.
    pub fn of(names: &Names<'_>, index: usize, on: &ast::Expr) -> Result<Self> {
        let ast::Expr::Comparison { op, left, right } = on else {
            if matches!(on, ast::Expr::And(..) | ast::Expr::Or(..)) {
                return Err(Error::statement(format!(
                    "Invalid join condition: joins on multiple conditions are not yet supported. Got {}.",
                    text(on)
                )));
            }
            return Err(Error::statement(format!("Unsupported join expression: {}.", text(on))));
        };
        if *op != ast::ComparisonOp::Equal {
            return Err(Error::statement(format!("Only equality join criteria is supported. Got {}.", text(on))));
        }
        names.check(left, "JOIN ON", &[])?;
        names.check(right, "JOIN ON", &[])?;
        let left_source = only_source(names, left, on)?;
        let right_source = only_source(names, right, on)?;
        let alias = |i: usize| names.relations[i].alias;
        if left_source == right_source || left_source.max(right_source) > index {
            return Err(Error::statement(format!(
                "Each side of the join must reference exactly one source and not the same source. Left side \
                 references `{}` and right references `{}`",
                alias(left_source),
                alias(right_source)
            )));
        }
        if left_source != index && right_source != index {
            return Err(Error::statement(format!(
                "Invalid join condition: one side must reference the joined source `{}`. Got {}.",
                alias(index),
                text(on)
            )));
        }
        let joined = &names.relations[index].source.name;
        if names.relations[..index].iter().any(|r| r.source.name == *joined) {
            if index == 1 {
                return Err(super::names::self_join(joined));
            }
            return Err(Error::statement(format!(
                "N-way joins do not support multiple occurrences of the same source. Source: '{joined}'."
            )));
        }
        let printed = format!("{} = {}", text(left), text(right));
        let (left, right, left_source) =
            if right_source == index { (left, right, left_source) } else { (right, left, right_source) };
        Ok(Condition { left: (**left).clone(), right: (**right).clone(), left_source, printed })
    }
}

fn only_source(names: &Names<'_>, side: &ast::Expr, on: &ast::Expr) -> Result<usize> {
    let mut sources: Vec<&str> = collect_columns(side).into_iter().filter_map(|c| c.source).collect();
    sources.sort_unstable();
    sources.dedup();
    match sources[..] {
        [one] => Ok(names.relations.iter().position(|r| r.alias == one).unwrap_or(0)),
        _ => Err(Error::statement(format!(
            "Invalid comparison expression '{}' in join '{}'. Each side of the join comparision must contain references \
             from exactly one source.",
            text(side),
            text(on)
        ))),
    }
}

/// Which expressions stand for the key of the joins so far, qualified.
#[derive(Default)]
struct Equal {
    /// Acceptable as the result's key: equal to it, or null.
    viable: Vec<ast::Expr>,
    /// Equal to it in every row.
    exact: Vec<ast::Expr>,
}

impl Equal {
    fn joined(&self, kind: ast::JoinKind, on: &Condition) -> Equal {
        let contains = |list: &[ast::Expr]| list.iter().any(|e| same(e, &on.left));
        let mut viable = if contains(&self.viable) { self.viable.clone() } else { vec![on.left.clone()] };
        viable.push(on.right.clone());
        let kept = if contains(&self.exact) { self.exact.clone() } else { vec![on.left.clone()] };
        match kind {
            ast::JoinKind::Inner => {
                let exact = kept.into_iter().chain([on.right.clone()]).collect();
                Equal { viable, exact }
            }
            ast::JoinKind::Left => Equal { viable, exact: kept },
            ast::JoinKind::Right => Equal { viable, exact: vec![on.right.clone()] },
            ast::JoinKind::Full => Equal::default(),
        }
    }

    fn columns(&self) -> Vec<&ast::Expr> {
        self.viable.iter().filter(|e| matches!(e, ast::Expr::Column { .. })).collect()
    }
}

impl QueryPlanner<'_> {
    /// The name of the key column that the last join makes up, if it does.
    pub fn synthetic_key(&self, clauses: &Clauses) -> Result<Option<String>> {
        if clauses.joins.is_empty() {
            return Ok(None);
        }
        let mut equal = Equal::default();
        for (index, on) in clauses.joins.iter().enumerate() {
            let on = Condition::of(&self.names, index + 1, on)?;
            if self.is_foreign_key(index + 1, &on, &equal) {
                if index + 1 == clauses.joins.len() {
                    return Ok(None);
                }
                equal = self.key_of_leftmost();
            } else {
                equal = equal.joined(self.query.joins[index].kind, &on);
            }
        }
        Ok(equal.columns().is_empty().then(|| self.synthetic_name()))
    }

    fn synthetic_name(&self) -> String {
        unused("ROWKEY", |n| self.names.relations.iter().any(|r| r.type_of(n).is_some()))
    }

    fn key_of_leftmost(&self) -> Equal {
        let relation = &self.names.relations[0];
        let exact = relation.source.schema.key.iter().map(|c| qualified(relation.alias, &c.name)).collect();
        Equal { viable: Vec::new(), exact }
    }

    /// A join of tables whose left side is not keyed by the join expression.
    fn is_foreign_key(&self, index: usize, on: &Condition, equal: &Equal) -> bool {
        let tables = self.names.relations[..=index].iter().all(|r| r.source.is_table());
        if !tables || !self.is_primary_key(index, &on.right) {
            return false;
        }
        if index == 1 {
            return !self.is_primary_key(0, &on.left);
        }
        !equal.exact.iter().chain(&equal.viable).any(|e| same(e, &on.left))
    }

    /// Whether an expression is the whole key of a source.
    fn is_primary_key(&self, index: usize, expr: &ast::Expr) -> bool {
        let relation = &self.names.relations[index];
        match &relation.source.schema.key[..] {
            [key] => matches!(expr, ast::Expr::Column { source: Some(source), name, .. }
                if source == relation.alias && *name == key.name),
            _ => false,
        }
    }

    pub fn join(&self, items: &[Written], clauses: &Clauses, used: &[Vec<String>]) -> Result<Input> {
        let scans: Vec<Step> = self
            .names
            .relations
            .iter()
            .zip(used)
            .map(|(relation, used)| scan(&self.names, relation, used, self.settings))
            .collect();
        let mut scans = scans.into_iter();
        let mut left = scans.next().ok_or_else(|| Error::internal("a join without sources"))?;
        let mut equal = Equal::default();
        let mut foreign = false;
        let mut left_format = self.leftmost().key_format.clone();
        let last = clauses.joins.len();
        for ((index, right), on) in (1..).zip(scans).zip(&clauses.joins) {
            let on = Condition::of(&self.names, index, on)?;
            let join = &self.query.joins[index - 1];
            let shape = self.shape(index, &on, &equal, left.table)?;
            foreign = matches!(shape, JoinShape::ForeignKey { .. });
            self.check_windows(index, &left, &right, foreign)?;
            let left_expr = self.typed_side(&left, &on.left)?;
            let right_expr = self.typed_side(&right, &on.right)?;
            if left_expr.ty != right_expr.ty {
                return Err(Error::statement(format!(
                    "Invalid join condition: types don't match. Got {}{{{}}} = {}{{{}}}.",
                    text(&on.left),
                    left_expr.ty,
                    text(&on.right),
                    right_expr.ty
                ))
                .with_hint("CAST one side to the type of the other"));
            }
            if foreign {
                left = self.foreign_key_join(left, right, kind(join.kind), left_expr, right_expr);
                equal = self.key_of_leftmost();
                continue;
            }
            let joined = equal.joined(join.kind, &on);
            let synthetic = joined.columns().is_empty();
            let key = if synthetic && index == last { self.synthetic_name() } else { format!("KSQL_JOIN_KEY_{index}") };
            self.check_map_key(&joined, items, &key, &left_expr)?;
            self.check_partitions(index)?;
            let stays = if index == 1 {
                self.is_primary_key(0, &on.left)
            } else {
                equal.exact.iter().any(|e| same(e, &on.left))
            };
            let left_moves = !stays && !left.table;
            let right_moves = !self.is_primary_key(index, &on.right);
            let relation = &self.names.relations[index];
            let format = self.join_format(&left_format, left_moves, relation.source, right_moves, &left_expr);
            let many = relation.source.partitions > 1;
            let left_moves = left_moves || many && !left.table && left_format.name != format.name;
            let right_moves = right_moves || many && !right.table && relation.source.key_format.name != format.name;
            let keyed_left = self.keyed(left, &key, left_expr, left_moves, &format)?;
            let keyed_right = self.keyed(right, &key, right_expr, right_moves, &format)?;
            left = joined_step(keyed_left, keyed_right, kind(join.kind), shape, key);
            left_format = format;
            equal = joined;
        }
        let inside = |list: &[ast::Expr]| list.iter().map(|e| self.names.inside(e)).collect::<Vec<_>>();
        if foreign {
            let alias = self.names.relations[0].alias;
            let key = std::iter::zip(&self.leftmost().schema.key, &left.schema.key)
                .map(|(declared, inside)| KeyColumn {
                    name: inside.name.clone(),
                    origin: KeyOrigin::ForeignKey,
                    written: vec![column(&self.names.internal(alias, &declared.name), Default::default())],
                    printed: vec![declared.name.clone()],
                    exact: vec![column(&inside.name, Default::default())],
                })
                .collect();
            return Ok(Input { step: left, key, synthetic: None });
        }
        let name = left.schema.key[0].name.clone();
        let columns: Vec<ast::Expr> = equal.columns().into_iter().cloned().collect();
        let key = if columns.is_empty() {
            KeyColumn {
                origin: KeyOrigin::Synthetic,
                written: vec![column(&name, Default::default())],
                printed: vec![name.clone()],
                exact: vec![column(&name, Default::default())],
                name,
            }
        } else {
            KeyColumn {
                name,
                origin: KeyOrigin::Join,
                written: inside(&columns),
                printed: columns.iter().map(text).collect(),
                exact: inside(&equal.exact),
            }
        };
        let synthetic = (key.origin == KeyOrigin::Synthetic).then(|| key.name.clone());
        Ok(Input { step: left, key: vec![key], synthetic })
    }

    /// What kind of join it is, or why it cannot be.
    fn shape(&self, index: usize, on: &Condition, equal: &Equal, left_is_table: bool) -> Result<JoinShape> {
        let join = &self.query.joins[index - 1];
        let right = self.names.relations[index].source;
        let left = self.names.relations[on.left_source].source;
        let got = || format!("Got {} {} {}.", left.name, printed_kind(join.kind), right.name);
        let refuse = |message: String| Err(Error::statement(message).at(join.relation.name.position));
        if left_is_table && !right.is_table() {
            return refuse(format!(
                "Invalid join order: table-stream joins are not supported; only stream-table joins. {}",
                got()
            ));
        }
        let shape = if !left_is_table && !right.is_table() {
            let Some(within) = join.within else {
                return refuse(format!(
                    "Stream-stream joins must have a WITHIN clause specified. None was provided. To learn about how to \
                     specify a WITHIN clause with a stream-stream join, please visit: \
                     https://docs.confluent.io/current/ksql/docs/syntax-reference.html#create-stream-as-select. {}",
                    got()
                ));
            };
            return Ok(JoinShape::StreamStream {
                before_ms: within.before_ms,
                after_ms: within.after_ms,
                grace_ms: within.grace_ms,
            });
        } else if left_is_table {
            "table-table"
        } else {
            "stream-table"
        };
        if join.within.is_some() {
            return refuse(format!(
                "A window definition was provided for a {} join. These joins are not windowed. Please drop the window \
                 definition (ie. the WITHIN clause) and try to execute your query again.",
                if left_is_table { "Table-Table" } else { "Stream-Table" }
            ));
        }
        let foreign = left_is_table && self.is_foreign_key(index, on, equal);
        let named = if foreign { "foreign-key table-table" } else { shape };
        let refused_kind = match join.kind {
            ast::JoinKind::Full if foreign || !left_is_table => Some("full-outer"),
            ast::JoinKind::Right if foreign || !left_is_table => Some("right-outer"),
            _ => None,
        };
        if let Some(refused) = refused_kind {
            return refuse(format!("Invalid join type: {refused} join not supported for {named} join. {}", got()));
        }
        if !self.is_primary_key(index, &on.right) {
            return refuse(if left_is_table {
                format!(
                    "Invalid join condition: table-table joins require to join on the primary key of the right input \
                     table. Got {}.",
                    on.printed
                )
            } else {
                format!(
                    "Invalid join condition: stream-table joins require to join on the table's primary key. Got {}.",
                    on.printed
                )
            });
        }
        if foreign && index > 1 {
            return refuse(format!(
                "Invalid join condition: foreign-key table-table joins are not supported as part of n-way joins. Got \
                 {}.",
                on.printed
            ));
        }
        Ok(if foreign {
            JoinShape::ForeignKey { left_expr: Expr::null(crate::types::SqlType::String) }
        } else if left_is_table {
            JoinShape::TableTable
        } else {
            JoinShape::StreamTable
        })
    }

    /// Windows are part of the key: only equally windowed sources have keys in common.
    fn check_windows(&self, index: usize, left: &Step, right: &Step, foreign: bool) -> Result<()> {
        if foreign && (left.windowed.is_some() || right.windowed.is_some()) {
            return Err(Error::statement("Foreign-key table-table joins are not supported on windowed tables."));
        }
        let alias = |i: usize| self.names.relations[i].alias;
        let word = |w: WindowInfo| match w.kind {
            WindowType::Session => "SESSION",
            WindowType::Hopping => "HOPPING",
            WindowType::Tumbling => "TUMBLING",
        };
        let is_session = |w: WindowInfo| w.kind == WindowType::Session;
        match (left.windowed, right.windowed) {
            (None, None) => Ok(()),
            (Some(l), Some(r)) if is_session(l) == is_session(r) => Ok(()),
            (Some(l), Some(r)) => Err(Error::statement(format!(
                "Incompatible windowed sources.\nLeft source: {}\nRight source: {}\nSession windowed sources can only be \
                 joined to other session windowed sources, and may still not result in expected behaviour as session \
                 bounds must be an exact match for the join to work\nHopping and tumbling windowed sources can only be \
                 joined to other hopping and tumbling windowed sources",
                word(l),
                word(r)
            ))),
            (l, r) => {
                let is =
                    |w: Option<WindowInfo>| w.map_or("not windowed".to_string(), |w| format!("{} windowed", word(w)));
                Err(Error::statement(format!(
                    "Can not join windowed source to non-windowed source.\n`{}` is {}\n`{}` is {}",
                    alias(0),
                    is(l),
                    alias(index),
                    is(r)
                )))
            }
        }
    }

    fn check_partitions(&self, index: usize) -> Result<()> {
        let left = self.leftmost();
        let right = self.names.relations[index].source;
        if left.partitions == right.partitions {
            return Ok(());
        }
        Err(Error::statement(format!(
            "Can't join `{0}` with `{1}` since the number of partitions don't match. `{0}` partitions = {2}; `{1}` \
             partitions = {3}. Please repartition either one so that the number of partitions match.",
            self.names.relations[0].alias, self.names.relations[index].alias, left.partitions, right.partitions
        )))
    }

    /// A join key must not be a MAP, and is named in the message as the result would name it.
    fn check_map_key(&self, equal: &Equal, items: &[Written], key: &str, expr: &Expr) -> Result<()> {
        let columns = equal.columns();
        let is_selected =
            |c: &&&ast::Expr| items.iter().any(|i| matches!(i, Written::Expr { expr, .. } if same(expr, c)));
        let chosen = columns.iter().find(is_selected).or(columns.first());
        let name = match chosen.map(|c| self.names.inside(c)) {
            Some(ast::Expr::Column { name, .. }) => name,
            _ => key.to_string(),
        };
        formats::check_key_types(&[Column::new(name, expr.ty.clone())])
    }

    fn typed_side(&self, step: &Step, side: &ast::Expr) -> Result<Expr> {
        let scope = StepScope::new(&step.schema, self.catalog);
        self.analyzer(&scope, Clause::Select).expr(&self.names.inside(side))
    }

    /// The key format rows have when they meet: that of the side that stays where it is.
    fn join_format(
        &self,
        left: &FormatSpec,
        left_moves: bool,
        right: &crate::catalog::Source,
        right_moves: bool,
        key: &Expr,
    ) -> FormatSpec {
        let right_stays = right.is_table() || (left_moves && !right_moves);
        let wanted = if right_stays { &right.key_format } else { left };
        let columns = [Column::new("KEY", key.ty.clone())];
        let fits =
            |spec: &FormatSpec| spec.name != FormatName::None && formats::holds(spec.name, &columns, Side::Key).is_ok();
        if fits(wanted) {
            return wanted.clone();
        }
        match FormatSpec::new(FormatName::Kafka) {
            kafka if fits(&kafka) => kafka,
            _ => FormatSpec::new(FormatName::Json),
        }
    }

    /// One side under the join's key, all its columns beside it.
    fn keyed(&self, step: Step, name: &str, expr: Expr, moves: bool, format: &FormatSpec) -> Result<Step> {
        let key = vec![NamedExpr { name: name.to_string(), expr }];
        if moves {
            if step.windowed.is_some() {
                return Err(implicit_repartition());
            }
            return Ok(rekeyed(step, key, format.clone()));
        }
        let value = step
            .schema
            .columns()
            .filter(|c| !is_join_key(&c.name))
            .map(|c| NamedExpr { name: c.name.clone(), expr: Expr::column(&c.name, c.ty.clone()) })
            .collect();
        // The key is taken from the key column, which an outer join below keeps where the named column is null.
        let key = match &step.schema.key[..] {
            [own] => vec![NamedExpr { name: name.to_string(), expr: Expr::column(&own.name, own.ty.clone()) }],
            _ => key,
        };
        Ok(projected(step, key, value))
    }

    fn foreign_key_join(&self, left: Step, right: Step, kind: JoinKind, left_expr: Expr, right_expr: Expr) -> Step {
        let right_values = right
            .schema
            .columns()
            .map(|c| NamedExpr { name: c.name.clone(), expr: Expr::column(&c.name, c.ty.clone()) })
            .collect();
        let right_key = vec![NamedExpr { name: "KSQL_JOIN_KEY_1".to_string(), expr: right_expr }];
        let right = projected(right, right_key, right_values);
        let schema = Schema {
            key: left.schema.key.clone(),
            value: left.schema.value.iter().chain(&right.schema.value).cloned().collect(),
        };
        let key = schema.key[0].name.clone();
        let shape = JoinShape::ForeignKey { left_expr };
        let join = Join { left: Box::new(left), right: Box::new(right), kind, shape, key };
        Step { kind: StepKind::Join(join), schema, table: true, windowed: None }
    }
}

fn is_join_key(name: &str) -> bool {
    name.starts_with("KSQL_JOIN_KEY_")
}

fn joined_step(left: Step, right: Step, kind: JoinKind, shape: JoinShape, key: String) -> Step {
    let schema = Schema {
        key: vec![Column::new(&key, left.schema.key[0].ty.clone())],
        value: left.schema.value.iter().chain(&right.schema.value).cloned().collect(),
    };
    let (table, windowed) = (left.table, left.windowed);
    let join = Join { left: Box::new(left), right: Box::new(right), kind, shape, key };
    Step { kind: StepKind::Join(join), schema, table, windowed }
}

fn qualified(alias: &str, name: &str) -> ast::Expr {
    ast::Expr::Column { source: Some(alias.to_string()), name: name.to_string(), position: Default::default() }
}

fn kind(kind: ast::JoinKind) -> JoinKind {
    match kind {
        ast::JoinKind::Inner => JoinKind::Inner,
        ast::JoinKind::Left => JoinKind::Left,
        ast::JoinKind::Right => JoinKind::Right,
        ast::JoinKind::Full => JoinKind::Full,
    }
}

fn printed_kind(kind: ast::JoinKind) -> &'static str {
    match kind {
        ast::JoinKind::Inner => "[INNER] JOIN",
        ast::JoinKind::Left => "LEFT [OUTER] JOIN",
        ast::JoinKind::Right => "RIGHT [OUTER] JOIN",
        ast::JoinKind::Full => "[FULL] OUTER JOIN",
    }
}
