//! The words of the grammar: which are reserved, and which one a misspelt word was meant to be.
//!
//! A reserved word can name nothing unless it is quoted; the others are keywords only where the grammar expects them.

/// Reserved as in ksqlDB.
const RESERVED: &[&str] = &[
    "ADVANCE",
    "ALL",
    "AND",
    "AS",
    "AT",
    "BEGINNING",
    "BETWEEN",
    "BY",
    "CASE",
    "CAST",
    "CATALOG",
    "CONNECTOR",
    "CONNECTORS",
    "CREATE",
    "DAYS",
    "DECIMAL",
    "DELETE",
    "DESCRIBE",
    "DISTINCT",
    "DROP",
    "ELSE",
    "END",
    "EXISTS",
    "EXPORT",
    "EXTENDED",
    "FALSE",
    "FROM",
    "FULL",
    "GROUP",
    "HAVING",
    "HOPPING",
    "HOURS",
    "IN",
    "INNER",
    "INSERT",
    "INTO",
    "IS",
    "JOIN",
    "LEFT",
    "LIKE",
    "LIMIT",
    "LIST",
    "LOAD",
    "MATERIALIZED",
    "MILLISECOND",
    "MILLISECONDS",
    "MINUTES",
    "MONTHS",
    "NAMESPACE",
    "NOT",
    "NULL",
    "ON",
    "OR",
    "OUTER",
    "PAUSE",
    "PRINT",
    "PROPERTIES",
    "QUERIES",
    "QUERY",
    "RENAME",
    "RESUME",
    "RETENTION",
    "RIGHT",
    "RUN",
    "SAMPLE",
    "SCRIPT",
    "SECONDS",
    "SELECT",
    "SIZE",
    "STREAM",
    "STREAMS",
    "TABLE",
    "TERMINATE",
    "THEN",
    "TO",
    "TOPIC",
    "TOPICS",
    "TRUE",
    "TUMBLING",
    "UNSET",
    "VALUES",
    "VIEW",
    "WHEN",
    "WHERE",
    "WINDOW",
    "WITH",
    "WITHIN",
    "YEARS",
];

/// Words the grammar knows that can also be names.
const UNRESERVED: &[&str] = &[
    "ADD",
    "ALTER",
    "ANALYZE",
    "ARRAY",
    "ASSERT",
    "BIGINT",
    "BOOLEAN",
    "BYTES",
    "CHANGES",
    "COLUMN",
    "COLUMNS",
    "COPY",
    "CROSS",
    "DATE",
    "DAY",
    "DEC",
    "DEFINE",
    "DOUBLE",
    "EMIT",
    "ESCAPE",
    "EXCEPT",
    "EXPLAIN",
    "FINAL",
    "FUNCTION",
    "FUNCTIONS",
    "GRACE",
    "HEADER",
    "HEADERS",
    "HOUR",
    "ID",
    "IF",
    "INT",
    "INTEGER",
    "INTERSECT",
    "INTERVAL",
    "KEY",
    "MAP",
    "MINUTE",
    "MONTH",
    "OFFSET",
    "ORDER",
    "OVER",
    "PARTITION",
    "PARTITIONS",
    "PERIOD",
    "PLUGINS",
    "PRIMARY",
    "REPLACE",
    "RESET",
    "SCHEMA",
    "SECOND",
    "SESSION",
    "SET",
    "SHOW",
    "SINK",
    "SOURCE",
    "STRING",
    "STRUCT",
    "SUBJECT",
    "SYSTEM",
    "TABLES",
    "TIME",
    "TIMEOUT",
    "TIMESTAMP",
    "TYPE",
    "TYPES",
    "UNDEFINE",
    "UNION",
    "USING",
    "VARCHAR",
    "VARIABLES",
    "YEAR",
    "ZONE",
];

/// Words that cannot be an alias without AS, outside strict mode: in wider SQL they start a clause or a join.
const NO_BARE_ALIAS: &[&str] = &[
    "ANTI",
    "ASOF",
    "CLUSTER",
    "CONNECT",
    "CROSS",
    "DISTRIBUTE",
    "EXCEPT",
    "FETCH",
    "FOR",
    "INTERSECT",
    "LATERAL",
    "MATCH_RECOGNIZE",
    "MINUS",
    "NATURAL",
    "OFFSET",
    "ORDER",
    "OVER",
    "PIVOT",
    "PREWHERE",
    "QUALIFY",
    "SEMI",
    "SORT",
    "START",
    "TABLESAMPLE",
    "UNION",
    "UNPIVOT",
    "USING",
];

/// Words a statement can start with.
pub(crate) const STATEMENT_STARTS: &[&str] = &[
    "ALTER",
    "ASSERT",
    "COPY",
    "CREATE",
    "DEFINE",
    "DESCRIBE",
    "DROP",
    "EXPLAIN",
    "INSERT",
    "LIST",
    "PAUSE",
    "PRINT",
    "RESUME",
    "RUN",
    "SELECT",
    "SET",
    "SHOW",
    "TERMINATE",
    "UNDEFINE",
    "UNSET",
    "VALUES",
    "WITH",
];

/// All keywords, for completion and highlighting.
pub fn keywords() -> impl Iterator<Item = &'static str> {
    RESERVED.iter().chain(UNRESERVED).copied()
}

/// Whether the upper-case `word` can be a name only when quoted.
pub fn is_reserved(word: &str) -> bool {
    RESERVED.binary_search(&word).is_ok()
}

pub(crate) fn can_be_bare_alias(word: &str) -> bool {
    NO_BARE_ALIAS.binary_search(&word).is_err()
}

/// The candidate that `word` most likely misspells: at most one letter in three wrong, doubled, missing or swapped.
pub fn closest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word: Vec<char> = word.chars().collect();
    // Longer than any keyword or sensible name; keeps the comparison cheap.
    if word.len() < 2 || word.len() > 64 {
        return None;
    }
    candidates
        .into_iter()
        .map(|candidate| (edits(&word, &candidate.chars().collect::<Vec<_>>()), candidate))
        .filter(|(edits, candidate)| *edits > 0 && *edits <= (candidate.len().max(3) / 3).min(3))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, candidate)| candidate)
}

/// Insertions, deletions, replacements and swaps of neighbours that turn `a` into `b` (optimal string alignment).
fn edits(a: &[char], b: &[char]) -> usize {
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1];
        for j in 0..b.len() {
            let mut least = (last[j + 1] + 1).min(row[j] + 1).min(last[j] + usize::from(a[i] != b[j]));
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                least = least.min(before[j - 1] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn word_lists_are_sorted_and_apart() {
        for list in [RESERVED, UNRESERVED, NO_BARE_ALIAS, STATEMENT_STARTS] {
            assert!(list.is_sorted());
        }
        assert!(UNRESERVED.iter().all(|word| !is_reserved(word)));
    }

    #[test]
    fn misspelt_words_find_their_keyword() {
        for (word, meant) in [
            ("FORM", Some("FROM")),
            ("SELCT", Some("SELECT")),
            ("SELECT", None),
            ("STREEM", Some("STREAM")),
            ("XYZ", None),
        ] {
            assert_eq!(closest(word, ["FROM", "SELECT", "STREAM"]), meant, "{word}");
        }
    }
}
