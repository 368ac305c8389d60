//! Statements in, plans or refusals out.

use std::collections::BTreeMap;

use crate::catalog::Catalog;
use crate::config::Settings;
use crate::error::Result;
use crate::plan::steps::{JoinShape, NamedExpr, Step, StepKind};
use crate::plan::{Planner, PullPlan, QueryPlan};
use crate::sql::ast::Statement;
use crate::sql::{self, ParseOptions};

/// A catalog that statements are planned into, one after another.
#[derive(Default)]
struct World {
    catalog: Catalog,
    topics: BTreeMap<String, u32>,
    settings: Settings,
}

enum Planned {
    Source,
    Query(Box<QueryPlan>),
    Pull(PullPlan),
}

impl World {
    fn of(sql: &str) -> Self {
        let mut world = World::default();
        world.settings.set("ksql.strict", "true").expect("a known setting");
        world.run(sql).unwrap_or_else(|e| panic!("{sql}: {e}"));
        world
    }

    /// Plans every statement; the last one's plan.
    fn run(&mut self, text: &str) -> Result<Planned> {
        let options = ParseOptions { strict: true, ..ParseOptions::default() };
        let mut last = Planned::Source;
        for parsed in sql::parse(text, &BTreeMap::new(), options)? {
            let topics = self.topics.clone();
            let partitions = move |name: &str| topics.get(name).copied();
            let planner = Planner { catalog: &self.catalog, settings: &self.settings, topic_partitions: &partitions };
            let mut made = None;
            last = match &parsed.statement {
                Statement::CreateSource(create) => {
                    made = Some(planner.create_source(create)?);
                    Planned::Source
                }
                Statement::CreateAs(create) => {
                    let plan = planner.create_as(create, "Q")?;
                    made.clone_from(&plan.sink);
                    Planned::Query(Box::new(plan))
                }
                Statement::InsertSelect(insert) => Planned::Query(Box::new(planner.insert_select(insert, "Q")?)),
                Statement::InsertValues(insert) => {
                    planner.insert_values(insert)?;
                    Planned::Source
                }
                Statement::Query(query) if query.emit.is_some() => Planned::Query(Box::new(planner.push(query)?)),
                Statement::Query(query) => Planned::Pull(planner.pull(query)?),
                alter @ Statement::AlterSource { .. } => {
                    let altered = planner.alter_source(alter)?;
                    self.catalog.sources.insert(altered.name.as_str().into(), altered.into());
                    Planned::Source
                }
                other => panic!("no plan for {other:?}"),
            };
            if let Some(made) = made {
                self.topics.extend(made.create_topic.map(|t| (t.name, t.partitions)));
                self.catalog.sources.insert(made.source.name.as_str().into(), made.source.into());
            }
        }
        Ok(last)
    }

    fn query(&mut self, sql: &str) -> String {
        match self.run(sql) {
            Ok(Planned::Query(plan)) => format!("\n{}", draw(&plan.plan.root, 0)),
            Ok(_) => panic!("{sql} is no query"),
            Err(e) => panic!("{sql}: {e}"),
        }
    }

    fn pull(&mut self, sql: &str) -> PullPlan {
        match self.run(sql) {
            Ok(Planned::Pull(plan)) => plan,
            Ok(_) => panic!("{sql} is no pull query"),
            Err(e) => panic!("{sql}: {e}"),
        }
    }

    fn refused(&mut self, sql: &str) -> String {
        match self.run(sql) {
            Ok(_) => panic!("{sql} was accepted"),
            Err(e) => e.message().to_string(),
        }
    }

    fn schema(&self, source: &str) -> String {
        self.catalog.sources[source].schema.to_string().replace('`', "")
    }
}

fn draw(step: &Step, depth: usize) -> String {
    let names = |list: &[NamedExpr]| list.iter().map(|n| n.name.as_str()).collect::<Vec<_>>().join(" ");
    let what = match &step.kind {
        StepKind::Scan(scan) => {
            let columns: Vec<&str> = scan.columns.iter().map(|(name, _)| name.as_str()).collect();
            format!("scan {} [{}]", scan.source, columns.join(" "))
        }
        StepKind::Filter { .. } => "filter".to_string(),
        StepKind::Project { key, value, .. } => format!("project [{}] [{}]", names(key), names(value)),
        StepKind::FlatMap { functions, .. } => format!("flat map {}", functions.len()),
        StepKind::Rekey { key, format, .. } => format!("rekey [{}] {}", names(key), format.name.sql()),
        StepKind::Aggregate(aggregate) => {
            let calls: Vec<&str> = aggregate.aggregates.iter().map(|c| c.function.as_str()).collect();
            let moves = if aggregate.on_key { "" } else { " after moving" };
            format!("aggregate [{}] {}{moves}", names(&aggregate.group), calls.join(" "))
        }
        StepKind::Join(join) => {
            let shape = match join.shape {
                JoinShape::StreamTable => "stream-table",
                JoinShape::TableTable => "table-table",
                JoinShape::StreamStream { .. } => "stream-stream",
                JoinShape::ForeignKey { .. } => "foreign-key",
            };
            format!("{:?} {shape} join [{}]", join.kind, join.key).to_lowercase()
        }
    };
    let below: String = step.inputs().into_iter().map(|input| draw(input, depth + 1)).collect();
    format!("{}{what}\n{below}", "  ".repeat(depth))
}

const S: &str = "CREATE STREAM S (ID INT KEY, NAME STRING, V BIGINT) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON');";
const T: &str =
    "CREATE TABLE T (ID INT PRIMARY KEY, NAME STRING, REF INT) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON');";

#[test]
fn a_projection_moves_the_key_to_the_key_and_scans_what_is_named() {
    let mut world = World::of(S);
    assert_eq!(
        world.query("CREATE STREAM O AS SELECT V + 1, ID AS K FROM S WHERE V > 0;"),
        "
project [K] [KSQL_COL_0]
  filter
    scan S [ID V]
"
    );
    assert_eq!(world.schema("O"), "K INTEGER KEY, KSQL_COL_0 BIGINT");
}

#[test]
fn a_persistent_query_must_select_its_key_once() {
    let mut world = World::of(S);
    let missing = world.refused("CREATE STREAM O AS SELECT NAME FROM S;");
    assert!(missing.contains("must include the key column ID in its projection (eg, SELECT ID...)"), "{missing}");
    let twice = world.refused("CREATE STREAM O AS SELECT ID, ID AS ID2, NAME FROM S;");
    assert!(twice.starts_with("The projection contains a key column (`ID`) more than once, aliased as: ID and ID2."));
    assert_eq!(world.refused("CREATE STREAM O AS SELECT ID FROM S;"), "The projection contains no value columns.");
}

#[test]
fn fields_and_expressions_get_names_that_no_source_column_has() {
    let mut world = World::of(
        "CREATE STREAM S (K INT KEY, B INT, KSQL_COL_0 INT, A STRUCT<B INT>) WITH (KAFKA_TOPIC='s', VALUE_FORMAT='JSON');
         CREATE STREAM O AS SELECT K, A->B, B + 1 FROM S;",
    );
    assert_eq!(world.schema("O"), "K INTEGER KEY, B_1 INTEGER, KSQL_COL_1 INTEGER");
    assert_eq!(
        world.refused("CREATE STREAM P AS SELECT K, B, A->* FROM S;"),
        "Duplicate value columns found in schema: `B` INTEGER"
    );
}

#[test]
fn partition_by_moves_rows_only_if_the_key_changes() {
    let mut world = World::of(S);
    assert_eq!(
        world.query("CREATE STREAM O AS SELECT * FROM S PARTITION BY ID;"),
        "
project [ID] [NAME V]
  scan S [ID NAME V]
"
    );
    assert_eq!(
        world.query("CREATE STREAM P AS SELECT * FROM S PARTITION BY NAME;"),
        "
project [NAME] [V ID]
  rekey [NAME] KAFKA
    scan S [ID NAME V]
"
    );
    world.run("CREATE STREAM N AS SELECT ID, V FROM S PARTITION BY NULL;").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(world.catalog.sources["N"].key_format.name.sql(), "NONE");
    assert_eq!(world.schema("N"), "ID INTEGER, V BIGINT");
}

#[test]
fn group_by_the_key_needs_no_repartition() {
    let mut world = World::of(S);
    assert_eq!(
        world.query("CREATE TABLE O AS SELECT ID, COUNT(*) AS N FROM S GROUP BY ID;"),
        "
project [ID] [N]
  aggregate [ID] COUNT
    scan S [ID]
"
    );
    assert_eq!(
        world
            .query("CREATE TABLE P AS SELECT SUM(V) * 2 AS TWICE, NAME AS N FROM S GROUP BY NAME HAVING COUNT(*) > 1;"),
        "
project [N] [TWICE]
  aggregate [NAME] SUM COUNT after moving
    scan S [ID NAME V]
"
    );
    assert_eq!(world.schema("P"), "N STRING KEY, TWICE BIGINT");
}

#[test]
fn what_stands_beside_an_aggregate_must_be_grouped() {
    let mut world = World::of(S);
    let stray = world.refused("CREATE TABLE O AS SELECT NAME, V, COUNT(*) FROM S GROUP BY NAME;");
    assert!(stray.starts_with("Non-aggregate SELECT expression(s) not part of GROUP BY: V\n"), "{stray}");
    let lone = world.refused("CREATE TABLE O AS SELECT COUNT(*) FROM S;");
    assert_eq!(
        lone,
        "CREATE TABLE AS SELECT statement does not support aggregate function [COUNT(ROWTIME)] without a GROUP BY clause."
    );
    let none = world.refused("CREATE TABLE O AS SELECT NAME, V FROM S GROUP BY NAME, V;");
    assert!(none.starts_with("GROUP BY requires aggregate functions"), "{none}");
}

#[test]
fn windows_have_grace_only_under_emit_changes() {
    let mut world = World::of(S);
    let mut window = |sql: &str| match world.run(sql) {
        Ok(Planned::Query(plan)) => {
            let step = plan.plan.root.inputs()[0].clone();
            let StepKind::Aggregate(aggregate) = step.kind else { panic!("{sql} has no aggregate on top") };
            aggregate.window.map(|w| (w.grace_ms, w.retention_ms))
        }
        _ => panic!("{sql} was refused"),
    };
    let of = |emit: &str| format!("SELECT ID, COUNT(*) FROM S WINDOW TUMBLING (SIZE 1 HOUR) GROUP BY ID EMIT {emit};");
    assert_eq!(window(&of("CHANGES")), Some((23 * 3_600_000, 24 * 3_600_000)));
    assert_eq!(window(&of("FINAL")), Some((0, 3_600_000)));
}

#[test]
fn a_stream_moves_to_the_table_it_is_joined_with() {
    let mut world =
        World::of(&format!("{T}CREATE STREAM R (ID STRING KEY, REF INT) WITH (KAFKA_TOPIC='r', VALUE_FORMAT='JSON');"));
    assert_eq!(
        world.query("CREATE STREAM O AS SELECT R.REF, NAME FROM R LEFT JOIN T ON R.REF = T.ID;"),
        "
project [R_REF] [NAME]
  left stream-table join [ksql_join_key_1]
    rekey [KSQL_JOIN_KEY_1] KAFKA
      scan R [R_ID R_REF]
    project [KSQL_JOIN_KEY_1] [T_ID T_NAME]
      scan T [T_ID T_NAME]
"
    );
}

#[test]
fn a_join_is_keyed_by_the_side_that_is_selected() {
    let mut world = World::of(&format!("{S}{T}"));
    assert_eq!(
        world.query("CREATE STREAM O AS SELECT T.ID, V, T.NAME AS N FROM S JOIN T ON S.ID = T.ID;"),
        "
project [T_ID] [V N]
  inner stream-table join [ksql_join_key_1]
    project [KSQL_JOIN_KEY_1] [S_ID S_V]
      scan S [S_ID S_V]
    project [KSQL_JOIN_KEY_1] [T_ID T_NAME]
      scan T [T_ID T_NAME]
"
    );
    assert_eq!(world.schema("O"), "T_ID INTEGER KEY, V BIGINT, N STRING");
    let missing = world.refused("CREATE STREAM P AS SELECT V, REF FROM S JOIN T ON S.ID = T.ID;");
    assert!(missing.contains("must include the join expressions S.ID or T.ID in its projection (eg, SELECT S.ID...)"));
}

#[test]
fn joins_without_a_common_column_make_up_a_key() {
    let mut world =
        World::of(&format!("{S}CREATE STREAM R (ID INT KEY, W BIGINT) WITH (KAFKA_TOPIC='r', VALUE_FORMAT='JSON');"));
    world
        .run("CREATE STREAM O AS SELECT * FROM S FULL JOIN R WITHIN 1 HOUR ON S.ID = R.ID;")
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        world.schema("O"),
        "ROWKEY INTEGER KEY, S_ID INTEGER, S_NAME STRING, S_V BIGINT, R_ID INTEGER, R_W BIGINT"
    );
    let without = world.refused("CREATE STREAM P AS SELECT S.*, R.* FROM S FULL JOIN R WITHIN 1 HOUR ON S.ID = R.ID;");
    assert!(without.contains("ROWKEY was added as a synthetic key column"), "{without}");
    let within = world.refused("CREATE STREAM P AS SELECT * FROM S JOIN R ON S.ID = R.ID;");
    assert!(within.starts_with("Stream-stream joins must have a WITHIN clause specified."), "{within}");
}

#[test]
fn tables_join_on_primary_keys_or_a_foreign_key() {
    let mut world = World::of(&format!(
        "{T}CREATE TABLE U (UID INT PRIMARY KEY, X STRING) WITH (KAFKA_TOPIC='u', VALUE_FORMAT='JSON');"
    ));
    assert_eq!(
        world.query("CREATE TABLE O AS SELECT ID, X FROM T JOIN U ON REF = UID;"),
        "
project [ID] [X]
  inner foreign-key join [t_id]
    scan T [T_ID T_REF]
    project [KSQL_JOIN_KEY_1] [U_UID U_X]
      scan U [U_UID U_X]
"
    );
    assert_eq!(
        world.refused("CREATE TABLE P AS SELECT ID, X FROM T JOIN U ON NAME = X;"),
        "Invalid join condition: table-table joins require to join on the primary key of the right input table. Got \
         T.NAME = U.X."
    );
}

#[test]
fn push_queries_keep_the_key_and_name_their_columns_in_select_order() {
    let mut world = World::of(T);
    let Ok(Planned::Query(plan)) = world.run("SELECT NAME AS ID, REF FROM T EMIT CHANGES LIMIT 3;") else {
        panic!("refused")
    };
    assert_eq!(plan.plan.limit, Some(3));
    assert_eq!(plan.plan.root.schema.to_string(), "`ID_1` INTEGER KEY, `ID` STRING, `REF` INTEGER");
    assert_eq!(plan.columns.iter().map(|c| c.name.as_str()).collect::<Vec<_>>(), ["ID", "REF"]);
}

#[test]
fn pull_queries_look_keys_up_where_every_alternative_has_one() {
    use crate::plan::expr::Value::Integer;
    let mut world = World::of(&format!("{T}CREATE TABLE Q AS SELECT * FROM T;"));
    let keys = |plan: PullPlan| plan.keys;
    assert_eq!(
        keys(world.pull("SELECT * FROM Q WHERE ID = 1 AND NAME = 'x' OR ID IN (2, 3);")),
        Some(vec![vec![Integer(1)], vec![Integer(2)], vec![Integer(3)]])
    );
    assert_eq!(keys(world.pull("SELECT * FROM Q WHERE ID = 1 OR NAME = 'x';")), None);
    assert_eq!(keys(world.pull("SELECT NAME FROM Q;")), None);
    let plain = world.refused("SELECT * FROM T;");
    assert!(plain.starts_with("The `T` table isn't queryable."), "{plain}");
    world.settings.set("ksql.query.pull.table.scan.enabled", "false").expect("a known setting");
    let scan = world.refused("SELECT * FROM Q WHERE NAME = 'x';");
    assert!(scan.starts_with("WHERE clause missing key column for disjunct: (NAME = 'x')"), "{scan}");
}

#[test]
fn values_need_the_whole_key_of_a_table_and_known_columns() {
    let mut world = World::of(&format!("{S}{T}"));
    world.run("INSERT INTO S (NAME, ROWTIME) VALUES ('a', 5);").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(
        world.refused("INSERT INTO T (NAME) VALUES ('a');"),
        "Failed to insert values into 'T'. Value for primary key column(s) ID is required for tables"
    );
    assert_eq!(
        world.refused("INSERT INTO S (NOPE) VALUES (1);"),
        "Failed to insert values into 'S'. Column name `NOPE` does not exist."
    );
}

#[test]
fn insert_select_widens_to_the_target_and_matches_names() {
    let mut world =
        World::of(&format!("{S}CREATE STREAM D (ID INT KEY, V DOUBLE) WITH (KAFKA_TOPIC='d', VALUE_FORMAT='JSON');"));
    assert_eq!(
        world.query("INSERT INTO D SELECT ID, V FROM S;"),
        "
project [ID] [V]
  scan S [ID V]
"
    );
    let differs = world.refused("INSERT INTO D SELECT ID, NAME FROM S;");
    assert_eq!(
        differs,
        "Incompatible schema between results and sink.\nResult schema is `ID` INTEGER KEY, `NAME` STRING\nSink schema is \
         `ID` INTEGER KEY, `V` DOUBLE"
    );
}

#[test]
fn a_replaced_source_may_only_grow_at_the_end() {
    let mut world = World::of(T);
    let create =
        |columns: &str| format!("CREATE OR REPLACE TABLE T ({columns}) WITH (KAFKA_TOPIC='t', VALUE_FORMAT='JSON');");
    world.run(&create("ID INT PRIMARY KEY, NAME STRING, REF INT, MORE INT")).unwrap_or_else(|e| panic!("{e}"));
    let shrunk = world.refused(&create("ID INT PRIMARY KEY, NAME STRING"));
    assert!(
        shrunk.ends_with("(The following columns are changed, missing or reordered: [`REF` INTEGER, `MORE` INTEGER])")
    );
    world.run("ALTER TABLE T ADD COLUMN LAST INT;").unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(world.schema("T"), "ID INTEGER KEY, NAME STRING, REF INTEGER, MORE INTEGER, LAST INTEGER");
}

#[test]
fn joined_columns_of_the_same_name_are_told_apart() {
    let mut world = World::of(
        "CREATE STREAM L (ID INT KEY, B_C INT) WITH (KAFKA_TOPIC='l', VALUE_FORMAT='JSON');
         CREATE STREAM R (ID INT KEY, C INT) WITH (KAFKA_TOPIC='r', VALUE_FORMAT='JSON');",
    );
    world
        .run("CREATE STREAM O AS SELECT * FROM L A JOIN R A_B WITHIN 1 HOUR ON A.ID = A_B.ID;")
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(world.schema("O"), "A_ID INTEGER KEY, A_B_C INTEGER, A_B_ID INTEGER, A_B_C_1 INTEGER");
}

#[test]
fn long_conditions_can_be_stored_and_endless_ones_are_refused() {
    let mut world = World::of(S);
    let many = (0..200).map(|i| format!("V = {i}")).collect::<Vec<_>>().join(" OR ");
    world.run(&format!("CREATE STREAM O AS SELECT * FROM S WHERE {many};")).unwrap_or_else(|e| panic!("{e}"));
    let sum = vec!["V"; 150].join(" + ");
    let deep = world.refused(&format!("CREATE STREAM P AS SELECT ID, {sum} FROM S;"));
    assert!(deep.contains("nested too deeply"), "{deep}");
}

#[test]
fn a_table_shown_as_it_is_keeps_whole_rows() {
    let mut world = World::of(T);
    assert_eq!(
        world.query("CREATE TABLE O AS SELECT ID, REF FROM T;"),
        "
project [ID] [REF]
  scan T [ID NAME REF]
"
    );
}
