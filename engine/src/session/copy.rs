//! COPY … FROM and COPY … TO: files of this machine, in and out by SQL.

use std::path::PathBuf;

use super::load::{LoadFormat, LoadReport, LoadRequest};
use super::write_file::write_file;
use super::{Outcome, Session, entity};
use crate::entity::EntityBody;
use crate::error::{Error, Result};
use crate::results::ResultKind;
use crate::sql::ast::{Literal, Name, ParsedStatement, Property, Statement};

/// How far a COPY … FROM has come.
pub struct CopyProgress<'a> {
    pub report: &'a LoadReport,
    /// What there is to read, if that is known.
    pub bytes_total: Option<u64>,
}

/// Told after each group of a COPY … FROM.
pub type CopyWatcher = Box<dyn FnMut(CopyProgress<'_>) + Send>;

impl Session {
    /// Who is told how far a COPY … FROM has come.
    pub fn watch_copies(&mut self, watcher: CopyWatcher) {
        self.copy_watcher = Some(watcher);
    }

    pub(super) fn copy(&mut self, parsed: &ParsedStatement) -> Result<Outcome> {
        if !self.access.files {
            return Err(Error::statement(
                "COPY reads and writes files of this machine, which SQL over the network may not",
            )
            .with_hint("headwater load sends a file from where you are"));
        }
        let (rows, rejected) = match &parsed.statement {
            Statement::CopyFrom { target, path, options } => {
                let report = self.copy_from(target, path, &CopyOptions::new(options, path)?)?;
                (report.rows, report.rejected)
            }
            Statement::CopyTo { query, path, options } => {
                (self.copy_to(parsed, query, path, &CopyOptions::new(options, path)?)?, 0)
            }
            _ => return Err(Error::internal("not a COPY")),
        };
        Ok(Outcome::Entity(Box::new(entity(&parsed.text, EntityBody::RowsWritten { rows, rejected }))))
    }

    fn copy_from(&mut self, target: &Name, path: &str, options: &CopyOptions) -> Result<LoadReport> {
        let path = self.path(path);
        let file = std::fs::File::open(&path)
            .map_err(|e| Error::statement(format!("file {} cannot be read: {e}", path.display())))?;
        let bytes_total = file.metadata().ok().filter(|m| m.is_file()).map(|m| m.len());
        let request = LoadRequest {
            target: &target.name,
            format: options.format,
            input: Box::new(file),
            null: options.null.as_deref(),
            key: options.key.as_deref(),
            timestamp: options.timestamp.as_deref(),
        };
        let mut watcher = self.copy_watcher.take();
        let mut tell = |report: &LoadReport| {
            if let Some(watcher) = &mut watcher {
                watcher(CopyProgress { report, bytes_total });
            }
        };
        let loaded = self.load(request, &mut tell).map_err(|e| e.at(target.position));
        self.copy_watcher = watcher;
        loaded
    }

    fn copy_to(
        &mut self,
        parsed: &ParsedStatement,
        query: &Statement,
        path: &str,
        options: &CopyOptions,
    ) -> Result<u64> {
        let inner = ParsedStatement {
            statement: query.clone(),
            text: copied_query_text(&parsed.text),
            position: parsed.position,
        };
        let Outcome::Query(stream) = self.run(&inner)? else {
            return Err(Error::statement("COPY (…) TO takes a SELECT"));
        };
        if stream.kind == ResultKind::Push {
            return Err(Error::statement("COPY (…) TO takes a SELECT without EMIT: a push query does not end"));
        }
        write_file(stream, &self.path(path), options.format)
    }

    fn path(&self, path: &str) -> PathBuf {
        match &self.access.base {
            Some(base) => base.join(path),
            None => PathBuf::from(path),
        }
    }
}

/// The text between `COPY (` and `) TO`.
fn copied_query_text(text: &str) -> String {
    let start = text.find('(').map_or(0, |i| i + 1);
    let end = text.rfind(')').filter(|e| *e > start);
    // Options of the statement may hold parentheses, too: the query ends at the one before TO.
    let to = text.to_uppercase().rfind(") TO ").or(end).unwrap_or(text.len());
    text.get(start..to).unwrap_or(text).trim().to_string()
}

struct CopyOptions {
    format: LoadFormat,
    null: Option<String>,
    key: Option<String>,
    timestamp: Option<String>,
}

impl CopyOptions {
    /// Without FORMAT the file's ending says it; JSON if that says nothing.
    fn new(options: &[Property], path: &str) -> Result<Self> {
        let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
        let format = if ending.eq_ignore_ascii_case("csv") { LoadFormat::Csv } else { LoadFormat::Json };
        let mut all = Self { format, null: None, key: None, timestamp: None };
        for option in options {
            let Literal::String(value) = &option.value else {
                return Err(Error::statement(format!("COPY option {} takes a string", option.name)).at(option.position));
            };
            match option.name.as_str() {
                "FORMAT" if value.eq_ignore_ascii_case("csv") => all.format = LoadFormat::Csv,
                "FORMAT" if value.eq_ignore_ascii_case("json") => all.format = LoadFormat::Json,
                "FORMAT" => {
                    return Err(Error::statement(format!("COPY cannot read or write format {value}"))
                        .at(option.position)
                        .with_hint("FORMAT is 'csv' or 'json'"));
                }
                "NULL" => all.null = Some(value.clone()),
                "KEY" => all.key = Some(value.clone()),
                "TIMESTAMP" => all.timestamp = Some(value.clone()),
                name => {
                    return Err(Error::statement(format!("COPY has no option {name}"))
                        .at(option.position)
                        .with_hint("FORMAT, NULL, KEY and TIMESTAMP are its options"));
                }
            }
        }
        Ok(all)
    }
}
