//! Every statement kind, chosen by its first words.

use super::ast::*;
use super::lexer::TokenKind;
use super::parser::Parser;
use crate::error::{Position, Result};

impl Parser<'_> {
    /// The whole statement.
    pub fn statement(&mut self) -> Result<Statement> {
        let statement = self.statement_by_first_word()?;
        self.expect_end()?;
        Ok(statement)
    }

    fn statement_by_first_word(&mut self) -> Result<Statement> {
        let word = match self.peek().map(|t| &t.kind) {
            Some(TokenKind::Word(word)) => word.as_str(),
            Some(TokenKind::Symbol("(")) if !self.strict => return self.query_statement(),
            _ => return Err(self.unexpected(&[])),
        };
        match word {
            "SELECT" => self.query_statement(),
            "WITH" | "VALUES" if !self.strict => self.query_statement(),
            "CREATE" => self.create(),
            "INSERT" => self.insert(),
            "DROP" => self.drop_statement(),
            "ALTER" => self.alter(),
            "TERMINATE" => {
                self.next += 1;
                Ok(Statement::Terminate(self.query_target()?))
            }
            "PAUSE" => {
                self.next += 1;
                Ok(Statement::Pause(self.query_target()?))
            }
            "RESUME" => {
                self.next += 1;
                Ok(Statement::Resume(self.query_target()?))
            }
            "SET" => {
                self.next += 1;
                let (name, value) = self.setting()?;
                Ok(Statement::Set { name, value })
            }
            "UNSET" => {
                self.next += 1;
                Ok(Statement::Unset { name: self.string()? })
            }
            "DEFINE" => {
                self.next += 1;
                let name = self.variable_name()?;
                self.expect_symbol("=")?;
                Ok(Statement::Define { name, value: self.string()? })
            }
            "UNDEFINE" => {
                self.next += 1;
                Ok(Statement::Undefine { name: self.variable_name()? })
            }
            "SHOW" | "LIST" => self.show(),
            "DESCRIBE" => self.describe(),
            "EXPLAIN" => self.explain(),
            "PRINT" => self.print_topic(),
            "RUN" => {
                self.next += 1;
                self.expect_word("SCRIPT")?;
                Ok(Statement::RunScript { path: self.string()? })
            }
            "COPY" if !self.strict => self.copy(),
            "ASSERT" => self.assert(),
            _ => Err(self.unexpected(&[])),
        }
    }

    fn insert(&mut self) -> Result<Statement> {
        self.expect_words(&["INSERT", "INTO"])?;
        let target = self.source_name()?;
        if self.at_word("SELECT") || self.at_word("WITH") {
            let properties = self.with_clause(true)?;
            return Ok(Statement::InsertSelect(InsertSelect { target, properties, query: self.query()? }));
        }
        let columns = self.column_names()?;
        if !self.at_word("VALUES") {
            let expecting: &[&str] = if columns.is_empty() { &["(", "VALUES", "SELECT", "WITH"] } else { &["VALUES"] };
            return Err(self.unexpected(expecting));
        }
        Ok(Statement::InsertValues(self.values(target, columns)?))
    }

    /// `(a, b)`, or nothing.
    fn column_names(&mut self) -> Result<Vec<String>> {
        if self.at_symbol("(") { self.list_in_parentheses(Self::identifier) } else { Ok(Vec::new()) }
    }

    /// `VALUES (…)`, outside strict mode several rows.
    fn values(&mut self, target: Name, columns: Vec<String>) -> Result<InsertValues> {
        self.expect_word("VALUES")?;
        let mut rows = vec![self.row()?];
        while !self.strict && self.accept_symbol(",") {
            rows.push(self.row()?);
        }
        Ok(InsertValues { target, columns, rows })
    }

    fn row(&mut self) -> Result<Vec<Expr>> {
        if self.at_symbol("(") && self.nth_is_symbol(1, ")") {
            self.next += 2;
            return Ok(Vec::new());
        }
        self.list_in_parentheses(Self::value_or_expression)
    }

    fn drop_statement(&mut self) -> Result<Statement> {
        self.expect_word("DROP")?;
        if self.accept_word("TYPE") {
            let if_exists = self.if_exists();
            return Ok(Statement::DropType { name: self.identifier()?, if_exists });
        }
        if self.accept_word("CONNECTOR") {
            let if_exists = self.if_exists();
            return Ok(Statement::DropConnector { name: self.identifier()?, if_exists });
        }
        let kind = self.source_kind(&["STREAM", "TABLE", "CONNECTOR", "TYPE"])?;
        let if_exists = self.if_exists();
        let name = self.source_name()?;
        let delete_topic = self.accept_word("DELETE");
        if delete_topic {
            self.expect_word("TOPIC")?;
        }
        Ok(Statement::Drop { kind, name, if_exists, delete_topic })
    }

    fn query_target(&mut self) -> Result<QueryTarget> {
        if self.accept_word("ALL") { Ok(QueryTarget::All) } else { Ok(QueryTarget::Id(self.identifier()?)) }
    }

    /// `'name' = 'value'`.
    pub fn setting(&mut self) -> Result<(String, String)> {
        let name = self.string()?;
        self.expect_symbol("=")?;
        let value = match self.peek().map(|t| &t.kind) {
            Some(TokenKind::String(_)) => self.string()?,
            // `SET 'ksql.strict' = true`: ksqlDB wants quotes.
            Some(TokenKind::Word(_) | TokenKind::Integer | TokenKind::Decimal) if !self.strict => {
                let value = self.peek().map(|t| self.slice(t).to_string()).unwrap_or_default();
                self.next += 1;
                value
            }
            _ => return Err(self.unexpected(&["STRING"])),
        };
        Ok((name, value))
    }

    /// A variable's name, as written.
    fn variable_name(&mut self) -> Result<String> {
        match self.peek() {
            Some(token) if matches!(token.kind, TokenKind::Word(_)) => {
                self.next += 1;
                Ok(self.slice(token).to_string())
            }
            _ => Err(self.unexpected(&["IDENTIFIER"])),
        }
    }

    fn show(&mut self) -> Result<Statement> {
        self.next += 1;
        if self.accept_word("CONNECTOR") {
            self.expect_word("PLUGINS")?;
            return Ok(Statement::Show(Show::ConnectorPlugins));
        }
        let all = self.accept_word("ALL");
        if !all && (self.at_words(&["SOURCE", "CONNECTORS"]) || self.at_words(&["SINK", "CONNECTORS"])) {
            self.next += 1;
        }
        let what = self.expect_one_of(if all {
            &["TOPICS"]
        } else {
            &["STREAMS", "TABLES", "TOPICS", "QUERIES", "FUNCTIONS", "PROPERTIES", "TYPES", "VARIABLES", "CONNECTORS"]
        })?;
        let extended = matches!(what, "STREAMS" | "TABLES" | "TOPICS" | "QUERIES") && self.accept_word("EXTENDED");
        Ok(Statement::Show(match what {
            "STREAMS" => Show::Streams { extended },
            "TABLES" => Show::Tables { extended },
            "TOPICS" => Show::Topics { all, extended },
            "QUERIES" => Show::Queries { extended },
            "FUNCTIONS" => Show::Functions,
            "PROPERTIES" => Show::Properties,
            "TYPES" => Show::Types,
            "VARIABLES" => Show::Variables,
            _ => Show::Connectors,
        }))
    }

    fn describe(&mut self) -> Result<Statement> {
        self.expect_word("DESCRIBE")?;
        for (word, kind) in [("STREAMS", SourceKind::Stream), ("TABLES", SourceKind::Table)] {
            if self.accept_word(word) {
                return Ok(Statement::DescribeAll { kind, extended: self.accept_word("EXTENDED") });
            }
        }
        if self.at_word("FUNCTION") && self.peek_nth(1).is_some() {
            self.next += 1;
            return Ok(Statement::DescribeFunction { name: self.identifier()? });
        }
        if self.accept_word("CONNECTOR") {
            return Ok(Statement::DescribeConnector { name: self.identifier()? });
        }
        let name = self.source_name()?;
        Ok(Statement::Describe { name, extended: self.accept_word("EXTENDED") })
    }

    fn explain(&mut self) -> Result<Statement> {
        self.expect_word("EXPLAIN")?;
        if Self::is_identifier(self.peek()) && self.peek_nth(1).is_none() {
            return Ok(Statement::Explain(Explain::Query(self.identifier()?)));
        }
        let (position, start) = (self.position(), self.next);
        let statement = self.statement()?;
        let text = self.text_of(start, self.next);
        Ok(Statement::Explain(Explain::Statement(Box::new(ParsedStatement { statement, text, position }))))
    }

    /// The text of the tokens `start..end`.
    pub fn text_of(&self, start: usize, end: usize) -> String {
        match (self.tokens.get(start), end.checked_sub(1).and_then(|last| self.tokens.get(last))) {
            (Some(first), Some(last)) if start < end => self.text[first.start as usize..last.end as usize].to_string(),
            _ => String::new(),
        }
    }

    fn print_topic(&mut self) -> Result<Statement> {
        self.expect_word("PRINT")?;
        let topic = self.outside_name()?;
        let from_beginning = self.accept_word("FROM");
        if from_beginning {
            self.expect_word("BEGINNING")?;
        }
        let has_interval = self.accept_word("INTERVAL") || self.accept_word("SAMPLE");
        let interval = if has_interval { Some(self.unsigned()?) } else { None };
        let limit = if self.accept_word("LIMIT") { Some(self.unsigned()?) } else { None };
        Ok(Statement::Print { topic, from_beginning, interval, limit })
    }

    /// `COPY source FROM|TO 'path' [WITH] [(name = literal, …)]`, `COPY (query) TO …`.
    fn copy(&mut self) -> Result<Statement> {
        self.expect_word("COPY")?;
        let query = if self.at_symbol("(") {
            self.query_in_parentheses()?
        } else {
            let target = self.source_name()?;
            if self.accept_word("FROM") {
                let (path, options) = self.path_and_options()?;
                return Ok(Statement::CopyFrom { target, path, options });
            }
            if !self.at_word("TO") {
                return Err(self.unexpected(&["FROM", "TO"]));
            }
            all_of(target)
        };
        self.expect_word("TO")?;
        let (path, options) = self.path_and_options()?;
        Ok(Statement::CopyTo { query: Box::new(query), path, options })
    }

    fn path_and_options(&mut self) -> Result<(String, Vec<Property>)> {
        let path = self.string()?;
        let is_list = self.accept_word("WITH") || self.at_symbol("(");
        Ok((path, if is_list { self.properties(true)? } else { Vec::new() }))
    }

    fn query_in_parentheses(&mut self) -> Result<Statement> {
        let mut open = 0_usize;
        let close = self.tokens.iter().enumerate().skip(self.next).find_map(|(index, token)| {
            match token.kind {
                TokenKind::Symbol("(") => open += 1,
                TokenKind::Symbol(")") => open -= 1,
                _ => {}
            }
            (open == 0).then_some(index)
        });
        let Some(close) = close else {
            self.next = self.tokens.len();
            return Err(self.unexpected(&[")"]));
        };
        let mut inner =
            Parser { tokens: &self.tokens[..close], next: self.next + 1, end: self.tokens[close].position, ..*self };
        let query = inner.query_statement()?;
        self.next = close + 1;
        Ok(query)
    }

    fn assert(&mut self) -> Result<Statement> {
        self.expect_word("ASSERT")?;
        if self.accept_word("VALUES") {
            let target = self.source_name()?;
            let columns = self.column_names()?;
            return Ok(Statement::AssertValues { insert: self.values(target, columns)? });
        }
        if self.accept_word("NULL") {
            self.expect_word("VALUES")?;
            let target = self.source_name()?;
            let columns = self.column_names()?;
            self.expect_word("KEY")?;
            return Ok(Statement::AssertTombstone { target, columns, values: self.row()? });
        }
        if self.at_word("STREAM") || self.at_word("TABLE") {
            let kind = self.source_kind(&[])?;
            let name = self.source_name()?;
            let columns = self.columns(kind)?;
            let properties = self.with_clause(true)?;
            return Ok(Statement::AssertSource(CreateSource {
                kind,
                or_replace: false,
                is_source: false,
                if_not_exists: false,
                name,
                columns,
                properties,
            }));
        }
        let exists = !self.accept_words(&["NOT", "EXISTS"]);
        if self.accept_word("TOPIC") {
            let topic = self.outside_name()?;
            let properties = self.with_clause(true)?;
            return Ok(Statement::AssertTopic { topic, properties, timeout_ms: self.timeout_ms()?, exists });
        }
        if !self.accept_word("SCHEMA") {
            return Err(self.unexpected(&["TOPIC", "SCHEMA", "VALUES", "NULL", "STREAM", "TABLE", "NOT"]));
        }
        let subject = if self.accept_word("SUBJECT") { Some(self.outside_name()?) } else { None };
        let id = if self.accept_word("ID") {
            match self.literal()? {
                Literal::Integer(id) => Some(i64::from(id)),
                Literal::Bigint(id) => Some(id),
                _ => return Err(self.unexpected(&[super::parser::INTEGER_VALUE])),
            }
        } else {
            None
        };
        Ok(Statement::AssertSchema { subject, id, timeout_ms: self.timeout_ms()?, exists })
    }

    fn timeout_ms(&mut self) -> Result<Option<u64>> {
        if !self.accept_word("TIMEOUT") {
            return Ok(None);
        }
        Ok(Some(self.duration_ms()?.unsigned_abs()))
    }
}

/// `SELECT * FROM source`.
fn all_of(source: Name) -> Statement {
    let position: Position = source.position;
    Statement::Query(Query {
        select: vec![SelectItem::Star { source: None, position }],
        from: Relation { name: source, alias: None },
        joins: Vec::new(),
        window: None,
        filter: None,
        group_by: Vec::new(),
        partition_by: Vec::new(),
        having: None,
        emit: None,
        limit: None,
    })
}
