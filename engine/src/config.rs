//! Every setting: name with its unit, default, who may change it, and where the default comes from.
//!
//! SHOW PROPERTIES, `/is_valid_property` and the reference page are made from [`SETTINGS`].

use std::collections::BTreeMap;

use crate::error::{Error, Result};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingKind {
    Boolean,
    Integer,
    /// A whole number of bytes, at least 1.
    Bytes,
    Text,
}

/// Most state one query may keep.
pub const STATE_BYTES_MAX: &str = "query.state.bytes.max";
/// Most memory one batch query may use.
pub const BATCH_MEMORY_BYTES_MAX: &str = "batch.memory.bytes.max";

#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub name: &'static str,
    pub kind: SettingKind,
    pub default: Option<&'static str>,
    /// Whether SET may change it for a session.
    pub editable: bool,
    pub doc: &'static str,
}

const fn setting(name: &'static str, kind: SettingKind, default: Option<&'static str>, doc: &'static str) -> Setting {
    Setting { name, kind, default, editable: true, doc }
}

const fn fixed(name: &'static str, kind: SettingKind, default: Option<&'static str>, doc: &'static str) -> Setting {
    Setting { name, kind, default, editable: false, doc }
}

use SettingKind::{Boolean, Bytes, Integer, Text};

/// Settings that Headwater accepts without acting on them say so.
pub const SETTINGS: &[Setting] = &[
    setting(
        "auto.offset.reset",
        Text,
        None,
        "Where a new query starts: earliest or latest. Unset: persistent queries at earliest, SELECT … EMIT at latest (our choice; ksqlDB: latest for both).",
    ),
    setting(
        BATCH_MEMORY_BYTES_MAX,
        Bytes,
        Some("4294967296"),
        "Most memory one batch query may use for sorts, joins, groups and tables; beyond it the query ends with an error (our choice: 4 GiB).",
    ),
    setting(
        "cache.max.bytes.buffering",
        Integer,
        Some("0"),
        "Above 0, a query sends on only the last change per key of what it holds back up to these bytes; 0: every change (ksqlDB: 10485760).",
    ),
    setting(
        "commit.interval.ms",
        Integer,
        None,
        "With cache.max.bytes.buffering and without emit.buffer.ms: how long changes are held back at most (ksqlDB: 2000).",
    ),
    setting(
        "emit.buffer.ms",
        Integer,
        Some("0"),
        "Above 0, a query sends on only the last change per key of this time; 0: every change at once (ours).",
    ),
    setting(
        "ksql.functions.collect_list.limit",
        Integer,
        Some("2147483647"),
        "Largest list COLLECT_LIST builds; further values are ignored (ksqlDB).",
    ),
    setting(
        "ksql.functions.collect_set.limit",
        Integer,
        Some("2147483647"),
        "Largest set COLLECT_SET builds; further values are ignored (ksqlDB).",
    ),
    setting(
        "ksql.functions.substring.legacy.args",
        Boolean,
        Some("false"),
        "Accepted for compatibility; has no effect.",
    ),
    fixed(
        "ksql.headers.columns.enabled",
        Boolean,
        Some("true"),
        "HEADERS columns may always be declared; shown for compatibility.",
    ),
    setting("ksql.insert.into.values.enabled", Boolean, Some("true"), "Whether INSERT INTO … VALUES is allowed."),
    setting("ksql.lambdas.enabled", Boolean, Some("true"), "Whether lambdas are allowed."),
    setting("ksql.create.or.replace.enabled", Boolean, Some("true"), "Whether CREATE OR REPLACE is allowed."),
    setting("ksql.suppress.enabled", Boolean, Some("true"), "Whether EMIT FINAL is allowed."),
    setting("ksql.variable.substitution.enable", Boolean, Some("true"), "Whether ${name} is replaced."),
    setting(
        "ksql.output.topic.name.prefix",
        Text,
        Some(""),
        "Put before the topic names of CREATE … AS without KAFKA_TOPIC.",
    ),
    setting("ksql.persistence.default.format.key", Text, Some("KAFKA"), "Key format of a source that names none."),
    setting(
        "ksql.persistence.default.format.value",
        Text,
        None,
        "Value format of a source that names none (ksqlDB: none; outside strict mode JSON).",
    ),
    setting(
        "ksql.persistence.wrap.single.values",
        Boolean,
        None,
        "Whether a single value column is written as an object field.",
    ),
    setting("ksql.query.pull.limit.clause.enabled", Boolean, Some("true"), "Whether pull queries may have LIMIT."),
    setting("ksql.query.pull.range.scan.enabled", Boolean, Some("true"), "Whether pull queries may scan a key range."),
    setting("ksql.query.pull.stream.enabled", Boolean, Some("true"), "Whether streams may be pulled."),
    setting(
        "ksql.query.pull.table.scan.enabled",
        Boolean,
        Some("true"),
        "Whether pull queries may scan a whole table.",
    ),
    setting(
        "ksql.query.push.v2.enabled",
        Boolean,
        Some("false"),
        "Names push queries over what another query writes as ksqlDB does; a push query always reads the log.",
    ),
    setting(
        "ksql.new.query.planner.enabled",
        Boolean,
        Some("false"),
        "ksqlDB's newer projection rules, as its cases set them.",
    ),
    fixed("ksql.service.id", Text, Some("default_"), "Name of this service, as /info shows it."),
    setting(
        "ksql.sink.partitions",
        Integer,
        None,
        "Partitions of a new sink topic that names none (ksqlDB: obsolete).",
    ),
    setting("ksql.sink.replicas", Integer, None, "Accepted for compatibility; has no effect."),
    setting("ksql.streams.default.timestamp.extractor", Text, None, "Accepted for compatibility; has no effect."),
    setting("ksql.strict", Boolean, Some("false"), "Refuse everything ksqlDB refuses (on in headwater test)."),
    setting(
        "ksql.timestamp.throw.on.invalid",
        Boolean,
        Some("false"),
        "An invalid timestamp stops the query instead of setting the record aside.",
    ),
    setting("ksql.windowed.session.key.legacy", Boolean, Some("false"), "Accepted for compatibility; has no effect."),
    setting(
        "max.task.idle.ms",
        Integer,
        Some("0"),
        "How long a query over several inputs waits for one without data before it goes on with the others.",
    ),
    setting("num.stream.threads", Integer, None, "Accepted for compatibility; all queries share one pool."),
    setting(
        "processing.guarantee",
        Text,
        Some("exactly_once_v2"),
        "Headwater is always exactly-once; accepted for compatibility.",
    ),
    setting(
        STATE_BYTES_MAX,
        Bytes,
        Some("4294967296"),
        "Most memory the state of one query may take. A persistent query that passes it is parked between two runs, and RESUME after a larger value goes on there; a push query ends with an error (our choice: 4 GiB).",
    ),
    setting(
        "task.time.skew.max.ms",
        Integer,
        None,
        "How far one task of a repartitioned query may run ahead of its siblings in record time; unset: until a window would close for their rows, -1: as far as it can.",
    ),
];

/// Prefixes whose settings are Kafka's own: accepted, kept, without effect on the embedded log.
const COMPATIBLE_PREFIXES: [&str; 6] =
    ["ksql.streams.", "ksql.functions.", "consumer.", "producer.", "state.", "topology."];

/// A session's settings: overrides over defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    overrides: BTreeMap<String, String>,
}

impl Settings {
    pub fn from_overrides(overrides: BTreeMap<String, String>) -> Self {
        Self { overrides }
    }

    pub fn overrides(&self) -> &BTreeMap<String, String> {
        &self.overrides
    }

    /// The value that was set, with or without the `ksql.streams.` prefix.
    pub fn overridden(&self, name: &str) -> Option<&str> {
        let value = self.overrides.get(name).or_else(|| self.overrides.get(&format!("ksql.streams.{name}")));
        value.map(String::as_str)
    }

    /// Looks a setting up.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.overridden(name).or_else(|| SETTINGS.iter().find(|s| s.name == name).and_then(|s| s.default))
    }

    pub fn bool(&self, name: &str) -> bool {
        self.get(name).is_some_and(|v| v.eq_ignore_ascii_case("true"))
    }

    pub fn integer(&self, name: &str) -> Option<i64> {
        self.get(name).and_then(|v| v.parse().ok())
    }

    /// A setting of kind `Bytes`, which has a default and was checked when it was set.
    pub fn bytes(&self, name: &str) -> u64 {
        self.get(name).and_then(|v| v.parse().ok()).unwrap_or(u64::MAX)
    }

    /// Whether everything ksqlDB refuses is refused.
    pub fn strict(&self) -> bool {
        self.bool("ksql.strict")
    }

    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let setting = validate_name(name)?;
        if let Some(setting) = setting {
            if !setting.editable {
                return Err(Error::statement(format!("Cannot override property '{name}'")));
            }
            let wrong = match setting.kind {
                Boolean => !["true", "false"].contains(&value.to_ascii_lowercase().as_str()),
                Integer => value.parse::<i64>().is_err(),
                Bytes => value.parse::<i64>().map_or(true, |bytes| bytes < 1),
                Text => {
                    setting.name == "auto.offset.reset"
                        && !["earliest", "latest", "none"].contains(&value.to_ascii_lowercase().as_str())
                }
            };
            if wrong {
                return Err(Error::statement(format!("Invalid value {value} for property {name}"))
                    .with_hint(setting.doc.to_string()));
            }
        }
        self.overrides.insert(name.to_string(), value.to_string());
        Ok(())
    }

    /// The value it had, if it was set.
    pub fn unset(&mut self, name: &str) -> Option<String> {
        self.overrides.remove(name)
    }
}

/// The setting of that name; None for an accepted Kafka setting; an error for an unknown name.
pub fn validate_name(name: &str) -> Result<Option<&'static Setting>> {
    let plain = name.strip_prefix("ksql.streams.").unwrap_or(name);
    if let Some(setting) = SETTINGS.iter().find(|s| s.name == name || s.name == plain) {
        return Ok(Some(setting));
    }
    if COMPATIBLE_PREFIXES.iter().any(|p| name.starts_with(p)) {
        return Ok(None);
    }
    let near = nearest(name, SETTINGS.iter().map(|s| s.name));
    let error = Error::statement(format!("Unknown property: {name}"));
    Err(match near {
        Some(near) => error.with_hint(format!("did you mean '{near}'?")),
        None => error.with_hint("SHOW PROPERTIES lists them all".to_string()),
    })
}

/// The candidate a misspelt name most likely meant.
pub fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let bound = (name.chars().count() / 3).clamp(1, 4);
    candidates.map(|c| (distance(c, name), c)).filter(|(d, _)| *d <= bound).min().map(|(_, c)| c)
}

/// Edits between two names; used for every "did you mean".
pub fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut previous = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let substituted = previous + usize::from(x != *y);
            previous = row[j + 1];
            row[j + 1] = substituted.min(previous + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
