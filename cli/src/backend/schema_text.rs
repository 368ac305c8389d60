//! Reads the schema text of a query's header: ``"`K` STRING KEY, `V` STRUCT<`A` INTEGER, `B` DECIMAL(4, 2)>"``.

use super::Column;

/// Cuts at commas outside of brackets and quotes; what has no quoted name is taken as it is.
pub fn columns(schema: &str) -> Vec<Column> {
    let mut columns = Vec::new();
    let (mut depth, mut quoted, mut start) = (0usize, false, 0);
    for (at, c) in schema.char_indices() {
        match c {
            '`' => quoted = !quoted,
            _ if quoted => {}
            '<' | '(' => depth += 1,
            '>' | ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                columns.push(column(&schema[start..at]));
                start = at + 1;
            }
            _ => {}
        }
    }
    if !schema[start..].trim().is_empty() {
        columns.push(column(&schema[start..]));
    }
    columns
}

fn column(text: &str) -> Column {
    let text = text.trim();
    let text = text.strip_suffix(" KEY").unwrap_or(text);
    match text.strip_prefix('`').and_then(|rest| rest.split_once('`')) {
        Some((name, ty)) => Column { name: name.to_string(), ty: ty.trim().to_string() },
        None => Column { name: text.to_string(), ty: String::new() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_types_keep_their_commas() {
        let read = columns("`K` STRING KEY, `a, b` STRUCT<`A` INTEGER, `B` DECIMAL(4, 2)>, `V` BIGINT");
        let read: Vec<_> = read.iter().map(|c| (c.name.as_str(), c.ty.as_str())).collect();
        assert_eq!(read, [("K", "STRING"), ("a, b", "STRUCT<`A` INTEGER, `B` DECIMAL(4, 2)>"), ("V", "BIGINT")]);
        assert!(columns("").is_empty());
    }
}
