//! CREATE, ALTER and their column lists and WITH clauses.

use super::ast::*;
use super::lexer::TokenKind;
use super::parser::Parser;
use crate::error::Result;

impl Parser<'_> {
    /// `CREATE [OR REPLACE] [SOURCE] STREAM|TABLE …`, `CREATE TYPE …`, `CREATE SOURCE|SINK CONNECTOR …`.
    pub fn create(&mut self) -> Result<Statement> {
        self.expect_word("CREATE")?;
        let or_replace = self.accept_word("OR");
        if or_replace {
            self.expect_word("REPLACE")?;
        }
        if !or_replace && self.accept_word("TYPE") {
            return self.create_type();
        }
        if !or_replace && (self.at_words(&["SOURCE", "CONNECTOR"]) || self.at_words(&["SINK", "CONNECTOR"])) {
            return self.create_connector();
        }
        let is_source = self.accept_word("SOURCE");
        let kind = self.source_kind(if or_replace || is_source {
            &["STREAM", "TABLE"]
        } else {
            &["STREAM", "TABLE", "OR", "SOURCE", "SINK", "TYPE"]
        })?;
        let if_not_exists = self.if_not_exists()?;
        let name = self.source_name()?;
        let columns = self.columns(kind)?;
        let properties = self.with_clause(true)?;
        if columns.is_empty() && !is_source && self.accept_word("AS") {
            let query = self.query()?;
            return Ok(Statement::CreateAs(CreateAs { kind, or_replace, if_not_exists, name, properties, query }));
        }
        Ok(Statement::CreateSource(CreateSource {
            kind,
            or_replace,
            is_source,
            if_not_exists,
            name,
            columns,
            properties,
        }))
    }

    pub fn source_kind(&mut self, expecting: &[&'static str]) -> Result<SourceKind> {
        if self.accept_word("STREAM") {
            Ok(SourceKind::Stream)
        } else if self.accept_word("TABLE") {
            Ok(SourceKind::Table)
        } else {
            Err(self.unexpected(expecting))
        }
    }

    fn if_not_exists(&mut self) -> Result<bool> {
        let found = self.at_words(&["IF", "NOT"]);
        if found {
            self.expect_words(&["IF", "NOT", "EXISTS"])?;
        }
        Ok(found)
    }

    pub fn if_exists(&mut self) -> bool {
        self.accept_words(&["IF", "EXISTS"])
    }

    /// `(name TYPE [constraint], …)`; empty when there is no `(`.
    pub fn columns(&mut self, kind: SourceKind) -> Result<Vec<ColumnDef>> {
        if !self.at_symbol("(") {
            return Ok(Vec::new());
        }
        self.list_in_parentheses(|p| p.column(kind))
    }

    fn column(&mut self, kind: SourceKind) -> Result<ColumnDef> {
        const KINDS_OF_KEYS: &str = "Tables have PRIMARY KEYs, which are unique and NON NULL.\n\
             Streams have KEYs, which have no uniqueness or NON NULL constraints.";
        let position = self.position();
        let name = self.identifier()?;
        let ty = self.type_name()?;
        let constraint = if self.accept_word("PRIMARY") {
            self.expect_word("KEY")?;
            Some(ColumnConstraint::PrimaryKey)
        } else if self.accept_word("KEY") {
            Some(ColumnConstraint::Key)
        } else if self.accept_word("HEADERS") {
            Some(ColumnConstraint::Headers)
        } else if self.accept_word("HEADER") {
            self.expect_symbol("(")?;
            let key = self.string()?;
            self.expect_symbol(")")?;
            Some(ColumnConstraint::Header(key))
        } else {
            None
        };
        let (has, wants, sources) = match (kind, &constraint) {
            (SourceKind::Table, Some(ColumnConstraint::Key)) => ("KEY", "PRIMARY KEY", "tables"),
            (SourceKind::Stream, Some(ColumnConstraint::PrimaryKey)) => ("PRIMARY KEY", "KEY", "streams"),
            _ => return Ok(ColumnDef { name, ty, constraint, position }),
        };
        Err(self.rule_error(
            position,
            format!("Column `{name}` is a '{has}' column: please use '{wants}' for {sources}.\n{KINDS_OF_KEYS}"),
        ))
    }

    /// `WITH (name = literal, …)`; empty when there is none.
    pub fn with_clause(&mut self, fold_names: bool) -> Result<Vec<Property>> {
        if self.accept_word("WITH") { self.properties(fold_names) } else { Ok(Vec::new()) }
    }

    /// `(name = literal, …)`.
    pub fn properties(&mut self, fold_names: bool) -> Result<Vec<Property>> {
        self.list_in_parentheses(|p| {
            let position = p.position();
            let name = match p.peek().map(|t| &t.kind) {
                Some(TokenKind::String(_)) => p.string()?,
                // An option's name is no column: COPY … WITH (NULL = 'NA').
                Some(TokenKind::Word(word)) if !p.strict => {
                    let name = word.clone();
                    p.next += 1;
                    name
                }
                _ => p.identifier()?,
            };
            let name = if fold_names { name.to_uppercase() } else { name };
            p.expect_symbol("=")?;
            let value = match p.peek().map(|t| &t.kind) {
                // `VALUE_FORMAT = JSON`: ksqlDB wants quotes.
                Some(TokenKind::Word(word)) if !p.strict && !matches!(word.as_str(), "NULL" | "TRUE" | "FALSE") => {
                    let value = word.clone();
                    p.next += 1;
                    Literal::String(value)
                }
                _ => p.literal()?,
            };
            Ok(Property { name, value, position })
        })
    }

    fn create_type(&mut self) -> Result<Statement> {
        let if_not_exists = self.if_not_exists()?;
        let name = self.identifier()?;
        self.expect_word("AS")?;
        Ok(Statement::CreateType { name, if_not_exists, ty: self.type_name()? })
    }

    fn create_connector(&mut self) -> Result<Statement> {
        let is_source = self.expect_one_of(&["SOURCE", "SINK"])? == "SOURCE";
        self.expect_word("CONNECTOR")?;
        let if_not_exists = self.if_not_exists()?;
        let name = self.identifier()?;
        self.expect_word("WITH")?;
        // A connector's settings have case-sensitive names.
        let properties = self.properties(false)?;
        Ok(Statement::CreateConnector { name, is_source, if_not_exists, properties })
    }

    /// `ALTER STREAM|TABLE x ADD [COLUMN] c T, …` and `ALTER SYSTEM 'k' = 'v'`.
    pub fn alter(&mut self) -> Result<Statement> {
        self.expect_word("ALTER")?;
        if self.accept_word("SYSTEM") {
            let (name, value) = self.setting()?;
            return Ok(Statement::AlterSystem { name, value });
        }
        let kind = self.source_kind(&["STREAM", "TABLE", "SYSTEM"])?;
        let name = self.source_name()?;
        self.expect_word("ADD")?;
        self.next -= 1;
        let columns = self.comma_separated(|p| {
            // ADD and COLUMN can be names too: `ADD COLUMN INT` adds a column named COLUMN.
            if p.at_word("ADD") && Self::is_identifier_or_type(p.peek_nth(2)) {
                p.next += 1;
            }
            if p.at_word("COLUMN") && Self::is_identifier_or_type(p.peek_nth(2)) {
                p.next += 1;
            }
            let position = p.position();
            Ok(ColumnDef { name: p.identifier()?, ty: p.type_name()?, constraint: None, position })
        })?;
        Ok(Statement::AlterSource { kind, name, columns })
    }

    fn is_identifier_or_type(token: Option<&super::lexer::Token>) -> bool {
        Self::is_identifier(token) || token.is_some_and(|t| t.is_word("DECIMAL"))
    }
}
