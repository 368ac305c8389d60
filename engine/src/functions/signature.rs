//! Signatures of functions, and which of them a call means.
//!
//! A signature is written as text beside its evaluation and read once, when the registry is built:
//!
//! | text | meaning |
//! |---|---|
//! | `(STRING text, INT position) -> STRING` | two parameters |
//! | `(STRING... parts) -> STRING` | any number of arguments, also none |
//! | `(ARRAY<T> array, T value) -> BOOLEAN` | `T` is the same type everywhere; one capital letter |
//! | `(ARRAY<T> array, (T) => R mapping) -> ARRAY<R>` | a lambda with one parameter |
//! | `(UNIT unit, INT interval, DATE date) -> DATE` | an interval unit such as `DAYS` |
//! | `(DECIMAL value) -> DECIMAL` | any DECIMAL; the overload's own rule says which comes out |
//!
//! Choice (ksqlDB: *User-defined functions, overloads*): signatures that fit without a cast come first, then those that
//! fit with INT → BIGINT → DECIMAL → DOUBLE or STRING → DATE, TIME, TIMESTAMP; among those without variadic arguments before those with, longer
//! before shorter, fewer type letters before more. Two equally good ones are an error, and so is none.

use std::collections::BTreeMap;
use std::fmt::{self, Write};

use super::{ArgType, Resolved};
use crate::error::{Error, Result};
use crate::types::{DECIMAL_PRECISION_MAX, SqlType};

/// Which arguments may have a narrower type than their parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Widening {
    /// None: ksqlDB's aggregates and table functions.
    Nowhere,
    /// Those of parameters whose type is named: ksqlDB's scalar functions. What shares a letter has one type.
    Named,
    /// Those of letters, too: `IFNULL(a_bigint, 0)`. Everywhere unless `ksql.strict`.
    Everywhere,
}

impl Widening {
    /// `in_ksqldb` where ksqlDB is to be matched in what it refuses, too.
    pub fn unless(strict: bool, in_ksqldb: Widening) -> Widening {
        if strict { in_ksqldb } else { Widening::Everywhere }
    }
}

/// Type letters and what they stand for in one call.
pub type Bindings = BTreeMap<char, SqlType>;

#[derive(Debug, Clone, PartialEq)]
pub enum ParamType {
    /// Exactly this type; never DECIMAL.
    Sql(SqlType),
    /// Any DECIMAL.
    Decimal,
    Letter(char),
    Array(Box<ParamType>),
    Map(Box<ParamType>, Box<ParamType>),
    Struct(Vec<(String, ParamType)>),
    Lambda {
        inputs: Vec<ParamType>,
        returns: Box<ParamType>,
    },
    IntervalUnit,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Signature {
    pub parameters: Vec<Parameter>,
    /// The last parameter takes any number of arguments.
    pub variadic: bool,
    pub returns: ParamType,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Parameter {
    pub name: String,
    pub ty: ParamType,
}

impl Signature {
    /// Reads a signature; the text is part of the program, so a wrong one is a broken invariant.
    pub fn parse(text: &str) -> Signature {
        let mut reader = Reader { text, rest: text };
        reader.expect("(");
        let mut parameters = Vec::new();
        let mut variadic = false;
        while !reader.eat(")") {
            if !parameters.is_empty() {
                reader.expect(",");
            }
            let ty = reader.param_type();
            variadic = reader.eat("...");
            let name = reader.word().to_string();
            parameters.push(Parameter { name, ty });
        }
        reader.expect("->");
        let returns = reader.param_type();
        reader.skip_spaces();
        assert!(reader.rest.is_empty(), "signature {text} has a tail");
        Signature { parameters, variadic, returns }
    }

    /// The parameter that argument `index` of a call belongs to.
    pub fn parameter(&self, index: usize) -> Option<&Parameter> {
        match self.parameters.get(index) {
            Some(parameter) => Some(parameter),
            None if self.variadic => self.parameters.last(),
            None => None,
        }
    }

    fn takes(&self, count: usize) -> bool {
        let fixed = self.parameters.len();
        count == fixed || self.variadic && count + 1 >= fixed
    }

    fn fit(&self, args: &[ArgType], widening: Widening) -> Option<Bindings> {
        if !self.takes(args.len()) {
            return None;
        }
        let mut bound = Bindings::new();
        for (index, arg) in args.iter().enumerate() {
            if !self.parameter(index)?.ty.accepts(arg, widening, &mut bound) {
                return None;
            }
        }
        Some(bound)
    }

    /// How good a fit is; greater is better.
    fn rank(&self) -> (bool, usize, std::cmp::Reverse<usize>) {
        let letters = self.parameters.iter().filter(|p| p.ty.has_letters()).count();
        (!self.variadic, self.parameters.len(), std::cmp::Reverse(letters))
    }

    /// The call's types once letters are bound; None if a letter stayed open.
    pub fn resolved(&self, args: &[ArgType], bound: &Bindings) -> Option<Resolved> {
        // What only an untyped NULL stands for may be any type, as long as the result does not depend on it.
        let mut any_for_null = bound.clone();
        for letter in 'A'..='Z' {
            any_for_null.entry(letter).or_insert(SqlType::String);
        }
        let types = args
            .iter()
            .enumerate()
            .map(|(index, arg)| match (&self.parameter(index)?.ty, arg) {
                (parameter, ArgType::Null) => parameter.concrete(&any_for_null),
                (ParamType::Lambda { .. }, ArgType::Lambda { body, .. }) => body.clone(),
                (parameter, ArgType::Sql(ty)) => parameter.taking(ty, bound),
                (parameter, _) => parameter.concrete(bound),
            })
            .collect::<Option<Vec<_>>>()?;
        let returns = match self.returns {
            ParamType::Decimal => types.iter().find_map(decimal_in)?,
            ref other => other.concrete(bound)?,
        };
        Some(Resolved { args: types, returns })
    }

    /// `greatest(INT val, INT... vals)`, as "Valid alternatives" prints it.
    fn print(&self, name: &str, out: &mut String) {
        out.push_str(name);
        out.push('(');
        for (i, parameter) in self.parameters.iter().enumerate() {
            let dots = if self.variadic && i + 1 == self.parameters.len() { "..." } else { "" };
            let comma = if i > 0 { ", " } else { "" };
            let _ = write!(out, "{comma}{}{dots} {}", parameter.ty, parameter.name);
        }
        out.push(')');
    }
}

/// Picks the signature a call means: its index and the letters bound.
pub fn choose(
    name: &str,
    signatures: &[&Signature],
    args: &[ArgType],
    widening: Widening,
) -> Result<(usize, Bindings)> {
    for widening in [Widening::Nowhere, widening] {
        let mut fits: Vec<(usize, Bindings)> =
            signatures.iter().enumerate().filter_map(|(i, s)| Some((i, s.fit(args, widening)?))).collect();
        fits.sort_by_key(|(i, _)| signatures[*i].rank());
        let Some(best) = fits.pop() else { continue };
        if fits.last().is_some_and(|second| signatures[second.0].rank() == signatures[best.0].rank()) {
            return Err(no_choice(name, signatures, args, "cannot be resolved due to ambiguous method parameters"));
        }
        return Ok(best);
    }
    Err(no_choice(name, signatures, args, "does not accept parameters"))
}

/// Types of the lambda's parameters at `index`, from the arguments that are not lambdas.
pub fn lambda_inputs(name: &str, signatures: &[&Signature], args: &[ArgType], index: usize) -> Result<Vec<SqlType>> {
    for signature in signatures {
        let Some(ParamType::Lambda { inputs, .. }) = signature.parameter(index).map(|p| &p.ty) else { continue };
        // Whether the bodies fit is for `choose` to say, with its message.
        let open: Vec<ArgType> = args
            .iter()
            .map(|arg| match arg {
                ArgType::Lambda { parameters, .. } => ArgType::Lambda { parameters: *parameters, body: None },
                other => other.clone(),
            })
            .collect();
        let Some(bound) = signature.fit(&open, Widening::Everywhere) else { continue };
        if let Some(types) = inputs.iter().map(|t| t.concrete(&bound)).collect() {
            return Ok(types);
        }
    }
    Err(no_choice(name, signatures, args, "does not accept parameters"))
}

/// ksqlDB's message, with the signatures there are.
pub fn not_accepted(name: &str, signatures: &[&Signature], args: &[ArgType]) -> Error {
    no_choice(name, signatures, args, "does not accept parameters")
}

fn no_choice(name: &str, signatures: &[&Signature], args: &[ArgType], problem: &str) -> Error {
    let given: Vec<String> = args.iter().map(ToString::to_string).collect();
    let mut text = format!("Function '{name}' {problem} ({}).\nValid alternatives are:\n", given.join(", "));
    for signature in signatures {
        signature.print(name, &mut text);
        text.push('\n');
    }
    text.push_str("For detailed information on a function run: DESCRIBE FUNCTION <Function-Name>;");
    Error::statement(text)
}

/// INT and BIGINT as the DECIMAL that holds all their values (ksqlDB: 10 and 19 digits).
pub fn as_decimal(ty: &SqlType) -> SqlType {
    match ty {
        SqlType::Integer => SqlType::decimal(10, 0),
        SqlType::Bigint => SqlType::decimal(19, 0),
        other => other.clone(),
    }
}

/// The DECIMAL that a type is or has as its items.
fn decimal_in(ty: &SqlType) -> Option<SqlType> {
    match ty {
        SqlType::Decimal { .. } => Some(ty.clone()),
        SqlType::Array(item) => decimal_in(item),
        _ => None,
    }
}

fn rank_of_number(ty: &SqlType) -> Option<u8> {
    match ty {
        SqlType::Integer => Some(0),
        SqlType::Bigint => Some(1),
        SqlType::Decimal { .. } => Some(2),
        SqlType::Double => Some(3),
        _ => None,
    }
}

/// Numbers widen; a text is read where a date or time is expected.
pub fn widens(from: &SqlType, to: &SqlType) -> bool {
    *from == SqlType::String && to.is_temporal()
        || matches!((rank_of_number(from), rank_of_number(to)), (Some(from), Some(to)) if from < to)
}

/// The type that one of two widens to; a DECIMAL gets room for the whole digits of an integer.
fn wider(left: &SqlType, right: &SqlType) -> Option<SqlType> {
    let (from, to) = match (widens(left, right), widens(right, left)) {
        (true, _) => (left, right),
        (_, true) => (right, left),
        _ => return None,
    };
    match (as_decimal(from), to) {
        (SqlType::Decimal { precision: digits, .. }, SqlType::Decimal { precision, scale }) => {
            let whole = digits.max(precision - scale);
            Some(SqlType::decimal(whole.saturating_add(*scale).min(DECIMAL_PRECISION_MAX), *scale))
        }
        _ => Some(to.clone()),
    }
}

impl ParamType {
    fn accepts(&self, arg: &ArgType, widening: Widening, bound: &mut Bindings) -> bool {
        match (self, arg) {
            (ParamType::Lambda { inputs, returns }, ArgType::Lambda { parameters, body }) => {
                inputs.len() == *parameters && body.as_ref().is_none_or(|ty| returns.accepts_type(ty, widening, bound))
            }
            (ParamType::Lambda { .. }, _) | (_, ArgType::Lambda { .. }) => false,
            (ParamType::IntervalUnit, ArgType::IntervalUnit) => true,
            (ParamType::IntervalUnit, _) | (_, ArgType::IntervalUnit) => false,
            (_, ArgType::Null) => true,
            (_, ArgType::Sql(ty)) => self.accepts_type(ty, widening, bound),
        }
    }

    fn accepts_type(&self, ty: &SqlType, widening: Widening, bound: &mut Bindings) -> bool {
        match (self, ty) {
            (ParamType::Sql(expected), ty) => expected == ty || widening != Widening::Nowhere && widens(ty, expected),
            (ParamType::Decimal, SqlType::Decimal { .. }) => true,
            (ParamType::Decimal, SqlType::Integer | SqlType::Bigint) => widening != Widening::Nowhere,
            (ParamType::Letter(letter), ty) => match bound.get(letter) {
                None => {
                    bound.insert(*letter, ty.clone());
                    true
                }
                Some(known) if known == ty => true,
                Some(known) => match (widening == Widening::Everywhere).then(|| wider(known, ty)).flatten() {
                    Some(wider) => {
                        bound.insert(*letter, wider);
                        true
                    }
                    None => false,
                },
            },
            (ParamType::Array(item), SqlType::Array(ty)) => item.accepts_type(ty, widening, bound),
            (ParamType::Map(key, value), SqlType::Map(key_type, value_type)) => {
                key.accepts_type(key_type, widening, bound) && value.accepts_type(value_type, widening, bound)
            }
            (ParamType::Struct(fields), SqlType::Struct(types)) => {
                fields.len() == types.len()
                    && fields
                        .iter()
                        .zip(types)
                        .all(|((name, field), ty)| *name == ty.name && field.accepts_type(&ty.ty, widening, bound))
            }
            _ => false,
        }
    }

    fn has_letters(&self) -> bool {
        match self {
            ParamType::Letter(_) => true,
            ParamType::Array(item) => item.has_letters(),
            ParamType::Map(key, value) => key.has_letters() || value.has_letters(),
            ParamType::Struct(fields) => fields.iter().any(|(_, ty)| ty.has_letters()),
            ParamType::Lambda { inputs, returns } => inputs.iter().any(Self::has_letters) || returns.has_letters(),
            _ => false,
        }
    }

    /// The type an argument of type `given` is cast to: as the parameter says, a DECIMAL with its own precision.
    fn taking(&self, given: &SqlType, bound: &Bindings) -> Option<SqlType> {
        Some(match (self, given) {
            (ParamType::Decimal, given) => as_decimal(given),
            (ParamType::Array(item), SqlType::Array(given)) => SqlType::array(item.taking(given, bound)?),
            (ParamType::Map(key, value), SqlType::Map(given_key, given_value)) => {
                SqlType::map(key.taking(given_key, bound)?, value.taking(given_value, bound)?)
            }
            (ParamType::Struct(fields), SqlType::Struct(given)) => SqlType::structure(
                fields
                    .iter()
                    .zip(given)
                    .map(|((name, field), given)| Some((name.clone(), field.taking(&given.ty, bound)?)))
                    .collect::<Option<Vec<_>>>()?,
            ),
            _ => self.concrete(bound)?,
        })
    }

    fn concrete(&self, bound: &Bindings) -> Option<SqlType> {
        Some(match self {
            ParamType::Sql(ty) => ty.clone(),
            ParamType::IntervalUnit => SqlType::String,
            // An untyped NULL where a DECIMAL is expected.
            ParamType::Decimal => SqlType::decimal(1, 0),
            ParamType::Letter(letter) => bound.get(letter)?.clone(),
            ParamType::Array(item) => SqlType::array(item.concrete(bound)?),
            ParamType::Map(key, value) => SqlType::map(key.concrete(bound)?, value.concrete(bound)?),
            ParamType::Struct(fields) => SqlType::structure(
                fields
                    .iter()
                    .map(|(name, ty)| Some((name.clone(), ty.concrete(bound)?)))
                    .collect::<Option<Vec<_>>>()?,
            ),
            ParamType::Lambda { returns, .. } => returns.concrete(bound)?,
        })
    }
}

/// ksqlDB's names: `INT` and `VARCHAR`, unlike the printed forms of SQL types.
impl fmt::Display for ParamType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ParamType::Sql(SqlType::Integer) => f.write_str("INT"),
            ParamType::Sql(SqlType::String) => f.write_str("VARCHAR"),
            ParamType::Sql(ty) => write!(f, "{ty}"),
            ParamType::Decimal => f.write_str("DECIMAL"),
            ParamType::Letter(letter) => write!(f, "{letter}"),
            ParamType::Array(item) => write!(f, "ARRAY<{item}>"),
            ParamType::Map(key, value) => write!(f, "MAP<{key}, {value}>"),
            ParamType::Struct(fields) => {
                let fields: Vec<String> = fields.iter().map(|(name, ty)| format!("{name} {ty}")).collect();
                write!(f, "STRUCT<{}>", fields.join(", "))
            }
            ParamType::Lambda { inputs, returns } => {
                let inputs: Vec<String> = inputs.iter().map(ToString::to_string).collect();
                match inputs.as_slice() {
                    [one] => write!(f, "LAMBDA ({one}) => {returns}"),
                    many => write!(f, "LAMBDA ({}) => {returns}", many.join(", ")),
                }
            }
            ParamType::IntervalUnit => f.write_str("INTERVALUNIT"),
        }
    }
}

/// As ksqlDB prints argument lists in messages.
impl fmt::Display for ArgType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ArgType::Sql(ty) => write!(f, "{ty}"),
            ArgType::Null => f.write_str("null"),
            ArgType::Lambda { .. } => f.write_str("LAMBDA"),
            ArgType::IntervalUnit => f.write_str("INTERVALUNIT"),
        }
    }
}

/// Reads a signature's text.
struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn skip_spaces(&mut self) {
        self.rest = self.rest.trim_start();
    }

    fn eat(&mut self, token: &str) -> bool {
        self.skip_spaces();
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) {
        assert!(self.eat(token), "signature {} lacks {token} before {}", self.text, self.rest);
    }

    fn word(&mut self) -> &'a str {
        self.skip_spaces();
        let end = self.rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn param_type(&mut self) -> ParamType {
        if self.eat("(") {
            let mut inputs = Vec::new();
            while !self.eat(")") {
                if !inputs.is_empty() {
                    self.expect(",");
                }
                inputs.push(self.param_type());
            }
            self.expect("=>");
            return ParamType::Lambda { inputs, returns: Box::new(self.param_type()) };
        }
        match self.word() {
            "BOOLEAN" => ParamType::Sql(SqlType::Boolean),
            "INT" => ParamType::Sql(SqlType::Integer),
            "BIGINT" => ParamType::Sql(SqlType::Bigint),
            "DOUBLE" => ParamType::Sql(SqlType::Double),
            "DECIMAL" => ParamType::Decimal,
            "STRING" => ParamType::Sql(SqlType::String),
            "BYTES" => ParamType::Sql(SqlType::Bytes),
            "DATE" => ParamType::Sql(SqlType::Date),
            "TIME" => ParamType::Sql(SqlType::Time),
            "TIMESTAMP" => ParamType::Sql(SqlType::Timestamp),
            "UNIT" => ParamType::IntervalUnit,
            "ARRAY" => {
                self.expect("<");
                let item = self.param_type();
                self.expect(">");
                ParamType::Array(Box::new(item))
            }
            "MAP" => {
                self.expect("<");
                let key = self.param_type();
                self.expect(",");
                let value = self.param_type();
                self.expect(">");
                ParamType::Map(Box::new(key), Box::new(value))
            }
            "STRUCT" => {
                self.expect("<");
                let mut fields = Vec::new();
                while !self.eat(">") {
                    if !fields.is_empty() {
                        self.expect(",");
                    }
                    let name = self.word().to_string();
                    fields.push((name, self.param_type()));
                }
                ParamType::Struct(fields)
            }
            letter if letter.len() == 1 => ParamType::Letter(letter.chars().next().expect("the word has one letter")),
            other => panic!("signature {} has an unknown type {other}", self.text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(signatures: &[&str], args: &[ArgType]) -> Result<(usize, Resolved)> {
        let parsed: Vec<Signature> = signatures.iter().map(|s| Signature::parse(s)).collect();
        let borrowed: Vec<&Signature> = parsed.iter().collect();
        let (index, bound) = choose("f", &borrowed, args, Widening::Everywhere)?;
        Ok((index, parsed[index].resolved(args, &bound).expect("every letter is bound")))
    }

    fn sql(ty: SqlType) -> ArgType {
        ArgType::Sql(ty)
    }

    #[test]
    fn exact_comes_before_widening() {
        let overloads = ["(BIGINT a) -> BIGINT", "(DOUBLE a) -> DOUBLE", "(INT a) -> INT"];
        assert_eq!(pick(&overloads, &[sql(SqlType::Integer)]).unwrap().0, 2);
        assert_eq!(pick(&overloads, &[sql(SqlType::decimal(4, 2))]).unwrap().0, 1);
    }

    #[test]
    fn two_widenings_are_ambiguous_and_none_is_an_error() {
        let overloads = ["(BIGINT a) -> BIGINT", "(DOUBLE a) -> DOUBLE"];
        let ambiguous = pick(&overloads, &[sql(SqlType::Integer)]).unwrap_err();
        assert!(
            ambiguous
                .message()
                .starts_with("Function 'f' cannot be resolved due to ambiguous method parameters (INTEGER).")
        );
        let none = pick(&overloads, &[sql(SqlType::String), ArgType::Null]).unwrap_err();
        assert!(none.message().starts_with(
            "Function 'f' does not accept parameters (STRING, null).\nValid alternatives are:\nf(BIGINT a)\n"
        ));
    }

    #[test]
    fn variadic_comes_last_and_takes_none() {
        let overloads = ["(STRING... a) -> STRING", "(STRING a, STRING b) -> INT"];
        let two = [sql(SqlType::String), sql(SqlType::String)];
        assert_eq!(pick(&overloads, &two).unwrap().0, 1);
        assert_eq!(pick(&overloads, &two[..1]).unwrap().0, 0);
        assert_eq!(pick(&overloads, &[]).unwrap().0, 0);
    }

    #[test]
    fn what_shares_a_letter_has_one_type_in_ksqldb() {
        let signature = Signature::parse("(T a, T b) -> T");
        let args = [sql(SqlType::Bigint), sql(SqlType::Integer)];
        assert!(choose("f", &[&signature], &args, Widening::Named).is_err());
        assert!(choose("f", &[&signature], &args, Widening::Everywhere).is_ok());
        let named = Signature::parse("(DOUBLE a) -> DOUBLE");
        assert!(choose("f", &[&named], &args[..1], Widening::Nowhere).is_err());
        assert!(choose("f", &[&named], &args[..1], Widening::Named).is_ok());
    }

    #[test]
    fn letters_bind_once_and_widen() {
        let (_, resolved) = pick(
            &["(ARRAY<T> a, T b) -> MAP<STRING, T>"],
            &[sql(SqlType::array(SqlType::Integer)), sql(SqlType::Bigint)],
        )
        .unwrap();
        assert_eq!(resolved.args, [SqlType::array(SqlType::Bigint), SqlType::Bigint]);
        assert_eq!(resolved.returns, SqlType::map(SqlType::String, SqlType::Bigint));
    }

    #[test]
    fn a_lambda_gets_its_parameters_from_the_other_arguments() {
        let signature = Signature::parse("(ARRAY<T> a, S s, (S, T) => S f) -> S");
        let open = ArgType::Lambda { parameters: 2, body: None };
        let args = [sql(SqlType::array(SqlType::Double)), sql(SqlType::String), open];
        let inputs = lambda_inputs("reduce", &[&signature], &args, 2).unwrap();
        assert_eq!(inputs, [SqlType::String, SqlType::Double]);
    }
}
