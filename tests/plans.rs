//! Stored plans go on running after an upgrade: a handful per format number, each with the SQL it came from.
//!
//! `tests/plans/<format>/<name>.sql` holds what makes the query, `----`, what is inserted and asked, `----`, the answer;
//! `<name>.json` holds the plan as it was stored. Every plan must load, lower and run to its answer. Of the current
//! format, today's plan of the same SQL must also be stored the same: if it is not, either the change was not meant to
//! show, or [`PLAN_FORMAT`] goes up and the old files stay.
//!
//! `HEADWATER_UPDATE_PLANS=1 cargo test plans` stores today's plans of the current format; read the difference.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use headwater_engine::catalog::PersistentQuery;
use headwater_engine::plan::steps::{PLAN_FORMAT, Plan};
use headwater_tests::sql::{memory_session, run};

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
}

#[test]
fn stored_plans_of_every_format_run_as_they_did() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    let mut current = 0;
    let mut wrong = Vec::new();
    for folder in entries(&root) {
        let format: u32 =
            folder.file_name().and_then(|n| n.to_str()?.parse().ok()).expect("folders are format numbers");
        for file in entries(&folder).iter().filter(|file| file.extension().is_some_and(|e| e == "sql")) {
            current += usize::from(format == PLAN_FORMAT);
            if let Err(reason) = check(file, format) {
                wrong.push(format!("{}: {reason}", file.display()));
            }
        }
    }
    assert!(current >= 5, "format {PLAN_FORMAT} has {current} plans only");
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

fn check(file: &Path, format: u32) -> Result<(), String> {
    let text = fs::read_to_string(file).map_err(|e| e.to_string())?;
    let [setup, script, answer] = text.splitn(3, "\n----\n").collect::<Vec<_>>()[..] else {
        return Err("three parts are wanted".into());
    };
    let mut session = memory_session();
    run(&mut session, setup).map_err(|e| e.to_string())?;
    let engine = session.engine().clone();
    let catalog = engine.catalog();
    let query = (*catalog.queries_in_order().last().ok_or("no query is made")?).clone();
    let stored_at = file.with_extension("json");
    let today = serde_json::to_string_pretty(&query.plan).map_err(|e| e.to_string())? + "\n";
    if format == PLAN_FORMAT && std::env::var_os("HEADWATER_UPDATE_PLANS").is_some() {
        fs::write(&stored_at, &today).map_err(|e| e.to_string())?;
    }
    let stored = fs::read_to_string(&stored_at).map_err(|e| format!("{}: {e}", stored_at.display()))?;
    if format == PLAN_FORMAT && stored != today {
        let line = stored
            .lines()
            .zip(today.lines())
            .position(|(a, b)| a != b)
            .unwrap_or(stored.lines().count().min(today.lines().count()));
        return Err(format!(
            "today's plan is stored differently from line {} on:\n  stored {:?}\n  today  {:?}",
            line + 1,
            stored.lines().nth(line),
            today.lines().nth(line)
        ));
    }
    let plan: Plan = serde_json::from_str(&stored).map_err(|e| format!("the plan cannot be loaded: {e}"))?;
    if plan.format != format {
        return Err(format!("the plan is of format {}", plan.format));
    }
    engine.runtime().stop(&query.id);
    let definition = Arc::new(PersistentQuery { plan, ..(*query).clone() });
    engine.runtime().start(definition, &catalog).map_err(|e| format!("the plan cannot be started: {e}"))?;
    let rows = run(&mut session, script).map_err(|e| e.to_string())?.join("\n");
    if rows != answer.trim_end() {
        return Err(format!("it answers\n{rows}\ninstead of\n{answer}"));
    }
    Ok(())
}
