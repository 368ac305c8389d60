//! Statements over several lines, as ksqlDB's messages show the statement that failed:
//!
//! ```text
//! CREATE TABLE OUTPUT WITH (KEY_FORMAT='KAFKA') AS SELECT
//!   TEST.F1 K1,
//!   COUNT(*) TOTAL
//! FROM TEST TEST
//! GROUP BY TEST.F1
//! EMIT CHANGES
//! ```
//!
//! It prints the tree it is given: whoever reports the error names columns and sources in full first.

use std::fmt::Display;

use super::ast::{Emit, Expr, Join, JoinKind, Property, Query, Relation, SelectItem, Statement, Window, WindowKind};
use super::print::{Name, Printed, Style};

/// A statement as ksqlDB formats it. Statements without a query are one line.
pub(super) fn formatted(statement: &Statement) -> String {
    match statement {
        Statement::Query(query) => formatted_query(query),
        Statement::CreateAs(create) => format!(
            "CREATE {}{} {}{}{} AS {}",
            if create.or_replace { "OR REPLACE " } else { "" },
            create.kind,
            if create.if_not_exists { "IF NOT EXISTS " } else { "" },
            name(&create.name.name),
            with(&create.properties),
            formatted_query(&create.query)
        ),
        Statement::InsertSelect(insert) => format!(
            "INSERT INTO {}{} {}",
            name(&insert.target.name),
            with(&insert.properties),
            formatted_query(&insert.query)
        ),
        other => other.to_string(),
    }
}

fn name(name: &str) -> Name<'_> {
    Name(name, Style::Formatted)
}

fn expression(expr: &Expr) -> Printed<'_, Expr> {
    Printed { node: expr, style: Style::Formatted }
}

fn joined<T, D: Display>(items: &[T], separator: &str, print: impl Fn(&T) -> D) -> String {
    items.iter().map(|item| print(item).to_string()).collect::<Vec<_>>().join(separator)
}

fn with(properties: &[Property]) -> String {
    if properties.is_empty() {
        return String::new();
    }
    format!(" WITH ({})", joined(properties, ", ", |p| format!("{}={}", p.name, p.value)))
}

fn formatted_query(query: &Query) -> String {
    let select = match query.select.as_slice() {
        [one] => format!(" {}", select_item(one)),
        several => format!("\n  {}", joined(several, ",\n  ", select_item)),
    };
    let mut lines = vec![format!("SELECT{select}"), format!("FROM {}", relation(&query.from))];
    lines.extend(query.joins.iter().map(join));
    lines.extend(query.window.as_ref().map(|w| format!("WINDOW {} ", window(w))));
    lines.extend(query.filter.as_ref().map(|filter| format!("WHERE {}", expression(filter))));
    for (clause, list) in [("GROUP", &query.group_by), ("PARTITION", &query.partition_by)] {
        if !list.is_empty() {
            lines.push(format!("{clause} BY {}", joined(list, ", ", |e| expression(e).to_string())));
        }
    }
    lines.extend(query.having.as_ref().map(|having| format!("HAVING {}", expression(having))));
    lines.extend(query.emit.map(|emit| match emit {
        Emit::Changes => "EMIT CHANGES".to_string(),
        Emit::Final => "EMIT FINAL".to_string(),
    }));
    lines.extend(query.limit.map(|limit| format!("LIMIT {limit}")));
    lines.join("\n")
}

fn select_item(item: &SelectItem) -> String {
    match item {
        SelectItem::Star { source: None, .. } => "*".to_string(),
        SelectItem::Star { source: Some(source), .. } => format!("{}.*", name(source)),
        SelectItem::StructStar(expr) => format!("{}->*", expression(expr)),
        SelectItem::Expr { expr, alias: None } => expression(expr).to_string(),
        SelectItem::Expr { expr, alias: Some(alias) } => format!("{} {}", expression(expr), name(alias)),
    }
}

fn relation(relation: &Relation) -> String {
    format!("{} {}", name(&relation.name.name), name(relation.alias_or_name()))
}

fn join(join: &Join) -> String {
    let kind = match join.kind {
        JoinKind::Inner => "INNER",
        JoinKind::Left => "LEFT OUTER",
        JoinKind::Right => "RIGHT OUTER",
        JoinKind::Full => "FULL OUTER",
    };
    let within = join.within.map(|within| {
        let grace = within.grace_ms.map(|ms| format!(" GRACE PERIOD {}", duration(ms))).unwrap_or_default();
        if within.before_ms == within.after_ms {
            format!(" WITHIN {}{grace}", duration(within.before_ms))
        } else {
            format!(" WITHIN ({}, {}){grace}", duration(within.before_ms), duration(within.after_ms))
        }
    });
    // The condition prints its own parentheses, and ksqlDB adds another pair.
    format!("{kind} JOIN {}{} ON ({})", relation(&join.relation), within.unwrap_or_default(), expression(&join.on))
}

fn window(window: &Window) -> String {
    let bounds = [("RETENTION", window.retention_ms), ("GRACE PERIOD", window.grace_ms)];
    let bounds: String =
        bounds.iter().filter_map(|(what, ms)| ms.map(|ms| format!(" , {what} {}", duration(ms)))).collect();
    match window.kind {
        WindowKind::Tumbling { size_ms } => format!("TUMBLING ( SIZE {}{bounds} )", duration(size_ms)),
        WindowKind::Hopping { size_ms, advance_ms } => {
            format!("HOPPING ( SIZE {} , ADVANCE BY {}{bounds} )", duration(size_ms), duration(advance_ms))
        }
        WindowKind::Session { gap_ms } => format!("SESSION ( {}{bounds} )", duration(gap_ms)),
    }
}

/// In the largest unit that leaves no rest.
fn duration(ms: i64) -> String {
    let units = [("DAYS", 86_400_000), ("HOURS", 3_600_000), ("MINUTES", 60_000), ("SECONDS", 1_000)];
    match units.iter().find(|(_, unit_ms)| ms > 0 && ms % unit_ms == 0) {
        Some((unit, unit_ms)) => format!("{} {unit}", ms / unit_ms),
        None => format!("{ms} MILLISECONDS"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ParseOptions, parse};
    use super::*;

    #[test]
    fn statements_lay_out_clause_by_clause() {
        let text = "create table output with (key_format='KAFKA') as select t.f1 as k1, `x y` as `select`, count(*) \
                    total, not a like 'b' from test t left join u within 1 hour on t.a = u.a window tumbling (size 90 \
                    seconds) where a is null group by t.f1, `x y` having count(*) > 1 emit changes limit 2";
        let statements = parse(text, &Default::default(), ParseOptions::default()).unwrap();
        let printed = "CREATE TABLE OUTPUT WITH (KEY_FORMAT='KAFKA') AS SELECT\n  T.F1 K1,\n  `x y` `select`,\n  COUNT(*) \
                       TOTAL,\n  (NOT (A LIKE 'b'))\nFROM TEST T\nLEFT OUTER JOIN U U WITHIN 1 HOURS ON ((T.A = U.A))\n\
                       WINDOW TUMBLING ( SIZE 90 SECONDS ) \nWHERE (A IS NULL)\nGROUP BY T.F1, `x y`\nHAVING (COUNT(*) > \
                       1)\nEMIT CHANGES\nLIMIT 2";
        assert_eq!(formatted(&statements[0].statement), printed);
    }
}
