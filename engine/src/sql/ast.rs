//! Statements as ksqlDB writes them, before any name or type is resolved.
//!
//! Identifiers are already folded: unquoted ones to upper case, quoted ones kept. Expressions know where they stand in
//! the text only where a message needs it (columns and calls).

use crate::error::Position;
use crate::types::SqlType;

/// A statement with its own text, from its first token through `;`.
#[derive(Debug, Clone, PartialEq)]
pub struct ParsedStatement {
    pub statement: Statement,
    /// The statement's text as written, without the closing `;`, after variable substitution.
    pub text: String,
    /// Where the statement starts in the whole text.
    pub position: Position,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Statement {
    CreateSource(CreateSource),
    CreateAs(CreateAs),
    InsertSelect(InsertSelect),
    InsertValues(InsertValues),
    Query(Query),
    /// A SELECT (or WITH …, VALUES …) that only ordinary SQL can express: subqueries, ORDER BY, OVER, set operations,
    /// DISTINCT, CTEs. Bounded, without EMIT. Boxed sqlparser tree, functions and comparisons still as written.
    BatchQuery(Box<sqlparser::ast::Query>),
    Drop {
        kind: SourceKind,
        name: Name,
        if_exists: bool,
        delete_topic: bool,
    },
    AlterSource {
        kind: SourceKind,
        name: Name,
        columns: Vec<ColumnDef>,
    },
    CreateType {
        name: String,
        if_not_exists: bool,
        ty: TypeName,
    },
    DropType {
        name: String,
        if_exists: bool,
    },
    Terminate(QueryTarget),
    Pause(QueryTarget),
    Resume(QueryTarget),
    Set {
        name: String,
        value: String,
    },
    Unset {
        name: String,
    },
    /// `ALTER SYSTEM 'k' = 'v'`.
    AlterSystem {
        name: String,
        value: String,
    },
    /// Substitution itself happens in the parser; these are recorded so that a session keeps them.
    Define {
        name: String,
        value: String,
    },
    Undefine {
        name: String,
    },
    Show(Show),
    Describe {
        name: Name,
        extended: bool,
    },
    DescribeAll {
        kind: SourceKind,
        extended: bool,
    },
    DescribeFunction {
        name: String,
    },
    DescribeConnector {
        name: String,
    },
    Explain(Explain),
    Print {
        topic: String,
        from_beginning: bool,
        interval: Option<u64>,
        limit: Option<u64>,
    },
    RunScript {
        path: String,
    },
    CopyFrom {
        target: Name,
        path: String,
        options: Vec<Property>,
    },
    CopyTo {
        query: Box<Statement>,
        path: String,
        options: Vec<Property>,
    },
    AssertTopic {
        topic: String,
        properties: Vec<Property>,
        timeout_ms: Option<u64>,
        exists: bool,
    },
    AssertSchema {
        subject: Option<String>,
        id: Option<i64>,
        timeout_ms: Option<u64>,
        exists: bool,
    },
    AssertValues {
        insert: InsertValues,
    },
    AssertTombstone {
        target: Name,
        columns: Vec<String>,
        values: Vec<Expr>,
    },
    AssertSource(CreateSource),
    CreateConnector {
        name: String,
        is_source: bool,
        if_not_exists: bool,
        properties: Vec<Property>,
    },
    DropConnector {
        name: String,
        if_exists: bool,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    Stream,
    Table,
}

/// A source's name and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Name {
    pub name: String,
    pub position: Position,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CreateSource {
    pub kind: SourceKind,
    pub or_replace: bool,
    /// `CREATE SOURCE STREAM|TABLE`: read-only.
    pub is_source: bool,
    pub if_not_exists: bool,
    pub name: Name,
    /// Empty when the columns are to be inferred.
    pub columns: Vec<ColumnDef>,
    pub properties: Vec<Property>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct ColumnDef {
    pub name: String,
    pub ty: TypeName,
    pub constraint: Option<ColumnConstraint>,
    pub position: Position,
}

#[derive(Debug, Clone, PartialEq)]
pub enum ColumnConstraint {
    Key,
    PrimaryKey,
    Headers,
    Header(String),
}

/// A type as written: custom type names are resolved by the catalog.
#[derive(Debug, Clone, PartialEq)]
pub enum TypeName {
    Sql(SqlType),
    /// Made by CREATE TYPE.
    Custom(String),
    Array(Box<TypeName>),
    Map(Box<TypeName>, Box<TypeName>),
    Struct(Vec<(String, TypeName)>),
}

/// `NAME = literal` of a WITH clause; names folded to upper case, `'quoted'` and bare values both kept as a literal.
#[derive(Debug, Clone, PartialEq)]
pub struct Property {
    pub name: String,
    pub value: Literal,
    pub position: Position,
}

#[derive(Debug, Clone, PartialEq)]
pub struct CreateAs {
    pub kind: SourceKind,
    pub or_replace: bool,
    pub if_not_exists: bool,
    pub name: Name,
    pub properties: Vec<Property>,
    pub query: Query,
}

#[derive(Debug, Clone, PartialEq)]
pub struct InsertSelect {
    pub target: Name,
    pub properties: Vec<Property>,
    pub query: Query,
}

#[derive(Debug, Clone, PartialEq)]
pub struct InsertValues {
    pub target: Name,
    /// Empty = all columns.
    pub columns: Vec<String>,
    /// ksqlDB takes one row; Headwater takes several.
    pub rows: Vec<Vec<Expr>>,
}

/// A query in ksqlDB's grammar.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub select: Vec<SelectItem>,
    pub from: Relation,
    pub joins: Vec<Join>,
    pub window: Option<Window>,
    pub filter: Option<Expr>,
    pub group_by: Vec<Expr>,
    pub partition_by: Vec<Expr>,
    pub having: Option<Expr>,
    pub emit: Option<Emit>,
    pub limit: Option<u64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emit {
    Changes,
    Final,
}

#[derive(Debug, Clone, PartialEq)]
pub enum SelectItem {
    /// `*` or `source.*`.
    Star {
        source: Option<String>,
        position: Position,
    },
    /// `e->*`: one column per field.
    StructStar(Expr),
    Expr {
        expr: Expr,
        alias: Option<String>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Relation {
    pub name: Name,
    pub alias: Option<String>,
}

impl Relation {
    /// What columns of this relation are qualified with.
    pub fn alias_or_name(&self) -> &str {
        self.alias.as_deref().unwrap_or(&self.name.name)
    }
}

#[derive(Debug, Clone, PartialEq)]
pub struct Join {
    pub kind: JoinKind,
    pub relation: Relation,
    pub within: Option<Within>,
    pub on: Expr,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JoinKind {
    Inner,
    Left,
    Right,
    Full,
}

/// `WITHIN n` means both sides; `WITHIN (before, after)` says them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Within {
    pub before_ms: i64,
    pub after_ms: i64,
    pub grace_ms: Option<i64>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    pub name: Option<String>,
    pub kind: WindowKind,
    pub retention_ms: Option<i64>,
    pub grace_ms: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WindowKind {
    Tumbling { size_ms: i64 },
    Hopping { size_ms: i64, advance_ms: i64 },
    Session { gap_ms: i64 },
}

#[derive(Debug, Clone, PartialEq)]
pub enum QueryTarget {
    All,
    Id(String),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Show {
    Streams { extended: bool },
    Tables { extended: bool },
    Topics { all: bool, extended: bool },
    Queries { extended: bool },
    Functions,
    Properties,
    Types,
    Variables,
    Connectors,
    ConnectorPlugins,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Explain {
    Query(String),
    Statement(Box<ParsedStatement>),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Literal {
    Null,
    Boolean(bool),
    Integer(i32),
    Bigint(i64),
    /// As written, without exponent: `1.50`, `.5`, `1.`.
    Decimal(String),
    Double(f64),
    String(String),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    Literal(Literal),
    /// `name` or `source.name`.
    Column {
        source: Option<String>,
        name: String,
        position: Position,
    },
    Arithmetic {
        op: ArithmeticOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Negate(Box<Expr>),
    /// Unary plus: kept because it is printed.
    Plus(Box<Expr>),
    /// `||`.
    Concat {
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Comparison {
        op: ComparisonOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    And(Box<Expr>, Box<Expr>),
    Or(Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    IsNull {
        expr: Box<Expr>,
        negated: bool,
    },
    Between {
        expr: Box<Expr>,
        low: Box<Expr>,
        high: Box<Expr>,
        negated: bool,
    },
    In {
        expr: Box<Expr>,
        list: Vec<Expr>,
        negated: bool,
    },
    Like {
        expr: Box<Expr>,
        pattern: Box<Expr>,
        escape: Option<String>,
        negated: bool,
    },
    Case {
        operand: Option<Box<Expr>>,
        branches: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    Cast {
        expr: Box<Expr>,
        ty: TypeName,
    },
    Call {
        name: String,
        args: Vec<Expr>,
        star: bool,
        position: Position,
    },
    /// `e[i]`.
    Subscript {
        base: Box<Expr>,
        index: Box<Expr>,
    },
    /// `e->field`.
    Field {
        base: Box<Expr>,
        field: String,
    },
    Array(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    Struct(Vec<(String, Expr)>),
    /// `(x, y) => body`; parameters folded to upper case.
    Lambda {
        parameters: Vec<String>,
        body: Box<Expr>,
    },
    /// `DAYS`, `HOUR`, … where a function takes a unit.
    IntervalUnit(String),
    /// `e AT TIME ZONE 'zone'`.
    AtTimeZone {
        expr: Box<Expr>,
        zone: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArithmeticOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComparisonOp {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    IsDistinctFrom,
    IsNotDistinctFrom,
}
