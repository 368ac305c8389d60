//! Types as written: `ARRAY<STRUCT<F INT, G DECIMAL(4, 2)>>`, `STRING ARRAY`, `VARCHAR(10)`, `MY_TYPE`.
//!
//! Nested types are always `TypeName::Array`/`Map`/`Struct`, even when every part is a plain type; `TypeName::Sql` holds
//! plain types only. Names made by CREATE TYPE stay names here.

use super::ast::TypeName;
use super::lexer::TokenKind;
use super::parser::{INTEGER_VALUE, Parser};
use crate::error::{Error, Result};
use crate::types::{DECIMAL_PRECISION_MAX, SqlType};

impl From<&SqlType> for TypeName {
    fn from(ty: &SqlType) -> Self {
        match ty {
            SqlType::Array(item) => TypeName::Array(Box::new((&**item).into())),
            SqlType::Map(key, value) => TypeName::Map(Box::new((&**key).into()), Box::new((&**value).into())),
            SqlType::Struct(fields) => {
                TypeName::Struct(fields.iter().map(|f| (f.name.clone(), TypeName::from(&f.ty))).collect())
            }
            plain => TypeName::Sql(plain.clone()),
        }
    }
}

/// The plain type of this name, in any case.
fn plain_type(name: &str) -> Option<SqlType> {
    Some(match name.to_ascii_uppercase().as_str() {
        "BOOLEAN" => SqlType::Boolean,
        "INT" | "INTEGER" => SqlType::Integer,
        "BIGINT" => SqlType::Bigint,
        "DOUBLE" => SqlType::Double,
        "STRING" | "VARCHAR" => SqlType::String,
        "BYTES" => SqlType::Bytes,
        "DATE" => SqlType::Date,
        "TIME" => SqlType::Time,
        "TIMESTAMP" => SqlType::Timestamp,
        _ => return None,
    })
}

impl Parser<'_> {
    pub fn type_name(&mut self) -> Result<TypeName> {
        let mut ty = self.type_without_suffix()?;
        while self.at_word("ARRAY") {
            self.next += 1;
            ty = TypeName::Array(Box::new(ty));
        }
        Ok(ty)
    }

    fn type_without_suffix(&mut self) -> Result<TypeName> {
        let opens = self.nth_is_symbol(1, "<");
        match self.peek().map(|t| &t.kind) {
            Some(TokenKind::Word(word)) if word == "ARRAY" && opens => {
                self.next += 2;
                let item = self.type_name()?;
                self.expect_symbol(">")?;
                Ok(TypeName::Array(Box::new(item)))
            }
            Some(TokenKind::Word(word)) if word == "MAP" && opens => {
                self.next += 2;
                let key = self.type_name()?;
                self.expect_symbol(",")?;
                let value = self.type_name()?;
                self.expect_symbol(">")?;
                Ok(TypeName::Map(Box::new(key), Box::new(value)))
            }
            Some(TokenKind::Word(word)) if word == "STRUCT" && self.nth_is_symbol(1, "<>") => {
                self.next += 2;
                Ok(TypeName::Struct(Vec::new()))
            }
            Some(TokenKind::Word(word)) if word == "STRUCT" && opens => {
                self.next += 2;
                let mut fields = Vec::new();
                if self.accept_symbol(">") {
                    return Ok(TypeName::Struct(fields));
                }
                loop {
                    fields.push((self.identifier()?, self.type_name()?));
                    if self.accept_symbol(">") {
                        return Ok(TypeName::Struct(fields));
                    }
                    if !self.accept_symbol(",") {
                        return Err(self.unexpected(&[",", ">"]));
                    }
                }
            }
            Some(TokenKind::Word(word)) if word == "DECIMAL" || word == "DEC" => self.decimal(),
            _ => {
                let name = self.identifier()?;
                if self.accept_symbol("(") {
                    self.type_parameters()?;
                }
                Ok(plain_type(&name).map_or(TypeName::Custom(name), TypeName::Sql))
            }
        }
    }

    fn decimal(&mut self) -> Result<TypeName> {
        let position = self.position();
        self.next += 1;
        self.expect_symbol("(")?;
        let precision = self.unsigned()?;
        self.expect_symbol(",")?;
        let scale = self.unsigned()?;
        self.expect_symbol(")")?;
        let written = format!("DECIMAL({precision},{scale})");
        let refusal = if precision < 1 {
            format!("DECIMAL precision must be >= 1: {written}")
        } else if precision > u64::from(DECIMAL_PRECISION_MAX) {
            format!("DECIMAL precision must be <= {DECIMAL_PRECISION_MAX}: {written}")
        } else if scale > precision {
            format!("DECIMAL precision must be >= scale: {written}")
        } else {
            return Ok(TypeName::Sql(SqlType::decimal(precision as u8, scale as u8)));
        };
        Err(Error::parse(refusal).at(position).in_statement(self.shown))
    }

    /// `(10)` or `(STRING)` behind any name: taken and ignored, as in ksqlDB.
    fn type_parameters(&mut self) -> Result<()> {
        loop {
            match self.peek().map(|t| &t.kind) {
                Some(TokenKind::Integer) => self.next += 1,
                Some(TokenKind::Word(word)) if word == "STRING" => self.next += 1,
                _ => return Err(self.unexpected(&["STRING", INTEGER_VALUE])),
            }
            if self.accept_symbol(")") {
                return Ok(());
            }
            if !self.accept_symbol(",") {
                return Err(self.unexpected(&[",", ")"]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse_type;

    #[test]
    fn types_read_and_print() {
        for (text, printed) in [
            ("int", "INTEGER"),
            ("varchar(20)", "STRING"),
            ("VARCHAR(STRING)", "STRING"),
            ("DEC(4,2)", "DECIMAL(4, 2)"),
            ("STRING ARRAY", "ARRAY<STRING>"),
            ("ARRAY<MAP<STRING,ARRAY<INT>>>", "ARRAY<MAP<STRING, ARRAY<INTEGER>>>"),
            ("struct<a int, `b` my_type>", "STRUCT<A INTEGER, `b` MY_TYPE>"),
            ("STRUCT<>", "STRUCT<>"),
        ] {
            assert_eq!(parse_type(text).unwrap().to_string(), printed);
        }
    }

    #[test]
    fn decimals_have_sane_parameters() {
        for (text, message) in [
            ("DECIMAL(0, 0)", "DECIMAL precision must be >= 1: DECIMAL(0,0)"),
            ("DECIMAL(2, 3)", "DECIMAL precision must be >= scale: DECIMAL(2,3)"),
            ("DECIMAL(99, 3)", "DECIMAL precision must be <= 76: DECIMAL(99,3)"),
        ] {
            assert_eq!(parse_type(text).unwrap_err().message(), message);
        }
    }
}
