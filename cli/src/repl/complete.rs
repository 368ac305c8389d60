//! What Tab offers: it depends on where in the statement the cursor is.
//!
//! | before the cursor | offered |
//! |---|---|
//! | nothing | words a statement begins with |
//! | `FROM`, `JOIN`, `INTO`, `DESCRIBE`, `DROP STREAM` | streams and tables |
//! | `PRINT` | topics |
//! | `TERMINATE`, `PAUSE`, `RESUME`, `EXPLAIN` | query ids |
//! | `SHOW`, `LIST` | what can be shown |
//! | `WITH (` and `,` in it; after `=` | option names; their values |
//! | `SET '` | settings |
//! | anything else | columns of the statement's sources, functions, keywords |

use headwater_engine::config;

use super::words;
use crate::backend::{Names, SourceNames};
use crate::sql_text::{Token, TokenKind, statements, tokens};

/// Where the replaced word starts, and what may stand there, sorted.
pub fn complete(text: &str, at: usize, names: &Names) -> (usize, Vec<String>) {
    let before = &text[..at];
    let all = tokens(before);
    // Only the statement the cursor is in counts.
    let first = all.iter().rposition(|t| t.text == ";").map_or(0, |i| i + 1);
    let mut tokens: Vec<Token<'_>> = all[first..].to_vec();
    tokens.retain(|t| t.kind != TokenKind::Comment);
    let (start, typed) = match tokens.last() {
        Some(t) if t.kind == TokenKind::Word => (t.start, t.text),
        Some(t) if t.kind == TokenKind::String && !t.complete => (t.start + 1, &t.text[1..]),
        _ => (at, ""),
    };
    let in_string = tokens.last().is_some_and(|t| t.kind == TokenKind::String && !t.complete);
    if !typed.is_empty() || in_string {
        tokens.pop();
    }
    tokens.retain(|t| t.kind != TokenKind::Space);

    let statement = statements(text).into_iter().rfind(|p| offset_of(text, p.text) <= at).map_or(text, |p| p.text);
    let mut offered = if in_string { in_quotes(&tokens) } else { candidates(&tokens, statement, names) };
    let lower = typed.chars().any(char::is_lowercase) && !in_string;
    for candidate in &mut offered {
        if lower && !candidate.starts_with('`') && *candidate == candidate.to_uppercase() && !candidate.contains('\'') {
            *candidate = candidate.to_lowercase();
        }
    }
    let wanted = typed.to_lowercase();
    offered.retain(|c| c.trim_start_matches('`').to_lowercase().starts_with(&wanted));
    offered.sort();
    offered.dedup();
    (start, offered)
}

fn offset_of(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

fn in_quotes(tokens: &[Token<'_>]) -> Vec<String> {
    match tokens.last() {
        Some(t) if t.text.eq_ignore_ascii_case("SET") || t.text.eq_ignore_ascii_case("UNSET") => {
            config::SETTINGS.iter().filter(|s| s.editable).map(|s| s.name.to_string()).collect()
        }
        _ => Vec::new(),
    }
}

fn candidates(tokens: &[Token<'_>], statement: &str, names: &Names) -> Vec<String> {
    let word = |back: usize| -> String {
        let index = tokens.len().checked_sub(back + 1);
        index.map_or_else(String::new, |i| tokens[i].text.to_uppercase())
    };
    if let Some(offered) = in_with(tokens) {
        return offered;
    }
    match word(0).as_str() {
        "" => strings(words::STATEMENT_STARTS),
        "FROM" | "JOIN" | "INTO" | "DESCRIBE" => names.sources.iter().map(|s| quoted(&s.name)).collect(),
        "STREAM" | "TABLE" if matches!(word(1).as_str(), "DROP" | "ALTER" | "ASSERT") => {
            let table = word(0) == "TABLE";
            names.sources.iter().filter(|s| s.is_table == table).map(|s| quoted(&s.name)).collect()
        }
        "EXISTS" if word(1) == "IF" && statement.trim_start().to_uppercase().starts_with("DROP") => {
            names.sources.iter().map(|s| quoted(&s.name)).collect()
        }
        "PRINT" => names.topics.iter().map(|t| quoted(t)).collect(),
        "TERMINATE" | "PAUSE" | "RESUME" => names.queries.iter().cloned().chain(["ALL".to_string()]).collect(),
        "EXPLAIN" => names.queries.iter().cloned().chain(["SELECT".to_string()]).collect(),
        "SHOW" | "LIST" => strings(words::SHOWN),
        "CREATE" => strings(&["OR REPLACE", "SOURCE", "STREAM", "TABLE", "TYPE"]),
        "DROP" => strings(&["STREAM", "TABLE", "TYPE"]),
        "EMIT" => strings(&["CHANGES", "FINAL"]),
        "WINDOW" => strings(&["TUMBLING", "HOPPING", "SESSION"]),
        "." => {
            let alias = word(1);
            let sources = names.sources.iter().filter(|s| s.name.to_uppercase() == alias);
            let columns: Vec<String> = sources.flat_map(|s| s.columns.iter().map(|c| quoted(c))).collect();
            if columns.is_empty() { columns_of(statement, names) } else { columns }
        }
        _ => {
            let mut all = columns_of(statement, names);
            all.extend(names.functions.iter().map(|f| format!("{f}(")));
            all.extend(strings(words::KEYWORDS));
            all
        }
    }
}

/// Inside of the parentheses of WITH.
fn in_with(tokens: &[Token<'_>]) -> Option<Vec<String>> {
    let open = tokens.windows(2).rposition(|w| w[0].text.eq_ignore_ascii_case("WITH") && w[1].text == "(")?;
    let inside = &tokens[open + 2..];
    if inside.iter().any(|t| t.text == ")") {
        return None;
    }
    match inside {
        [] => Some(words::WITH_OPTIONS.iter().map(|(name, _)| format!("{name}=")).collect()),
        [.., comma] if comma.text == "," => {
            let given: Vec<String> = inside.iter().map(|t| t.text.to_uppercase()).collect();
            let free = words::WITH_OPTIONS.iter().filter(|(name, _)| !given.iter().any(|g| g == name));
            Some(free.map(|(name, _)| format!("{name}=")).collect())
        }
        [.., name, equals] if equals.text == "=" => {
            let name = name.text.to_uppercase();
            let values = words::WITH_OPTIONS.iter().find(|(option, _)| *option == name).map(|(_, values)| *values);
            Some(strings(values.unwrap_or_default()))
        }
        _ => Some(Vec::new()),
    }
}

/// Columns of the sources the statement names, or of all if it names none yet.
fn columns_of(statement: &str, names: &Names) -> Vec<String> {
    let words: Vec<String> = tokens(statement)
        .into_iter()
        .filter(|t| matches!(t.kind, TokenKind::Word | TokenKind::QuotedName))
        .map(|t| match t.kind {
            TokenKind::Word => t.text.to_uppercase(),
            _ => t.text.trim_matches(['`', '"']).to_string(),
        })
        .collect();
    let named: Vec<&SourceNames> = names.sources.iter().filter(|s| words.contains(&s.name)).collect();
    let sources = if named.is_empty() { names.sources.iter().collect() } else { named };
    sources.iter().flat_map(|s| s.columns.iter().map(|c| quoted(c))).collect()
}

/// Names that are not plain upper case must be quoted to be found.
fn quoted(name: &str) -> String {
    let plain = name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || matches!(c, '_' | '$'))
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !words::is_keyword(name);
    if plain { name.to_string() } else { format!("`{}`", name.replace('`', "``")) }
}

fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(|w| w.to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        let source = |name: &str, is_table, columns: &[&str]| SourceNames {
            name: name.into(),
            is_table,
            columns: strings(columns),
        };
        Names {
            sources: vec![source("FLIGHTS", false, &["ORIGIN", "DELAY"]), source("WEATHER", true, &["STATION"])],
            topics: strings(&["flights"]),
            queries: strings(&["CTAS_DELAYS_1"]),
            functions: strings(&["COUNT", "CONCAT"]),
        }
    }

    fn offered(text: &str) -> Vec<String> {
        let at = text.find('|').unwrap();
        complete(&text.replace('|', ""), at, &names()).1
    }

    #[test]
    fn the_place_decides_what_is_offered() {
        assert_eq!(offered("SELECT * FROM |"), ["FLIGHTS", "WEATHER"]);
        assert_eq!(offered("SELECT * FROM F|"), ["FLIGHTS"]);
        assert_eq!(offered("select * from f|"), ["flights"]);
        assert_eq!(offered("DROP TABLE |"), ["WEATHER"]);
        assert_eq!(offered("PRINT |"), ["`flights`"]);
        assert_eq!(offered("TERMINATE C|"), ["CTAS_DELAYS_1"]);
        assert_eq!(offered("SHOW ST|"), ["STREAMS"]);
        assert_eq!(offered("DESCRIBE FLI|"), ["FLIGHTS"]);
        assert_eq!(offered("SELECT 1; DES|"), ["DESCRIBE"]);
    }

    #[test]
    fn columns_come_from_the_statements_sources() {
        let columns = offered("SELECT | FROM weather");
        assert!(columns.contains(&"STATION".to_string()) && !columns.contains(&"ORIGIN".to_string()));
        assert!(offered("SELECT co|").contains(&"count(".to_string()));
    }

    #[test]
    fn with_offers_options_and_their_values() {
        assert!(offered("CREATE STREAM s (a INT) WITH (|").contains(&"KAFKA_TOPIC=".to_string()));
        let rest = offered("CREATE STREAM s (a INT) WITH (kafka_topic='t', |");
        assert!(!rest.contains(&"KAFKA_TOPIC=".to_string()));
        assert!(offered("CREATE STREAM s (a INT) WITH (value_format=|").contains(&"'JSON'".to_string()));
        assert!(offered("SET 'auto.|").contains(&"auto.offset.reset".to_string()));
    }
}
