//! The HTTP door over real sockets: bodies, codes, limits, streams.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use headwater_engine::{Engine, EngineConfig};
use headwater_server::ServerOptions;
use serde_json::{Value, json};
use tokio::sync::oneshot;

const CREATE: &str =
    "CREATE STREAM s (id INT KEY, v BIGINT) WITH (kafka_topic='s', value_format='JSON', partitions=1);";

/// A server in this process, on a port of its own.
struct Door {
    url: String,
    agent: ureq::Agent,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Door {
    fn open() -> Self {
        Self::with(ServerOptions::default())
    }

    fn with(options: ServerOptions) -> Self {
        let (stop, stopped) = oneshot::channel::<()>();
        let (address, bound) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Runtime::new().unwrap();
            runtime.block_on(async {
                let engine = Engine::open(EngineConfig::memory()).unwrap();
                let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
                address.send(listener.local_addr().unwrap()).unwrap();
                let told = async {
                    let _dropped = stopped.await;
                };
                headwater_server::serve(listener, engine.clone(), options, told).await.unwrap();
                engine.close().unwrap();
            });
        });
        let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
        let url = format!("http://{}", bound.recv().unwrap());
        Self { url, agent, stop: Some(stop), thread: Some(thread) }
    }

    fn send(&self, path: &str, headers: &[(&str, &str)], body: &str) -> ureq::http::Response<ureq::Body> {
        let mut request = self.agent.post(format!("{}{path}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.send(body).unwrap()
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        self.raw(path, &[("Content-Type", "application/json")], &body.to_string())
    }

    fn raw(&self, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, Value) {
        let mut answer = self.send(path, headers, body);
        let text = answer.body_mut().read_to_string().unwrap();
        let body = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}"));
        (answer.status().as_u16(), body)
    }

    fn get(&self, path: &str) -> (u16, String) {
        let mut answer = self.agent.get(format!("{}{path}", self.url)).call().unwrap();
        (answer.status().as_u16(), answer.body_mut().read_to_string().unwrap())
    }

    #[track_caller]
    fn ksql(&self, sql: &str) -> Value {
        let (status, body) = self.post("/ksql", &json!({"ksql": sql}));
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Lines of a streaming answer as they arrive.
    fn stream(&self, path: &str, accept: &str, body: &Value) -> impl Iterator<Item = String> + use<> {
        let headers = [("Content-Type", "application/json"), ("Accept", accept)];
        let answer = self.send(path, &headers, &body.to_string());
        assert_eq!(answer.status(), 200);
        BufReader::new(answer.into_body().into_reader()).lines().map(|line| line.unwrap())
    }

    fn streaming(&self) -> String {
        let (_, text) = self.get("/metrics");
        text.lines().find(|l| l.starts_with("headwater_http_queries_streaming ")).unwrap().to_string()
    }

    fn wait_until_none_streams(&self) {
        for _ in 0..200 {
            if self.streaming().ends_with(" 0") {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{}", self.streaming());
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let (Some(stop), Some(thread)) = (self.stop.take(), self.thread.take()) {
            // A server that has ended already does not listen for its stop.
            let _ended = stop.send(());
            if !std::thread::panicking() {
                thread.join().unwrap();
            }
        }
    }
}

#[test]
fn statements_answer_one_entity_each() {
    let door = Door::open();
    let created = door.ksql(CREATE);
    assert_eq!(created[0]["@type"], "currentStatus");
    assert_eq!(created[0]["commandId"], "stream/S/create");
    assert_eq!(created[0]["commandStatus"]["status"], "SUCCESS");
    assert_eq!(created[0]["statementText"], CREATE);
    assert_eq!(created[0]["warnings"], json!([]));
    let shown = door.ksql("SHOW STREAMS; SHOW TABLES;");
    assert_eq!(shown[0]["streams"][0]["name"], "S");
    assert_eq!(shown[1]["tables"], json!([]));
    assert_eq!(door.ksql("INSERT INTO s VALUES (1, 1);"), json!([]));
    let (_, status) = door.get("/status/stream/S/create");
    assert_eq!(serde_json::from_str::<Value>(&status).unwrap()["status"], "SUCCESS");
}

#[test]
fn statements_of_one_request_are_planned_together_first() {
    let door = Door::open();
    let (status, error) = door.post("/ksql", &json!({"ksql": format!("{CREATE} DROP STREAM nowhere;")}));
    assert_eq!(status, 400);
    assert_eq!(error["@type"], "statement_error");
    assert_eq!(error["error_code"], 40001);
    assert_eq!(error["statementText"], "DROP STREAM nowhere;");
    assert_eq!(error["entities"], json!([]));
    assert_eq!(error["stackTrace"], json!([]));
    assert_eq!(door.ksql("SHOW STREAMS;")[0]["streams"], json!([]), "the first statement did not run");
}

#[test]
fn queries_are_sent_to_their_own_endpoint() {
    let door = Door::open();
    door.ksql(CREATE);
    let (status, error) = door.post("/ksql", &json!({"ksql": "SELECT * FROM s EMIT CHANGES;"}));
    assert_eq!((status, &error["error_code"]), (400, &json!(40002)));
    let (status, error) = door.post("/query", &json!({"ksql": "SHOW STREAMS;"}));
    assert_eq!((status, &error["error_code"]), (400, &json!(40001)));
    let (status, error) = door.post("/query", &json!({"ksql": "SELECT 1 AS a; SELECT 2 AS b;"}));
    assert_eq!((status, &error["error_code"]), (400, &json!(40001)));
}

#[test]
fn a_pushed_row_arrives_while_the_query_runs() {
    let door = Door::open();
    door.ksql(CREATE);
    let mut lines = door.stream(
        "/query",
        "application/vnd.ksql.v1+json",
        &json!({"ksql": "SELECT * FROM s EMIT CHANGES LIMIT 2;"}),
    );
    let header = lines.next().unwrap();
    assert!(
        header.starts_with("[{\"header\":{\"queryId\":\"")
            && header.ends_with("\"schema\":\"`ID` INTEGER, `V` BIGINT\"}},"),
        "{header}"
    );
    door.ksql("INSERT INTO s VALUES (1, 9007199254740993);");
    assert_eq!(lines.next().unwrap(), "{\"row\":{\"columns\":[1,9007199254740993]}},");
    door.ksql("INSERT INTO s VALUES (2, null);");
    assert_eq!(lines.next().unwrap(), "{\"row\":{\"columns\":[2,null]}},");
    assert_eq!(lines.next().unwrap(), "{\"finalMessage\":\"Limit Reached\"}]");
    assert_eq!(lines.next(), None);
}

#[test]
fn every_form_of_rows_can_be_asked_for_on_both_endpoints() {
    let door = Door::open();
    door.ksql(CREATE);
    door.ksql("INSERT INTO s VALUES (1, 2);");
    // Each endpoint takes the other's body, too.
    let old = json!({"ksql": "SELECT * FROM s EMIT CHANGES LIMIT 1;", "streamsProperties": {"auto.offset.reset": "earliest"}});
    let new = json!({"sql": "SELECT * FROM s EMIT CHANGES LIMIT 1;", "properties": {"auto.offset.reset": "earliest"}});
    for path in ["/query", "/query-stream"] {
        for body in [&old, &new] {
            let ndjson: Vec<String> = door.stream(path, "application/x-ndjson", body).collect();
            assert_eq!(ndjson, ["{\"ID\":1,\"V\":2}"]);
            let delimited: Vec<String> = door.stream(path, "application/vnd.ksqlapi.delimited.v1", body).collect();
            assert_eq!(delimited[1..], ["[1,2]"]);
            let rows: Vec<String> = door.stream(path, "application/vnd.ksql.v1+json", body).collect();
            assert_eq!(rows.len(), 3);
        }
    }
    let array: Vec<String> = door.stream("/query-stream", "application/json", &new).collect();
    let array: Value = serde_json::from_str(&array.concat()).unwrap();
    assert_eq!(array[0]["columnTypes"], json!(["INTEGER", "BIGINT"]));
    assert_eq!(array[1], json!([1, 2]));
}

#[test]
fn a_client_that_goes_takes_its_query_along() {
    let door = Door::open();
    door.ksql(CREATE);
    let lines = door.stream("/query-stream", "*/*", &json!({"sql": "SELECT * FROM s EMIT CHANGES;"}));
    assert!(door.streaming().ends_with(" 1"));
    drop(lines);
    door.wait_until_none_streams();
}

#[test]
fn a_closed_query_ends_with_a_whole_array() {
    let door = Door::open();
    door.ksql(CREATE);
    let mut lines = door.stream("/query", "application/json", &json!({"ksql": "SELECT * FROM s EMIT CHANGES;"}));
    let header = lines.next().unwrap();
    let parsed: Value = serde_json::from_str(&format!("{}]", header.trim_end_matches(','))).unwrap();
    let id = parsed[0]["header"]["queryId"].as_str().unwrap().to_string();
    let closed = door.send("/close-query", &[], &json!({"queryId": id}).to_string());
    assert_eq!(closed.status(), 200);
    let rest: Vec<String> = lines.collect();
    assert!(serde_json::from_str::<Value>(&format!("{header}{}", rest.concat())).is_ok(), "{rest:?}");
    let (status, error) = door.post("/close-query", &json!({"queryId": id}));
    assert_eq!((status, &error["error_code"]), (400, &json!(40000)));
}

#[test]
fn inserts_are_acknowledged_row_by_row() {
    let door = Door::open();
    door.ksql(CREATE);
    let body = "{\"target\":\"s\"}\n{\"id\":1,\"v\":1}\nnonsense\n{\"id\":2,\"v\":\"x\"}\n{\"id\":3,\"w\":1}\n{\"ID\":4,\"V\":4}";
    let mut answer = door.send("/inserts-stream", &[], body);
    let text = answer.body_mut().read_to_string().unwrap();
    let acks: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let statuses: Vec<&str> = acks.iter().map(|a| a["status"].as_str().unwrap()).collect();
    assert_eq!(statuses, ["ok", "error", "error", "error", "ok"]);
    assert_eq!(acks[2]["seq"], 2);
    assert!(acks[2]["error_code"].is_number() && acks[2]["message"].is_string());
    let array = door.raw("/inserts-stream", &[("Accept", "application/json")], "{\"target\":\"s\"}\n{\"id\":5}\n");
    assert_eq!(array, (200, json!([{"status": "ok", "seq": 0}])));
    let (status, _) = door.raw("/inserts-stream", &[], "{\"target\":\"nowhere\"}\n{\"id\":5}\n");
    assert_eq!(status, 400);
    let (status, _) = door.raw("/inserts-stream", &[], "");
    assert_eq!(status, 400);
    let rows: Vec<String> =
        door.stream("/query", "application/x-ndjson", &json!({"ksql": "SELECT id FROM s ORDER BY id;"})).collect();
    assert_eq!(rows, ["{\"ID\":1}", "{\"ID\":4}", "{\"ID\":5}"]);
    let select = "SELECT query, FROM_BYTES(raw, 'utf8') AS raw, offset IS NULL AS loose FROM `S$REJECTED`;";
    let refused: Vec<Value> = door
        .stream("/query", "application/x-ndjson", &json!({"ksql": select}))
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect();
    let expected = ["nonsense", "{\"id\":2,\"v\":\"x\"}", "{\"id\":3,\"w\":1}"];
    assert_eq!(refused, expected.map(|raw| json!({"QUERY": "INSERT", "RAW": raw, "LOOSE": true})));
}

#[test]
fn settings_and_variables_belong_to_the_request() {
    let door = Door::open();
    door.ksql(CREATE);
    let defined = json!({"ksql": "SELECT ${n} AS n;", "sessionVariables": {"n": "7"}});
    let rows: Vec<String> = door.stream("/query", "application/x-ndjson", &defined).collect();
    assert_eq!(rows, ["{\"N\":7}"]);
    let (status, error) = door.post("/ksql", &json!({"ksql": "SHOW STREAMS;", "streamsProperties": {"no.such": 1}}));
    assert_eq!((status, &error["@type"]), (400, &json!("generic_error")));
    let (status, _) =
        door.post("/ksql", &json!({"ksql": "SHOW STREAMS;", "streamsProperties": {"auto.offset.reset": []}}));
    assert_eq!(status, 400);
    assert_eq!(door.get("/is_valid_property/auto.offset.reset"), (200, "true".to_string()));
    assert_eq!(door.get("/is_valid_property/no.such").0, 400);
}

#[test]
fn requests_that_make_no_sense_are_told_so() {
    let door = Door::with(ServerOptions { body_bytes_max: 1000, ..ServerOptions::default() });
    let json = ("Content-Type", "application/json");
    let code = |answer: (u16, Value)| (answer.0, answer.1["error_code"].as_u64().unwrap());
    assert_eq!(code(door.raw("/ksql", &[json], "{\"ksql\":")), (400, 40000));
    assert_eq!(code(door.raw("/ksql", &[json], "[]")), (400, 40000));
    assert_eq!(code(door.raw("/ksql", &[json], "{}")), (400, 40000));
    assert_eq!(code(door.raw("/ksql", &[("Content-Type", "text/xml")], "<a/>")), (415, 41500));
    assert_eq!(code(door.raw("/ksql", &[json, ("Accept", "text/html")], "{}")), (406, 40600));
    assert_eq!(code(door.raw("/ksql", &[json], &json!({"ksql": "x".repeat(2000)}).to_string())), (413, 41300));
    assert_eq!(code(door.raw("/ksql", &[json], &json!({"ksql": "SELEC 1;"}).to_string())), (400, 40001));
    assert_eq!(code(door.raw("/ksql", &[json], &json!({"ksql": "SELECT \u{0};"}).to_string())), (400, 40001));
    assert_eq!(code(door.raw("/nowhere", &[json], "{}")), (404, 40400));
    assert_eq!(code(door.raw("/info", &[json], "{}")), (405, 40500));
    let print = json!({"sql": "PRINT s;"}).to_string();
    door.ksql(CREATE);
    assert_eq!(code(door.raw("/query-stream", &[json, ("Accept", "application/json")], &print)), (406, 40600));
    let copy = json!({"ksql": "COPY s FROM '/etc/passwd';"});
    assert_eq!(door.post("/ksql", &copy).0, 400);
}

#[test]
fn the_server_says_what_it_is_and_how_it_is() {
    let door = Door::open();
    let json = |path: &str| -> Value { serde_json::from_str(&door.get(path).1).unwrap() };
    assert_eq!(json("/info")["KsqlServerInfo"]["serverStatus"], "RUNNING");
    assert_eq!(json("/")["KsqlServerInfo"]["ksqlServiceId"], "default_", "the root leads to /info");
    assert_eq!(json("/healthcheck")["details"]["metastore"]["isHealthy"], true);
    assert!(json("/clusterStatus")["clusterStatus"].is_object());
    assert!(json("/v1/metadata")["clusterId"]["scope"].is_object());
    assert!(json("/v1/metadata/id")["scope"].is_object());
    for path in ["/livez", "/readyz", "/chc/live", "/chc/ready"] {
        assert_eq!(door.get(path), (200, "ok\n".to_string()), "{path}");
    }
    let (status, metrics) = door.get("/metrics");
    assert_eq!(status, 200);
    assert!(metrics.contains("headwater_http_requests_total{route=\"/info\",status=\"200\"}"), "{metrics}");
}

#[test]
fn a_terminated_service_drops_everything_and_stops() {
    let mut door = Door::open();
    door.ksql(CREATE);
    door.ksql("CREATE STREAM t AS SELECT * FROM s; CREATE STREAM u AS SELECT * FROM t;");
    let (status, _) = door.post("/ksql/terminate", &json!({"deleteTopicList": ["T", "u.*"]}));
    assert_eq!(status, 200);
    door.thread.take().unwrap().join().unwrap();
}

#[test]
fn a_long_bounded_query_sends_its_id_before_its_first_row_and_can_be_closed_with_it() {
    let door = Door::open();
    door.post("/ksql", &json!({"ksql": CREATE}));
    let values: Vec<String> = (0..3000).map(|i| format!("({i}, {i})")).collect();
    door.post("/ksql", &json!({"ksql": format!("INSERT INTO s VALUES {};", values.join(", "))}));
    // 27,000,000,000 pairs: it does not end by itself.
    let endless = json!({"ksql": "SELECT COUNT(*) FROM s a CROSS JOIN s b CROSS JOIN s c WHERE a.v + b.v + c.v < 0;"});
    let answer = door.send("/query", &[("Content-Type", "application/json")], &endless.to_string());
    assert_eq!(answer.status(), 200);
    let query_id = answer.headers()["query-id"].to_str().unwrap().to_string();
    let closing = {
        let (url, agent) = (door.url.clone(), door.agent.clone());
        std::thread::spawn(move || {
            let body = json!({"queryId": query_id}).to_string();
            agent
                .post(format!("{url}/close-query"))
                .header("Content-Type", "application/json")
                .send(body)
                .unwrap()
                .status()
        })
    };
    // The answer ends, without a row.
    let lines: Vec<String> =
        BufReader::new(answer.into_body().into_reader()).lines().map(|line| line.unwrap()).collect();
    assert_eq!(closing.join().unwrap(), 200);
    assert!(lines.iter().all(|line| !line.contains(r#""row""#)), "{lines:?}");
}
