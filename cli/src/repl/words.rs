//! The words the shell knows by itself: keywords to colour and complete, WITH options and their values.

/// What a statement can begin with.
pub const STATEMENT_STARTS: &[&str] = &[
    "ALTER", "ASSERT", "COPY", "CREATE", "DEFINE", "DESCRIBE", "DROP", "EXPLAIN", "INSERT INTO", "LIST", "PAUSE",
    "PRINT", "RESUME", "RUN SCRIPT", "SELECT", "SET", "SHOW", "TERMINATE", "UNDEFINE", "UNSET", "WITH",
];

pub const KEYWORDS: &[&str] = &[
    "ADD", "ADVANCE", "ALL", "ALTER", "AND", "ARRAY", "AS", "ASSERT", "AT", "BEGINNING", "BETWEEN", "BIGINT", "BOOLEAN",
    "BY", "BYTES", "CASE", "CAST", "CHANGES", "COLUMN", "COLUMNS", "CONNECTOR", "CONNECTORS", "COPY", "CREATE", "DATE",
    "DAY", "DAYS", "DECIMAL", "DEFINE", "DELETE", "DESCRIBE", "DISTINCT", "DOUBLE", "DROP", "ELSE", "EMIT", "END",
    "ESCAPE", "EXISTS", "EXPLAIN", "EXTENDED", "FALSE", "FINAL", "FROM", "FULL", "FUNCTION", "FUNCTIONS", "GRACE",
    "GROUP", "HAVING", "HEADER", "HEADERS", "HOPPING", "HOUR", "HOURS", "IF", "IN", "INNER", "INSERT", "INT", "INTEGER",
    "INTERVAL", "INTO", "IS", "JOIN", "KEY", "LEFT", "LIKE", "LIMIT", "LIST", "MAP", "MILLISECONDS", "MINUTE",
    "MINUTES", "NOT", "NULL", "ON", "OR", "ORDER", "OUTER", "OVER", "PARTITION", "PARTITIONS", "PAUSE", "PERIOD",
    "PRIMARY", "PRINT", "PROPERTIES", "QUERIES", "REPLACE", "RESUME", "RETENTION", "RIGHT", "RUN", "SAMPLE", "SCRIPT",
    "SECOND", "SECONDS", "SELECT", "SESSION", "SET", "SHOW", "SIZE", "SOURCE", "STREAM", "STREAMS", "STRING", "STRUCT",
    "TABLE", "TABLES", "TERMINATE", "THEN", "TIME", "TIMESTAMP", "TO", "TOPIC", "TOPICS", "TRUE", "TUMBLING", "TYPE",
    "TYPES", "UNDEFINE", "UNION", "UNSET", "VALUES", "VARCHAR", "VARIABLES", "WHEN", "WHERE", "WINDOW", "WITH",
    "WITHIN", "YEAR", "YEARS", "ZONE",
];

/// Options of CREATE … WITH, and the values that are worth offering.
pub const WITH_OPTIONS: &[(&str, &[&str])] = &[
    ("KAFKA_TOPIC", &[]),
    ("VALUE_FORMAT", FORMATS),
    ("KEY_FORMAT", FORMATS),
    ("FORMAT", FORMATS),
    ("PARTITIONS", &[]),
    ("REPLICAS", &[]),
    ("TIMESTAMP", &[]),
    ("TIMESTAMP_FORMAT", &[]),
    ("VALUE_DELIMITER", DELIMITERS),
    ("KEY_DELIMITER", DELIMITERS),
    ("WRAP_SINGLE_VALUE", &["true", "false"]),
    ("WINDOW_TYPE", &["'TUMBLING'", "'HOPPING'", "'SESSION'"]),
    ("WINDOW_SIZE", &[]),
    ("RETENTION_MS", &[]),
    ("CLEANUP_POLICY", &["'delete'", "'compact'"]),
];

const FORMATS: &[&str] = &["'JSON'", "'DELIMITED'", "'KAFKA'", "'NONE'"];
const DELIMITERS: &[&str] = &["'SPACE'", "'TAB'"];

/// What can follow SHOW and LIST.
pub const SHOWN: &[&str] = &[
    "ALL TOPICS", "FUNCTIONS", "PROPERTIES", "QUERIES", "STREAMS", "TABLES", "TOPICS", "TYPES", "VARIABLES",
];

pub fn is_keyword(word: &str) -> bool {
    KEYWORDS.binary_search(&word.to_ascii_uppercase().as_str()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_sorted_for_the_search() {
        assert!(KEYWORDS.is_sorted());
        assert!(is_keyword("select") && !is_keyword("selected"));
    }
}
