//! The SELECT list: what its columns are called, what its stars stand for, and which of them are key columns.
//!
//! | item | is called |
//! |---|---|
//! | `e AS n` | `N` |
//! | `c`, `s.c` | `C`; `S_C` if both sides of a join have it |
//! | `a->b` | `B`, or `B_1` … if a source has a column `B` |
//! | any other expression | `KSQL_COL_0`, `KSQL_COL_1` …, leaving out names of source columns |
//! | `*`, `s.*` | the columns' names; in a join `S_C` for all |
//! | `e->*` | the fields' names |

use super::ddl::check_timestamp;
use super::expr::{Clause, text};
use super::keys;
use super::names::{self, is_system_column, unused};
use super::query::{Input, QueryPlanner, filtered};
use super::scope::StepScope;
use super::walk::same;
use crate::error::{Error, Result};
use crate::plan::expr::{Expr, Value};
use crate::plan::steps::{NamedExpr, Step, StepKind};
use crate::schema::{Column, Schema};
use crate::sql::ast::{self, SelectItem};
use crate::types::SqlType;

/// A SELECT item with its columns qualified and its name settled, before stars are opened.
pub(super) enum Written {
    Star { source: Option<String> },
    StructStar(ast::Expr),
    Expr { expr: ast::Expr, name: String },
}

impl Written {
    pub fn expr(&self) -> Option<&ast::Expr> {
        match self {
            Written::Star { .. } => None,
            Written::StructStar(expr) | Written::Expr { expr, .. } => Some(expr),
        }
    }
}

/// One column of the result.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub name: String,
    /// As it is written inside the plan.
    pub expr: ast::Expr,
    /// Named in the SELECT list, not part of a star.
    pub explicit: bool,
}

/// Names for what has none.
pub(super) struct GeneratedNames {
    taken: Vec<String>,
    next: usize,
}

impl GeneratedNames {
    pub fn over(names: &names::Names<'_>) -> Self {
        let taken = names.relations.iter().flat_map(|r| r.declared()).map(|c| c.name).collect();
        GeneratedNames { taken, next: 0 }
    }

    /// The name of an expression without alias.
    pub fn name_for(&mut self, expr: &ast::Expr) -> String {
        match expr {
            ast::Expr::Column { name, .. } => name.clone(),
            ast::Expr::Field { field, .. } => {
                let name = unused(field, |n| self.taken.iter().any(|t| t == n));
                self.taken.push(name.clone());
                name
            }
            _ => loop {
                let name = format!("KSQL_COL_{}", self.next);
                self.next += 1;
                if !self.taken.contains(&name) {
                    self.taken.push(name.clone());
                    return name;
                }
            },
        }
    }
}

impl QueryPlanner<'_> {
    pub fn generated_names(&self) -> GeneratedNames {
        GeneratedNames::over(&self.names)
    }

    pub fn written_items(&self) -> Result<Vec<Written>> {
        let mut generated = self.generated_names();
        self.query
            .select
            .iter()
            .map(|item| {
                Ok(match item {
                    SelectItem::Star { source, .. } => Written::Star { source: source.clone() },
                    SelectItem::StructStar(expr) => Written::StructStar(self.names.qualify(expr)?),
                    SelectItem::Expr { expr, alias } => {
                        let expr = self.names.qualify(expr)?;
                        let name = match (alias, &expr) {
                            (Some(alias), _) => {
                                check_alias(alias, &expr)?;
                                alias.clone()
                            }
                            (None, ast::Expr::Column { source: Some(source), name, .. })
                                if self.is_in_several_sources(name) =>
                            {
                                format!("{source}_{name}")
                            }
                            (None, expr) => generated.name_for(expr),
                        };
                        Written::Expr { expr, name }
                    }
                })
            })
            .collect()
    }

    /// The query with columns qualified and every SELECT item named.
    pub fn settled_query(&self) -> Result<ast::Query> {
        let clauses = self.clauses()?;
        let select = self
            .written_items()?
            .into_iter()
            .map(|item| match item {
                Written::Star { source } => SelectItem::Star { source, position: Default::default() },
                Written::StructStar(expr) => SelectItem::StructStar(expr),
                Written::Expr { expr, name } => SelectItem::Expr { expr, alias: Some(name) },
            })
            .collect();
        let named = |relation: &ast::Relation| ast::Relation {
            alias: Some(relation.alias_or_name().to_string()),
            ..relation.clone()
        };
        let joins = self.query.joins.iter().zip(clauses.joins);
        Ok(ast::Query {
            select,
            from: named(&self.query.from),
            joins: joins.map(|(join, on)| ast::Join { relation: named(&join.relation), on, ..join.clone() }).collect(),
            filter: clauses.filter,
            group_by: clauses.group_by,
            partition_by: clauses.partition_by,
            having: clauses.having,
            emit: self.query.emit.or(Some(ast::Emit::Changes)),
            ..self.query.clone()
        })
    }

    fn is_in_several_sources(&self, column: &str) -> bool {
        self.names.relations.iter().filter(|r| r.type_of(column).is_some()).count() > 1
    }

    /// Opens the stars; from here on columns have the names of the plan.
    pub fn expand(&self, written: Vec<Written>, input: &Input) -> Result<Vec<Item>> {
        let mut items = Vec::with_capacity(written.len());
        for item in written {
            match item {
                Written::Expr { expr, name } => {
                    items.push(Item { name, expr: self.names.inside(&expr), explicit: true })
                }
                Written::Star { source } => self.open_star(source.as_deref(), input, &mut items),
                Written::StructStar(expr) => {
                    let expr = self.names.inside(&expr);
                    let scope = StepScope::new(&input.step.schema, self.catalog);
                    let ty = self.analyzer(&scope, Clause::Select).expr(&expr)?.ty;
                    let SqlType::Struct(fields) = ty else {
                        return Err(Error::statement(format!(
                            "Struct expression '{}->*' must reference a STRUCT column, but it is {ty}.",
                            text(&expr)
                        )));
                    };
                    items.extend(fields.into_iter().map(|field| Item {
                        expr: ast::Expr::Field { base: Box::new(expr.clone()), field: field.name.clone() },
                        name: field.name,
                        explicit: true,
                    }));
                }
            }
        }
        Ok(items)
    }

    /// Key columns first, then the values. Behind PARTITION BY the columns stand as the re-keyed rows have them: the
    /// new key, the values, the old key.
    fn open_star(&self, source: Option<&str>, input: &Input, items: &mut Vec<Item>) {
        let rekeyed = !self.query.partition_by.is_empty();
        let mut push = |name: String, expr: ast::Expr| items.push(Item { name, expr, explicit: false });
        let column = |name: &str| super::tree::column(name, Default::default());
        if rekeyed {
            for key in &input.key {
                push(key.name.clone(), key.written[0].clone());
            }
        } else if let Some(synthetic) = input.synthetic.as_ref().filter(|_| source.is_none()) {
            push(synthetic.clone(), column(synthetic));
        }
        for relation in self.names.relations.iter().filter(|r| source.is_none_or(|s| s == r.alias)) {
            let keys = || relation.source.schema.key.iter().map(|c| c.name.clone());
            let values = || relation.declared().into_iter().skip(relation.source.schema.key.len()).map(|c| c.name);
            let windowed = relation.source.windowed.is_some();
            let bounds = || names::WINDOW_BOUNDS.into_iter().filter(move |_| windowed).map(String::from);
            let order: Vec<String> = if rekeyed {
                let pseudo = names::PSEUDO_COLUMNS.iter().map(|(n, _)| (*n).to_string());
                values().chain(pseudo.filter(|_| self.names.is_join())).chain(keys()).collect()
            } else if self.names.is_join() || !self.is_persistent() {
                keys().chain(bounds()).chain(values()).collect()
            } else {
                keys().chain(values()).collect()
            };
            for name in order {
                let name = self.names.internal(relation.alias, &name);
                let expr = column(&name);
                if !rekeyed || !input.key.iter().any(|k| same(&k.written[0], &expr)) {
                    push(name, expr);
                }
            }
        }
    }

    /// The last step of the query, and its result's columns in SELECT order.
    pub fn project(&self, input: Input, items: &[Item], computed: &[(ast::Expr, Expr)]) -> Result<(Step, Vec<Column>)> {
        let Input { mut step, mut key, .. } = input;
        if !self.is_persistent() && !step.table && !matches!(step.kind, StepKind::Filter { .. }) {
            // A client is shown rows, not null records: a filter passes none of those.
            step = filtered(step, Expr::literal(Value::Boolean(true), SqlType::Boolean));
        }
        if let super::query::Purpose::Sink { .. } = self.purpose
            && let Some(item) = items.iter().find(|i| i.explicit && is_system_column(&i.name))
        {
            return Err(Error::statement(format!(
                "Reserved column name in select: `{}`. Please remove or alias the column.",
                item.name
            )));
        }
        let typed = {
            let scope = StepScope { computed, ..StepScope::new(&step.schema, self.catalog) };
            let analyzer = self.analyzer(&scope, Clause::Select);
            items.iter().map(|item| analyzer.expr(&item.expr)).collect::<Result<Vec<Expr>>>()?
        };
        let columns: Vec<Column> =
            items.iter().zip(&typed).map(|(item, expr)| Column::new(&item.name, expr.ty.clone())).collect();
        let repeated: Vec<String> = columns
            .iter()
            .enumerate()
            .filter(|(i, column)| columns[..*i].iter().any(|c| c.name == column.name))
            .map(|(_, column)| format!("`{}` {}", column.name, column.ty))
            .collect();
        if !repeated.is_empty() {
            return Err(Error::statement(format!("Duplicate value columns found in schema: {}", repeated.join(", ")))
                .with_hint("give one of them another name with AS"));
        }
        let selected = match self.purpose {
            super::query::Purpose::Sink { name, properties, .. } => {
                if let Some(properties) = properties {
                    check_timestamp(properties, &Schema::new(Vec::new(), columns.clone()))?;
                }
                let mut selected = keys::selected(&key, items)?;
                if self.settings.bool("ksql.new.query.planner.enabled") && !step.table {
                    (key, selected) = keys::in_selected_order(key, selected);
                }
                if items.len() == selected.iter().flatten().count() {
                    return Err(Error::statement("The projection contains no value columns."));
                }
                keys::check_selected(&key, &selected, name, self.names.relations[0].alias)?;
                selected
            }
            super::query::Purpose::Push => first_selected(&key, items),
        };
        let key_exprs: Vec<NamedExpr> = key
            .iter()
            .zip(&selected)
            .map(|(key, item)| {
                let ty = step.schema.column(&key.name).map(|c| c.ty.clone()).unwrap_or(SqlType::String);
                let name = match item {
                    Some(item) => items[*item].name.clone(),
                    None => unused(&key.name, |n| items.iter().any(|i| i.name == n)),
                };
                NamedExpr { name, expr: Expr::column(&key.name, ty) }
            })
            .collect();
        let value_exprs: Vec<NamedExpr> = items
            .iter()
            .zip(typed)
            .enumerate()
            .filter(|(i, _)| !selected.contains(&Some(*i)))
            .map(|(_, (item, expr))| NamedExpr { name: item.name.clone(), expr })
            .collect();
        Ok((projected(step, key_exprs, value_exprs), columns))
    }
}

/// For push queries: the first item that is each key column.
fn first_selected(key: &[keys::KeyColumn], items: &[Item]) -> Vec<Option<usize>> {
    let mut taken: Vec<usize> = Vec::new();
    key.iter()
        .map(|key| {
            let found = (0..items.len())
                .find(|i| !taken.contains(i) && key.written.first().is_some_and(|w| same(w, &items[*i].expr)));
            taken.extend(found);
            found
        })
        .collect()
}

pub(super) fn projected(step: Step, key: Vec<NamedExpr>, value: Vec<NamedExpr>) -> Step {
    let columns = |list: &[NamedExpr]| list.iter().map(|n| Column::new(&n.name, n.expr.ty.clone())).collect::<Vec<_>>();
    let schema = Schema::new(columns(&key), columns(&value));
    let (table, windowed) = (step.table, step.windowed);
    Step { kind: StepKind::Project { input: Box::new(step), key, value }, schema, table, windowed }
}

/// An alias must not be a reserved name, unless it only repeats the column's own.
fn check_alias(alias: &str, expr: &ast::Expr) -> Result<()> {
    let own = matches!(expr, ast::Expr::Column { name, .. } if name == alias);
    if is_system_column(alias) && !own {
        return Err(Error::statement(format!(
            "Failed to prepare statement: `{alias}` is a reserved column name. You cannot use it as an alias for a \
             column."
        )));
    }
    Ok(())
}
