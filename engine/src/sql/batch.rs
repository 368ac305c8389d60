//! Bounded queries that only ordinary SQL can express, as sqlparser's tree.
//!
//! The tokens are ours, so names fold to upper case and literals mean the same as elsewhere; the dialect adds what ksqlDB
//! writes in expressions:
//!
//! | text | tree |
//! |---|---|
//! | `a->b[1]` | `CompoundFieldAccess { root: a, [Dot(b), Subscript(1)] }` |
//! | `x => e`, `(x, y) => e` | `Lambda` |
//! | `STRUCT(f := e)`, `MAP('k' := e)` | arguments that are `BinaryOp { op: Assignment }` |
//! | `CAST(e AS MAP<STRING, INT>)`, `CAST(e AS type_of_mine)` | `Cast` to `DataType::Custom`; read it with [`type_name`] |

use std::cell::Cell;

use sqlparser::ast::{
    AccessExpr, CastKind, DataType, Expr, Ident, LambdaFunction, LambdaFunctionParameter, LambdaSyntax, ObjectName,
    OneOrManyWithParens, Query, Subscript, visit_relations,
};
use sqlparser::dialect::{Dialect, Precedence};
use sqlparser::keywords::Keyword;
use sqlparser::parser::{Parser, ParserError};
use sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Word};

use super::ast::TypeName;
use super::lexer::{self, TokenKind};
use super::limits::NESTING_MAX;
use crate::error::{Error, Position, Result};

/// Streams, tables and subqueries one bounded query may name.
pub const RELATIONS_MAX: usize = 200;

/// Parameters a lambda may have: bounds how far the parser looks ahead.
const LAMBDA_PARAMETERS_MAX: usize = 16;

/// Tokens the type of a CAST may have: bounds the same.
const TYPE_TOKENS_MAX: usize = 2_000;

/// Expressions that sqlparser may begin to read, for each token. It reads a word such as CASE or ARRAY as an expression's
/// first, and if that fails as a name; in a text of many such words it would try every combination.
const STARTS_PER_TOKEN: usize = 32;

#[derive(Debug)]
struct BatchDialect {
    /// Expressions that may still be begun.
    starts_left: Cell<usize>,
}

impl Dialect for BatchDialect {
    fn is_identifier_start(&self, ch: char) -> bool {
        ch.is_ascii_alphabetic() || ch == '_'
    }

    fn is_identifier_part(&self, ch: char) -> bool {
        lexer::is_word_part(ch)
    }

    fn supports_filter_during_aggregation(&self) -> bool {
        true
    }

    fn supports_group_by_expr(&self) -> bool {
        true
    }

    fn supports_window_clause_named_window_reference(&self) -> bool {
        true
    }

    /// `x => e` is a lambda here.
    fn supports_named_fn_args_with_rarrow_operator(&self) -> bool {
        false
    }

    fn prec_value(&self, precedence: Precedence) -> u8 {
        match precedence {
            Precedence::Period => 100,
            Precedence::DoubleColon => 50,
            Precedence::AtTz => 41,
            Precedence::MulDivModOp => 40,
            Precedence::PlusMinus => 30,
            Precedence::Xor => 24,
            Precedence::Ampersand => 23,
            Precedence::Caret => 22,
            Precedence::Pipe => 21,
            Precedence::Colon => 21,
            Precedence::Between | Precedence::Eq | Precedence::Like => 20,
            Precedence::Is => 17,
            Precedence::PgOther => 16,
            Precedence::UnaryNot => 15,
            Precedence::And => 10,
            Precedence::Or => 5,
        }
    }

    fn get_next_precedence(&self, parser: &Parser) -> Option<Result<u8, ParserError>> {
        match parser.peek_token_ref().token {
            Token::Arrow | Token::LBracket => Some(Ok(self.prec_value(Precedence::Period))),
            // Below + and above comparisons, as ksqlDB binds it.
            Token::StringConcat => Some(Ok(25)),
            // `k := a OR b` takes all of it.
            Token::Assignment => Some(Ok(1)),
            _ => None,
        }
    }

    fn parse_infix(&self, parser: &mut Parser, left: &Expr, _precedence: u8) -> Option<Result<Expr, ParserError>> {
        let is_field = match parser.peek_token_ref().token {
            Token::Arrow => true,
            Token::LBracket => false,
            _ => return None,
        };
        parser.next_token();
        let access = if is_field {
            parser.parse_identifier().map(|field| AccessExpr::Dot(Expr::Identifier(field)))
        } else {
            parser.parse_expr().and_then(|index| {
                parser.expect_token(&Token::RBracket)?;
                Ok(AccessExpr::Subscript(Subscript::Index { index }))
            })
        };
        Some(access.map(|access| match left.clone() {
            Expr::CompoundFieldAccess { root, mut access_chain } => {
                access_chain.push(access);
                Expr::CompoundFieldAccess { root, access_chain }
            }
            root => Expr::CompoundFieldAccess { root: Box::new(root), access_chain: vec![access] },
        }))
    }

    fn parse_prefix(&self, parser: &mut Parser) -> Option<Result<Expr, ParserError>> {
        match self.starts_left.get() {
            0 => return Some(Err(ParserError::RecursionLimitExceeded)),
            left => self.starts_left.set(left - 1),
        }
        if let Some(parameters) = lambda_parameters(parser) {
            return Some(parser.parse_expr().map(|body| {
                Expr::Lambda(LambdaFunction { params: parameters, body: Box::new(body), syntax: LambdaSyntax::Arrow })
            }));
        }
        let is_cast = is_keyword(&parser.peek_token_ref().token, Keyword::CAST)
            && parser.peek_nth_token_ref(1).token == Token::LParen;
        is_cast.then(|| cast(parser))
    }
}

fn is_keyword(token: &Token, keyword: Keyword) -> bool {
    matches!(token, Token::Word(word) if word.keyword == keyword)
}

/// Takes `x =>` or `(x, y) =>` if it stands next.
fn lambda_parameters(parser: &mut Parser) -> Option<OneOrManyWithParens<LambdaFunctionParameter>> {
    let parameter = |parser: &Parser, n: usize| match &parser.peek_nth_token_ref(n).token {
        Token::Word(word) => {
            Some(LambdaFunctionParameter { name: word.clone().into_ident(Span::empty()), data_type: None })
        }
        _ => None,
    };
    let is = |parser: &Parser, n: usize, token: Token| parser.peek_nth_token_ref(n).token == token;
    let (parameters, length) = if let Some(one) = parameter(parser, 0) {
        (OneOrManyWithParens::One(one), 1)
    } else {
        if !is(parser, 0, Token::LParen) {
            return None;
        }
        let mut many = vec![parameter(parser, 1)?];
        let mut length = 2;
        while is(parser, length, Token::Comma) && many.len() < LAMBDA_PARAMETERS_MAX {
            many.push(parameter(parser, length + 1)?);
            length += 2;
        }
        if !is(parser, length, Token::RParen) {
            return None;
        }
        (OneOrManyWithParens::Many(many), length + 1)
    };
    if !is(parser, length, Token::RArrow) {
        return None;
    }
    for _ in 0..=length {
        parser.next_token();
    }
    Some(parameters)
}

/// `CAST(e AS type)`: nested types and STRUCT in our spelling, plain ones in sqlparser's.
fn cast(parser: &mut Parser) -> Result<Expr, ParserError> {
    parser.next_token();
    parser.expect_token(&Token::LParen)?;
    let expr = Box::new(parser.parse_expr()?);
    parser.expect_keyword(Keyword::AS)?;
    let mut open = 0_usize;
    let mut length = 0;
    let mut text = String::new();
    while length < TYPE_TOKENS_MAX {
        let token = &parser.peek_nth_token_ref(length).token;
        match token {
            Token::EOF => break,
            Token::LParen => open += 1,
            Token::RParen if open == 0 => break,
            Token::RParen => open -= 1,
            _ => {}
        }
        text.push_str(&format!("{token} "));
        length += 1;
    }
    let data_type = match super::parse_type(&text) {
        Ok(ty @ (TypeName::Array(_) | TypeName::Map(..) | TypeName::Struct(_))) => {
            for _ in 0..length {
                parser.next_token();
            }
            DataType::Custom(ObjectName::from(vec![Ident::new(ty.to_string())]), vec![])
        }
        _ => parser.parse_data_type()?,
    };
    parser.expect_token(&Token::RParen)?;
    Ok(Expr::Cast { kind: CastKind::Cast, expr, data_type, array: false, format: None })
}

/// The type a CAST of the tree means.
pub fn type_name(data_type: &DataType) -> Result<TypeName> {
    super::parse_type(&data_type.to_string())
}

/// One bounded query; a `;` at the end is taken.
pub fn parse_batch(text: &str) -> Result<Query> {
    super::limits::check_text(text)?;
    let (mut tokens, _) = lexer::lex(text, lexer::TEXT_START)?;
    while tokens.last().is_some_and(|t| t.is_symbol(";")) {
        tokens.pop();
    }
    let depth = super::limits::check_statement(&tokens)?;
    super::on_a_deep_stack(depth, || parse_tokens(text, &tokens))
}

pub(super) fn parse_tokens(text: &str, tokens: &[lexer::Token]) -> Result<Query> {
    let converted = tokens.iter().map(|token| convert(text, token)).collect::<Result<Vec<_>>>()?;
    let end = tokens.last().map(|t| t.position).unwrap_or(lexer::TEXT_START);
    let dialect = BatchDialect { starts_left: Cell::new((tokens.len() + 1) * STARTS_PER_TOKEN) };
    let mut parser = Parser::new(&dialect)
        // Several of its functions guard one level of nesting; depth is bounded on the tokens already.
        .with_recursion_limit(NESTING_MAX * 8)
        .with_tokens_with_locations(converted);
    let query = parser.parse_query().map_err(|e| match dialect.starts_left.get() {
        0 => Error::limit("the query can be read in too many ways")
            .with_hint("write names that are words of SQL, such as CASE or ARRAY, in quotes: `CASE`"),
        _ => readable(e, end),
    })?;
    let rest = parser.peek_token();
    if rest.token != Token::EOF {
        let position = Position { line: rest.span.start.line, column: rest.span.start.column };
        return Err(syntax_error(position, &format!("Unexpected {}", rest.token)));
    }
    let mut relations = 0;
    let _ = visit_relations(&query, |_| {
        relations += 1;
        std::ops::ControlFlow::<()>::Continue(())
    });
    if relations > RELATIONS_MAX {
        return Err(Error::limit(format!("the query names {relations} sources; at most {RELATIONS_MAX} are allowed")));
    }
    Ok(*query)
}

fn convert(text: &str, token: &lexer::Token) -> Result<TokenWithSpan> {
    let written = &text[token.start as usize..token.end as usize];
    let converted = match &token.kind {
        TokenKind::Word(word) => Token::make_word(word, None),
        TokenKind::Quoted(name) | TokenKind::DigitWord(name) => {
            Token::Word(Word { value: name.clone(), quote_style: Some('"'), keyword: Keyword::NoKeyword })
        }
        TokenKind::Integer | TokenKind::Decimal | TokenKind::Float => Token::Number(written.to_string(), false),
        TokenKind::String(value) => Token::SingleQuotedString(value.clone()),
        TokenKind::Symbol(symbol) => converted_symbol(symbol)
            .ok_or_else(|| syntax_error(token.position, &format!("'{symbol}' is no operator")))?,
        TokenKind::Variable(_) | TokenKind::Stray(_) => {
            return Err(syntax_error(token.position, &format!("no SQL has '{written}'")));
        }
    };
    let start = Location { line: token.position.line, column: token.position.column };
    let end = Location { line: start.line, column: start.column + written.chars().count() as u64 };
    Ok(TokenWithSpan { token: converted, span: Span { start, end } })
}

fn converted_symbol(symbol: &str) -> Option<Token> {
    Some(match symbol {
        "->" => Token::Arrow,
        "=>" => Token::RArrow,
        ":=" => Token::Assignment,
        "<>" | "!=" => Token::Neq,
        "<=" => Token::LtEq,
        ">=" => Token::GtEq,
        "||" => Token::StringConcat,
        "::" => Token::DoubleColon,
        "!~*" => Token::ExclamationMarkTildeAsterisk,
        "!~" => Token::ExclamationMarkTilde,
        "~*" => Token::TildeAsterisk,
        "(" => Token::LParen,
        ")" => Token::RParen,
        "[" => Token::LBracket,
        "]" => Token::RBracket,
        "," => Token::Comma,
        "." => Token::Period,
        ";" => Token::SemiColon,
        "=" => Token::Eq,
        "<" => Token::Lt,
        ">" => Token::Gt,
        "+" => Token::Plus,
        "-" => Token::Minus,
        "*" => Token::Mul,
        "/" => Token::Div,
        "%" => Token::Mod,
        ":" => Token::Colon,
        "~" => Token::Tilde,
        "|" => Token::Pipe,
        "&" => Token::Ampersand,
        "^" => Token::Caret,
        "#" => Token::Sharp,
        _ => return None,
    })
}

/// sqlparser puts the place behind its message: `Expected: …, found: x at Line: 1, Column: 5`.
fn readable(error: ParserError, end: Position) -> Error {
    let message = match error {
        ParserError::TokenizerError(message) | ParserError::ParserError(message) => message,
        ParserError::RecursionLimitExceeded => {
            return Error::limit("the statement is nested too deeply").at(end);
        }
    };
    let place = message.rsplit_once(" at Line: ").and_then(|(head, place)| {
        let (line, column) = place.split_once(", Column: ")?;
        Some((head.to_string(), Position { line: line.parse().ok()?, column: column.parse().ok()? }))
    });
    match place {
        Some((head, position)) => syntax_error(position, &head),
        None => syntax_error(end, &message),
    }
}

fn syntax_error(position: Position, detail: &str) -> Error {
    Error::parse(format!("line {}:{}: Syntax Error\n{detail}", position.line, position.column)).at(position)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_that_may_begin_an_expression_do_not_multiply() {
        for (open, close) in [("CASE+", ""), ("ARRAY[", "]"), ("CASE WHEN ", ""), ("INTERVAL ", ""), ("NOT CASE(", ")")]
        {
            for inner in ["1", "1 1", "CASE", ","] {
                let text = format!("SELECT {}{inner}{} FROM s ORDER BY 1", open.repeat(60), close.repeat(60));
                // It ends, whatever it says.
                let _ = parse_batch(&text);
            }
        }
        let refused = parse_batch(&format!("SELECT {}1", "CASE+".repeat(60))).unwrap_err();
        assert_eq!(refused.message(), "the query can be read in too many ways");
        let fine = format!("SELECT {}1{}", "CASE WHEN a THEN ".repeat(40), " END".repeat(40));
        assert!(parse_batch(&fine).is_ok());
    }

    #[test]
    fn ordinary_sql_reads_with_our_names_and_expressions() {
        for (text, printed) in [
            ("select distinct a, B from s order by c", "SELECT DISTINCT A, B FROM S ORDER BY C"),
            ("select \"a\" from `s`", "SELECT \"a\" FROM \"s\""),
            ("select a->b[1]->c from s", "SELECT A.B[1].C FROM S"),
            ("select transform(a, x => x + 1)", "SELECT TRANSFORM(A, X -> X + 1)"),
            ("select reduce(a, 0, (s, x) => s + x)", "SELECT REDUCE(A, 0, (S, X) -> S + X)"),
            ("select struct(a := 1 + 2, b := x or y)", "SELECT STRUCT(A := 1 + 2, B := X OR Y)"),
            ("select map('k' := v)", "SELECT MAP('k' := V)"),
            ("select cast(a as map<string, array<int>>)", "SELECT CAST(A AS MAP<STRING, ARRAY<INTEGER>>)"),
            ("select cast(a as decimal(4, 2))", "SELECT CAST(A AS DECIMAL(4,2))"),
            ("select a from s union all select b from t", "SELECT A FROM S UNION ALL SELECT B FROM T"),
            (
                "select sum(a) over (partition by b order by c) from s limit 3 offset 2;",
                "SELECT SUM(A) OVER (PARTITION BY B ORDER BY C) FROM S LIMIT 3 OFFSET 2",
            ),
            ("with x as (select 1) select * from x", "WITH X AS (SELECT 1) SELECT * FROM X"),
        ] {
            assert_eq!(parse_batch(text).map(|q| q.to_string()).map_err(|e| e.to_string()), Ok(printed.to_string()));
        }
    }

    #[test]
    fn the_place_of_an_error_is_kept() {
        let error = parse_batch("SELECT a\nFROM s ORDER BY ,").unwrap_err();
        assert_eq!(error.position(), Some(Position { line: 2, column: 17 }), "{error}");
    }
}
