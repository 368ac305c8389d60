//! Statements → SQL that parses back to the same statement.

use std::fmt::{self, Display, Formatter, Write};

use super::ast::{
    ColumnConstraint, ColumnDef, CreateAs, CreateSource, Emit, Explain, Expr, InsertValues, Join, JoinKind, Property,
    Query, QueryTarget, Relation, SelectItem, Show, SourceKind, Statement, Window, WindowKind, Within,
};
use super::print::{Name, Printed, Style, separated, string};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        Printed { node: self, style: Style::Sql }.fmt(f)
    }
}

fn name(name: &str) -> Name<'_> {
    Name(name, Style::Sql)
}

/// `text` when `condition` holds, else nothing.
fn when(condition: bool, text: &str) -> &str {
    if condition { text } else { "" }
}

impl Display for Statement {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Statement::CreateSource(create) => {
                write!(
                    f,
                    "CREATE {}{}{} {}",
                    when(create.or_replace, "OR REPLACE "),
                    when(create.is_source, "SOURCE "),
                    create.kind,
                    when(create.if_not_exists, "IF NOT EXISTS "),
                )?;
                source_body(f, create)
            }
            Statement::CreateAs(create) => create.fmt(f),
            Statement::InsertSelect(insert) => {
                write!(f, "INSERT INTO {}", name(&insert.target.name))?;
                with(f, &insert.properties)?;
                write!(f, " {}", insert.query)
            }
            Statement::InsertValues(insert) => {
                f.write_str("INSERT INTO ")?;
                values(f, insert)
            }
            Statement::Query(query) => query.fmt(f),
            Statement::BatchQuery(query) => query.fmt(f),
            Statement::Drop { kind, name: source, if_exists, delete_topic } => write!(
                f,
                "DROP {kind} {}{}{}",
                when(*if_exists, "IF EXISTS "),
                name(&source.name),
                when(*delete_topic, " DELETE TOPIC")
            ),
            Statement::AlterSource { kind, name: source, columns } => {
                write!(f, "ALTER {kind} {} ", name(&source.name))?;
                separated(f, columns, |f, column| write!(f, "ADD COLUMN {column}"))
            }
            Statement::CreateType { name: ty_name, if_not_exists, ty } => {
                write!(f, "CREATE TYPE {}{} AS {ty}", when(*if_not_exists, "IF NOT EXISTS "), name(ty_name))
            }
            Statement::DropType { name: ty, if_exists } => {
                write!(f, "DROP TYPE {}{}", when(*if_exists, "IF EXISTS "), name(ty))
            }
            Statement::Terminate(target) => write!(f, "TERMINATE {target}"),
            Statement::Pause(target) => write!(f, "PAUSE {target}"),
            Statement::Resume(target) => write!(f, "RESUME {target}"),
            Statement::Set { name, value } => write!(f, "SET {} = {}", string(name), string(value)),
            Statement::Unset { name } => write!(f, "UNSET {}", string(name)),
            Statement::AlterSystem { name, value } => {
                write!(f, "ALTER SYSTEM {} = {}", string(name), string(value))
            }
            Statement::Define { name, value } => write!(f, "DEFINE {name} = {}", string(value)),
            Statement::Undefine { name } => write!(f, "UNDEFINE {name}"),
            Statement::Show(show) => show.fmt(f),
            Statement::Describe { name: source, extended } => {
                write!(f, "DESCRIBE {}{}", name(&source.name), when(*extended, " EXTENDED"))
            }
            Statement::DescribeAll { kind, extended } => {
                write!(f, "DESCRIBE {kind}S{}", when(*extended, " EXTENDED"))
            }
            Statement::DescribeFunction { name: function } => write!(f, "DESCRIBE FUNCTION {}", name(function)),
            Statement::DescribeConnector { name: connector } => write!(f, "DESCRIBE CONNECTOR {}", name(connector)),
            Statement::Explain(Explain::Query(id)) => write!(f, "EXPLAIN {}", name(id)),
            Statement::Explain(Explain::Statement(statement)) => write!(f, "EXPLAIN {}", statement.statement),
            Statement::Print { topic, from_beginning, interval, limit } => {
                write!(f, "PRINT {}{}", string(topic), when(*from_beginning, " FROM BEGINNING"))?;
                if let Some(interval) = interval {
                    write!(f, " INTERVAL {interval}")?;
                }
                limit.map_or(Ok(()), |limit| write!(f, " LIMIT {limit}"))
            }
            Statement::RunScript { path } => write!(f, "RUN SCRIPT {}", string(path)),
            Statement::CopyFrom { target, path, options } => {
                write!(f, "COPY {} FROM {}", name(&target.name), string(path))?;
                with(f, options)
            }
            Statement::CopyTo { query, path, options } => {
                write!(f, "COPY ({query}) TO {}", string(path))?;
                with(f, options)
            }
            Statement::AssertTopic { topic, properties, timeout_ms, exists } => {
                write!(f, "ASSERT {}TOPIC {}", when(!exists, "NOT EXISTS "), string(topic))?;
                with(f, properties)?;
                timeout(f, *timeout_ms)
            }
            Statement::AssertSchema { subject, id, timeout_ms, exists } => {
                write!(f, "ASSERT {}SCHEMA", when(!exists, "NOT EXISTS "))?;
                if let Some(subject) = subject {
                    write!(f, " SUBJECT {}", string(subject))?;
                }
                if let Some(id) = id {
                    write!(f, " ID {id}")?;
                }
                timeout(f, *timeout_ms)
            }
            Statement::AssertValues { insert } => {
                f.write_str("ASSERT VALUES ")?;
                values(f, insert)
            }
            Statement::AssertTombstone { target, columns, values } => {
                write!(f, "ASSERT NULL VALUES {}", name(&target.name))?;
                column_names(f, columns)?;
                f.write_str(" KEY ")?;
                row(f, values)
            }
            Statement::AssertSource(create) => {
                write!(f, "ASSERT {} ", create.kind)?;
                source_body(f, create)
            }
            Statement::CreateConnector { name: connector, is_source, if_not_exists, properties } => {
                write!(
                    f,
                    "CREATE {} CONNECTOR {}{}",
                    if *is_source { "SOURCE" } else { "SINK" },
                    when(*if_not_exists, "IF NOT EXISTS "),
                    name(connector)
                )?;
                with(f, properties)
            }
            Statement::DropConnector { name: connector, if_exists } => {
                write!(f, "DROP CONNECTOR {}{}", when(*if_exists, "IF EXISTS "), name(connector))
            }
        }
    }
}

impl Display for SourceKind {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SourceKind::Stream => "STREAM",
            SourceKind::Table => "TABLE",
        })
    }
}

impl Display for QueryTarget {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            QueryTarget::All => f.write_str("ALL"),
            QueryTarget::Id(id) => name(id).fmt(f),
        }
    }
}

impl Display for Show {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (what, extended) = match self {
            Show::Streams { extended } => ("STREAMS", *extended),
            Show::Tables { extended } => ("TABLES", *extended),
            Show::Topics { all: true, extended } => ("ALL TOPICS", *extended),
            Show::Topics { all: false, extended } => ("TOPICS", *extended),
            Show::Queries { extended } => ("QUERIES", *extended),
            Show::Functions => ("FUNCTIONS", false),
            Show::Properties => ("PROPERTIES", false),
            Show::Types => ("TYPES", false),
            Show::Variables => ("VARIABLES", false),
            Show::Connectors => ("CONNECTORS", false),
            Show::ConnectorPlugins => ("CONNECTOR PLUGINS", false),
        };
        write!(f, "SHOW {what}{}", when(extended, " EXTENDED"))
    }
}

impl Display for CreateAs {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "CREATE {}{} {}{}",
            when(self.or_replace, "OR REPLACE "),
            self.kind,
            when(self.if_not_exists, "IF NOT EXISTS "),
            name(&self.name.name)
        )?;
        with(f, &self.properties)?;
        write!(f, " AS {}", self.query)
    }
}

impl Display for ColumnDef {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", name(&self.name), self.ty)?;
        match &self.constraint {
            None => Ok(()),
            Some(ColumnConstraint::Key) => f.write_str(" KEY"),
            Some(ColumnConstraint::PrimaryKey) => f.write_str(" PRIMARY KEY"),
            Some(ColumnConstraint::Headers) => f.write_str(" HEADERS"),
            Some(ColumnConstraint::Header(key)) => write!(f, " HEADER({})", string(key)),
        }
    }
}

fn source_body(f: &mut Formatter<'_>, create: &CreateSource) -> fmt::Result {
    name(&create.name.name).fmt(f)?;
    if !create.columns.is_empty() {
        f.write_str(" (")?;
        separated(f, &create.columns, |f, column| column.fmt(f))?;
        f.write_char(')')?;
    }
    with(f, &create.properties)
}

/// ` WITH (a='x', b=1)`, or nothing.
fn with(f: &mut Formatter<'_>, properties: &[Property]) -> fmt::Result {
    if properties.is_empty() {
        return Ok(());
    }
    f.write_str(" WITH (")?;
    separated(f, properties, |f, p| write!(f, "{}={}", name(&p.name), p.value))?;
    f.write_char(')')
}

fn column_names(f: &mut Formatter<'_>, columns: &[String]) -> fmt::Result {
    if columns.is_empty() {
        return Ok(());
    }
    f.write_str(" (")?;
    separated(f, columns, |f, column| name(column).fmt(f))?;
    f.write_char(')')
}

fn values(f: &mut Formatter<'_>, insert: &InsertValues) -> fmt::Result {
    name(&insert.target.name).fmt(f)?;
    column_names(f, &insert.columns)?;
    f.write_str(" VALUES ")?;
    separated(f, &insert.rows, |f, values| row(f, values))
}

fn row(f: &mut Formatter<'_>, values: &[Expr]) -> fmt::Result {
    f.write_char('(')?;
    separated(f, values, |f, value| value.fmt(f))?;
    f.write_char(')')
}

fn timeout(f: &mut Formatter<'_>, timeout_ms: Option<u64>) -> fmt::Result {
    timeout_ms.map_or(Ok(()), |ms| write!(f, " TIMEOUT {ms} MILLISECONDS"))
}

impl Display for Query {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("SELECT ")?;
        separated(f, &self.select, |f, item| item.fmt(f))?;
        write!(f, " FROM {}", self.from)?;
        for join in &self.joins {
            join.fmt(f)?;
        }
        if let Some(window) = &self.window {
            write!(f, " WINDOW {window}")?;
        }
        if let Some(filter) = &self.filter {
            write!(f, " WHERE {filter}")?;
        }
        for (clause, list) in [("GROUP", &self.group_by), ("PARTITION", &self.partition_by)] {
            if !list.is_empty() {
                write!(f, " {clause} BY ")?;
                separated(f, list, |f, item| item.fmt(f))?;
            }
        }
        if let Some(having) = &self.having {
            write!(f, " HAVING {having}")?;
        }
        match self.emit {
            None => {}
            Some(Emit::Changes) => f.write_str(" EMIT CHANGES")?,
            Some(Emit::Final) => f.write_str(" EMIT FINAL")?,
        }
        self.limit.map_or(Ok(()), |limit| write!(f, " LIMIT {limit}"))
    }
}

impl Display for SelectItem {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            SelectItem::Star { source: None, .. } => f.write_char('*'),
            SelectItem::Star { source: Some(source), .. } => write!(f, "{}.*", name(source)),
            SelectItem::StructStar(expr) => write!(f, "{expr}->*"),
            SelectItem::Expr { expr, alias: None } => expr.fmt(f),
            SelectItem::Expr { expr, alias: Some(alias) } => write!(f, "{expr} AS {}", name(alias)),
        }
    }
}

impl Display for Relation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        name(&self.name.name).fmt(f)?;
        self.alias.as_ref().map_or(Ok(()), |alias| write!(f, " AS {}", name(alias)))
    }
}

impl Display for Join {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            JoinKind::Inner => "INNER",
            JoinKind::Left => "LEFT OUTER",
            JoinKind::Right => "RIGHT OUTER",
            JoinKind::Full => "FULL OUTER",
        };
        write!(f, " {kind} JOIN {}", self.relation)?;
        if let Some(within) = &self.within {
            write!(f, " {within}")?;
        }
        write!(f, " ON {}", self.on)
    }
}

impl Display for Within {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "WITHIN ({} MILLISECONDS, {} MILLISECONDS)", self.before_ms, self.after_ms)?;
        self.grace_ms.map_or(Ok(()), |ms| write!(f, " GRACE PERIOD {ms} MILLISECONDS"))
    }
}

impl Display for Window {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if let Some(window) = &self.name {
            write!(f, "{} ", name(window))?;
        }
        match self.kind {
            WindowKind::Tumbling { size_ms } => write!(f, "TUMBLING (SIZE {size_ms} MILLISECONDS")?,
            WindowKind::Hopping { size_ms, advance_ms } => {
                write!(f, "HOPPING (SIZE {size_ms} MILLISECONDS, ADVANCE BY {advance_ms} MILLISECONDS")?;
            }
            WindowKind::Session { gap_ms } => write!(f, "SESSION ({gap_ms} MILLISECONDS")?,
        }
        if let Some(ms) = self.retention_ms {
            write!(f, ", RETENTION {ms} MILLISECONDS")?;
        }
        if let Some(ms) = self.grace_ms {
            write!(f, ", GRACE PERIOD {ms} MILLISECONDS")?;
        }
        f.write_char(')')
    }
}
