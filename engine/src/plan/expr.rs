//! Typed expressions: what `plan::analyze` leaves after names, overloads, types and casts are settled.
//!
//! Every node knows its type and nothing is coerced any more: both sides of an arithmetic operator or comparison have
//! the types its kernel takes, every function call names the overload by its argument types. A `Plan` stores these, so
//! they are ours, serialisable, and independent of DataFusion's release; `plan::compile` turns them into DataFusion's
//! `Expr` and `PhysicalExpr`.
//!
//! Meaning (ksqlDB): comparisons are two-valued (null compares as false, except the DISTINCT forms); integers wrap; a
//! division of integers or decimals by zero is a row error; `base[index]` is 1-based, negative from the end, and null
//! outside; AND and OR are exact and short-circuit.

use serde::{Deserialize, Serialize};

use crate::types::SqlType;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Expr {
    pub kind: ExprKind,
    pub ty: SqlType,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ExprKind {
    /// A column of the operator's input, by its unique name; or, inside a lambda body, a parameter.
    Column(String),
    Literal(Value),
    Arithmetic {
        op: ArithmeticOp,
        left: Box<Expr>,
        right: Box<Expr>,
    },
    Negate(Box<Expr>),
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
    Like {
        expr: Box<Expr>,
        pattern: Box<Expr>,
        escape: Option<char>,
        negated: bool,
    },
    /// Searched CASE; every branch already has the result type. Lazy, in order.
    Case {
        branches: Vec<(Expr, Expr)>,
        otherwise: Option<Box<Expr>>,
    },
    /// ksqlDB's CAST, from `expr.ty` to `ty`; also every implicit coercion.
    Cast(Box<Expr>),
    /// A scalar function of the registry. Lambda arguments are `Lambda` nodes.
    Call {
        name: String,
        args: Vec<Expr>,
    },
    Subscript {
        base: Box<Expr>,
        index: Box<Expr>,
    },
    Field {
        base: Box<Expr>,
        field: String,
    },
    Array(Vec<Expr>),
    Map(Vec<(Expr, Expr)>),
    Struct(Vec<(String, Expr)>),
    /// Only as an argument of a call; `ty` is the type of the body.
    Lambda {
        parameters: Vec<(String, SqlType)>,
        body: Box<Expr>,
    },
}

/// A constant. DECIMAL as its digits, so that nothing is rounded on the way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    Null,
    Boolean(bool),
    Integer(i32),
    Bigint(i64),
    Double(f64),
    /// `-12.50`: the text's scale is the type's scale.
    Decimal(String),
    String(String),
    Bytes(Vec<u8>),
    Date(i32),
    Time(i32),
    Timestamp(i64),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ArithmeticOp {
    Add,
    Subtract,
    Multiply,
    Divide,
    Modulo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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

impl Expr {
    pub fn column(name: impl Into<String>, ty: SqlType) -> Self {
        Self { kind: ExprKind::Column(name.into()), ty }
    }

    pub fn literal(value: Value, ty: SqlType) -> Self {
        Self { kind: ExprKind::Literal(value), ty }
    }

    pub fn null(ty: SqlType) -> Self {
        Self::literal(Value::Null, ty)
    }

    /// The expressions directly beneath this one, in the order they are written.
    pub fn children(&self) -> Vec<&Expr> {
        match &self.kind {
            ExprKind::Column(_) | ExprKind::Literal(_) => Vec::new(),
            ExprKind::Arithmetic { left, right, .. }
            | ExprKind::Comparison { left, right, .. }
            | ExprKind::And(left, right)
            | ExprKind::Or(left, right) => vec![left, right],
            ExprKind::Negate(expr)
            | ExprKind::Not(expr)
            | ExprKind::IsNull { expr, .. }
            | ExprKind::Cast(expr)
            | ExprKind::Field { base: expr, .. }
            | ExprKind::Lambda { body: expr, .. } => vec![expr],
            ExprKind::Like { expr, pattern, .. } => vec![expr, pattern],
            ExprKind::Case { branches, otherwise } => {
                branches.iter().flat_map(|(when, then)| [when, then]).chain(otherwise.as_deref()).collect()
            }
            ExprKind::Call { args, .. } => args.iter().collect(),
            ExprKind::Subscript { base, index } => vec![base, index],
            ExprKind::Array(items) => items.iter().collect(),
            ExprKind::Map(entries) => entries.iter().flat_map(|(key, value)| [key, value]).collect(),
            ExprKind::Struct(fields) => fields.iter().map(|(_, field)| field).collect(),
        }
    }

    /// Whether every column it reads is `known`; parameters of its lambdas are.
    pub fn reads_only(&self, known: &dyn Fn(&str) -> bool) -> bool {
        match &self.kind {
            ExprKind::Column(name) => known(name),
            ExprKind::Lambda { parameters, body } => {
                body.reads_only(&|name| parameters.iter().any(|(parameter, _)| parameter == name) || known(name))
            }
            _ => self.children().iter().all(|child| child.reads_only(known)),
        }
    }

    /// `self` as `ty`; no node is added when it has that type already.
    pub fn cast_to(self, ty: SqlType) -> Self {
        if self.ty == ty {
            return self;
        }
        Self { kind: ExprKind::Cast(Box::new(self)), ty }
    }
}
