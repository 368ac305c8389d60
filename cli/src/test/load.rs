//! Files and folders → cases.
//!
//! ksqlDB's own JSON files may hold comments, a list `format` (every `{FORMAT}` in the statements is replaced by each in
//! turn) and a list `config` (likewise for the property whose value is `{CONFIG}`); a case is made for every combination.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::case::{Case, Suite, list, text};

pub fn load(paths: &[PathBuf]) -> Result<Vec<Case>, String> {
    let mut cases = Vec::new();
    for path in paths {
        let root = if path.is_dir() { path.as_path() } else { path.parent().unwrap_or(Path::new("")) };
        for file in files(path)? {
            let name = file.strip_prefix(root).unwrap_or(&file).to_string_lossy().into_owned();
            let content = fs::read_to_string(&file).map_err(|e| format!("cannot read {}: {e}", file.display()))?;
            let loaded = match file.extension().and_then(|e| e.to_str()) {
                Some("jsonl") => from_lines(&content),
                Some("json") => from_tests(&name, &content),
                _ => Ok(from_script(&name, &content, file.parent().unwrap_or(Path::new("")))),
            };
            cases.extend(loaded.map_err(|e| format!("{}: {e}", file.display()))?);
        }
    }
    Ok(cases)
}

fn files(path: &Path) -> Result<Vec<PathBuf>, String> {
    let unreadable = |e: std::io::Error| format!("cannot read {}: {e}", path.display());
    if !path.is_dir() {
        fs::metadata(path).map_err(unreadable)?;
        return Ok(vec![path.to_path_buf()]);
    }
    let mut entries: Vec<PathBuf> = fs::read_dir(path)
        .map_err(unreadable)?
        .map(|e| e.map(|e| e.path()))
        .collect::<Result<_, _>>()
        .map_err(unreadable)?;
    entries.sort();
    let mut found = Vec::new();
    for entry in entries {
        if entry.is_dir() {
            found.extend(files(&entry)?);
        } else if matches!(entry.extension().and_then(|e| e.to_str()), Some("jsonl" | "json" | "sql")) {
            found.push(entry);
        }
    }
    Ok(found)
}

fn from_lines(content: &str) -> Result<Vec<Case>, String> {
    let lines = content.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(i, line)| {
            let object: Value = serde_json::from_str(line).map_err(|e| format!("line {}: {e}", i + 1))?;
            Case::from_json(&object)
        })
        .collect()
}

fn from_tests(file: &str, content: &str) -> Result<Vec<Case>, String> {
    let object: Value = serde_json::from_str(&without_comments(content)).map_err(|e| e.to_string())?;
    let mut cases = Vec::new();
    for test in list(&object, "tests") {
        if test["enabled"].as_bool() == Some(false) {
            continue;
        }
        let name = text(test, "name").ok_or("a test without name")?;
        let formats = choices(test, "format");
        let configs = choices(test, "config");
        for format in &formats {
            for config in &configs {
                let mut fields = renamed(test);
                if let Some(format) = format.as_ref().and_then(Value::as_str) {
                    replace(&mut fields, "{FORMAT}", format);
                }
                if let (Some(config), Some(properties)) = (config, fields["properties"].as_object_mut()) {
                    for value in properties.values_mut().filter(|v| v.as_str() == Some("{CONFIG}")) {
                        *value = config.clone();
                    }
                }
                let variant: Vec<String> = [format, config].into_iter().flatten().map(plain).collect();
                let variant = if variant.is_empty() { "-".to_string() } else { variant.join(" ") };
                let rest = !list(test, "responses").is_empty() || test["expectedError"].is_object();
                let suite = if rest { Suite::Rest } else { Suite::Records };
                cases.push(Case::from_fields(format!("{file}::{name}::{variant}"), file.to_string(), suite, &fields)?);
            }
        }
    }
    Ok(cases)
}

fn choices(test: &Value, field: &str) -> Vec<Option<Value>> {
    match list(test, field) {
        [] => vec![None],
        some => some.iter().cloned().map(Some).collect(),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_string)
}

/// ksqlDB's field names → those of the line form.
fn renamed(test: &Value) -> Value {
    let mut fields: Map<String, Value> = test.as_object().cloned().unwrap_or_default();
    for (theirs, ours) in [
        ("expectedException", "expected_error"),
        ("expectedError", "expected_error"),
        ("inputConditions", "input_conditions"),
        ("outputConditions", "output_conditions"),
    ] {
        if let Some(value) = fields.remove(theirs) {
            fields.insert(ours.to_string(), value);
        }
    }
    Value::Object(fields)
}

fn replace(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if text.contains(from) => *text = text.replace(from, to),
        Value::Array(items) => items.iter_mut().for_each(|v| replace(v, from, to)),
        Value::Object(fields) => fields.values_mut().for_each(|v| replace(v, from, to)),
        _ => {}
    }
}

/// Comments become white space; strings are left alone.
fn without_comments(content: &str) -> String {
    let mut out = String::with_capacity(content.len());
    let mut rest = content;
    while let Some(at) = rest.find(['"', '/']) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let end = if rest.starts_with("//") {
            let end = rest.find('\n').unwrap_or(rest.len());
            out.push(' ');
            end
        } else if rest.starts_with("/*") {
            out.push(' ');
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with('"') {
            let end = string_end(rest);
            out.push_str(&rest[..end]);
            end
        } else {
            out.push('/');
            1
        };
        rest = &rest[end..];
    }
    out.push_str(rest);
    out
}

/// The place after the string that starts `text`.
fn string_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    text.len()
}

/// Sections of a script; text before the first `--@test:` belongs to none.
fn from_script(file: &str, content: &str, folder: &Path) -> Vec<Case> {
    let mut cases = Vec::new();
    let starts: Vec<usize> = content.match_indices("--@test:").map(|(at, _)| at).collect();
    for (i, &start) in starts.iter().enumerate() {
        let section = &content[start..starts.get(i + 1).copied().unwrap_or(content.len())];
        let directive = |name: &str| {
            let line = section.lines().find_map(|line| line.trim().strip_prefix(name));
            line.map(|rest| rest.trim().to_string())
        };
        let name = directive("--@test:").unwrap_or_default();
        let error = match (directive("--@expected.error:"), directive("--@expected.message:")) {
            (None, None) => Value::Null,
            (class, message) => json!({"type": class, "message": message}),
        };
        let fields = json!({"text": section, "expected_error": error, "scripts": scripts_named_in(section, folder)});
        let case = Case::from_fields(format!("{file}::{name}::-"), file.to_string(), Suite::Script, &fields);
        cases.extend(case);
    }
    cases
}

/// Files that RUN SCRIPT names, relative to the folder of the script.
fn scripts_named_in(section: &str, folder: &Path) -> Map<String, Value> {
    let mut scripts = Map::new();
    for line in section.lines() {
        let line = line.trim();
        if line.get(..10).is_some_and(|head| head.eq_ignore_ascii_case("RUN SCRIPT"))
            && let Some(path) = line.split('\'').nth(1)
            && let Ok(content) = fs::read_to_string(folder.join(path.trim_start_matches('/')))
        {
            scripts.insert(path.to_string(), Value::String(content));
        }
    }
    scripts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_formats_and_configs_are_expanded() -> Result<(), String> {
        let file = r#"{ // a comment with "quotes"
            "tests": [
                {"name": "n", "format": ["JSON", "KAFKA"], "config": ["a", "b"], "properties": {"p": "{CONFIG}"},
                 "statements": ["CREATE … '{FORMAT}' /* kept */;"], "expectedException": {"type": "x.Y", "message": "m"}},
                {"name": "off", "enabled": false} /* gone */
            ]}"#;
        let cases = from_tests("f.json", file)?;
        let ids: Vec<&str> = cases.iter().map(|c| c.id.as_str()).collect();
        assert_eq!(ids, ["f.json::n::JSON a", "f.json::n::JSON b", "f.json::n::KAFKA a", "f.json::n::KAFKA b"]);
        assert_eq!(cases[3].statements, ["CREATE … 'KAFKA' /* kept */;"]);
        assert_eq!(cases[3].properties["p"], "b");
        assert_eq!(cases[0].expected_error.as_ref().and_then(|e| e.class_name()), Some("Y"));
        Ok(())
    }

    #[test]
    fn scripts_are_cut_at_their_directives() {
        let script = "-- licence\n--@test: one\nA;\n--@test: two\n--@expected.error: x.Y\n--@expected.message: m\nB;";
        let cases = from_script("s.sql", script, Path::new(""));
        assert_eq!(cases.len(), 2);
        assert_eq!(cases[1].id, "s.sql::two::-");
        assert_eq!(cases[1].expected_error.as_ref().and_then(|e| e.message.clone()), Some("m".to_string()));
    }
}
