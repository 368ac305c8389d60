#!/usr/bin/env python3
"""How many rows does one CPU-second carry through a continuous query?

    tests/bench/nexmark.py --binary target/release/headwater --events bid.jsonl [--runs 3] [--only q1,q7]

Nexmark's bids (JSON lines: auction, bidder, price, channel, url, date_time, extra) go through the forms of its queries
that today's SQL allows. Every record's result is emitted (but for c-compact). CPU seconds are those of the whole process, all threads, less
those of the same process without the query; the best of the runs counts. One JSON line per measurement:

    {"path": "b", "query": "q1", "rows": 920000, "cpu_s": 0.04, "rows_per_cpu_s": 23000000, "rss_mb": 210, "checked": true}

| path | from | to |
|---|---|---|
| a | a JSON file, decoded at the door | discarded |
| b | sealed segments of a data directory | discarded |
| c-load | a JSON file | a durable data directory |
| c-topic | sealed segments | a durable topic |
| c-compact | sealed segments | a durable topic, only the last change per key of a second (`emit.buffer.ms`) |

Before a speed counts, the query's result over the same rows is compared with the batch answer.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time

BID = """CREATE STREAM bid (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR,
    date_time BIGINT, extra VARCHAR) WITH (KAFKA_TOPIC='bid', VALUE_FORMAT='JSON', PARTITIONS=1, TIMESTAMP='DATE_TIME');"""

# name: (kind, SELECT, batch answer as SELECT, continuous result as SELECT over the sink)
QUERIES = {
    "q0": ("STREAM", "SELECT auction, bidder, price, date_time, extra FROM bid",
           "SELECT COUNT(*) AS n, SUM(price) AS s FROM bid", "SELECT COUNT(*) AS n, SUM(price) AS s FROM q"),
    "q1": ("STREAM", "SELECT auction, bidder, price * CAST(0.908 AS DOUBLE) AS price, date_time, extra FROM bid",
           "SELECT COUNT(*) AS n, SUM(auction) AS s FROM bid", "SELECT COUNT(*) AS n, SUM(auction) AS s FROM q"),
    "q2": ("STREAM", "SELECT auction, price FROM bid WHERE auction % 123 = 0",
           "SELECT COUNT(*) AS n, SUM(price) AS s FROM bid WHERE auction % 123 = 0",
           "SELECT COUNT(*) AS n, SUM(price) AS s FROM q"),
    "q5*": ("TABLE", "SELECT auction, COUNT(*) AS n FROM bid WINDOW HOPPING (SIZE 10 SECONDS, ADVANCE BY 2 SECONDS) GROUP BY auction",
            "SELECT 5 * COUNT(*) AS n FROM bid", "SELECT SUM(n) AS n FROM q"),
    "q7*": ("TABLE", "SELECT channel, MAX(price) AS m FROM bid WINDOW TUMBLING (SIZE 10 SECONDS) GROUP BY channel",
            "SELECT SUM(m) AS s FROM (SELECT MAX(price) AS m FROM bid GROUP BY channel, date_time / 10000) AS w",
            "SELECT SUM(m) AS s FROM q"),
    "q17*": ("TABLE", """SELECT auction, date_time / 86400000 AS day, COUNT(*) AS n, MIN(price) AS lo, MAX(price) AS hi,
            AVG(price) AS mean, SUM(price) AS total,
            SUM(CASE WHEN price < 10000 THEN 1 ELSE 0 END) AS rank1
            FROM bid GROUP BY auction, date_time / 86400000""",
             "SELECT SUM(n) AS n, SUM(hi) AS hi FROM (SELECT COUNT(*) AS n, MAX(price) AS hi FROM bid GROUP BY auction, date_time / 86400000) AS g",
             "SELECT SUM(n) AS n, SUM(hi) AS hi FROM q"),
    "count-100k": ("TABLE", "SELECT price % 100000 AS k, COUNT(*) AS n FROM bid GROUP BY price % 100000",
                   "SELECT COUNT(*) AS groups, SUM(n) AS n FROM (SELECT COUNT(*) AS n FROM bid GROUP BY price % 100000) AS g",
                   "SELECT COUNT(*) AS groups, SUM(n) AS n FROM q"),
}


def run(binary, data, sql):
    """Runs a script; (stdout, CPU seconds, peak RSS in MB, wall seconds)."""
    with tempfile.NamedTemporaryFile("w", suffix=".sql", delete=False) as script:
        script.write(sql)
    started = time.monotonic()
    child = subprocess.Popen([binary, "--data", data, "--output", "ndjson", "-f", script.name],
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, err = child.stdout.read(), child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - started
    os.unlink(script.name)
    if status != 0:
        sys.exit(f"the script failed:\n{sql}\n{err.decode()}")
    return out.decode(), usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, wall


def sink(kind, select, discard):
    extra = ", DISCARD=TRUE" if discard else ""
    key = ", KEY_FORMAT='JSON'" if kind == "TABLE" else ""
    return f"CREATE {kind} q WITH (KAFKA_TOPIC='q', PARTITIONS=1{key}{extra}) AS {select};"


def last_line(text):
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""


def main():
    args = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    args.add_argument("--binary", required=True)
    args.add_argument("--events", required=True, help="bids as JSON lines")
    args.add_argument("--runs", type=int, default=3)
    args.add_argument("--only", default="")
    args = args.parse_args()
    only = [q for q in args.only.split(",") if q]
    binary, events = os.path.abspath(args.binary), os.path.abspath(args.events)
    with open(events, "rb") as file:
        rows = sum(chunk.count(b"\n") for chunk in iter(lambda: file.read(1 << 20), b""))
    copy = f"COPY bid FROM '{events}';"

    def report(path, query, cpu, rss, checked, **more):
        rate = round(rows / cpu) if cpu > 0 else None
        print(json.dumps({"path": path, "query": query, "rows": rows, "cpu_s": round(cpu, 3), "rows_per_cpu_s": rate,
                          "rss_mb": round(rss), "checked": checked, **more}), flush=True)

    with tempfile.TemporaryDirectory() as root:
        loaded = os.path.join(root, "loaded")
        _, cpu, rss, wall = run(binary, loaded, BID + copy)
        report("c-load", "load", cpu, rss, True, wall_s=round(wall, 2))
        # Opening once more moves what is left of the tail into sealed segments.
        base = min(run(binary, loaded, "SHOW STREAMS;")[1] for _ in range(args.runs))

        def run_on_copy(sql):
            """On a copy of the loaded directory: what an earlier query left in the log must not be read by this one."""
            copied = os.path.join(root, "copied")
            shutil.copytree(loaded, copied)
            try:
                return run(binary, copied, sql)
            finally:
                shutil.rmtree(copied)

        start_a = min(run(binary, ":memory:", BID)[1] for _ in range(args.runs))
        for name, (kind, select, batch, result) in QUERIES.items():
            if only and name not in only:
                continue
            expected = json.loads(last_line(run(binary, loaded, f"{batch};")[0]))
            compact = "SET 'emit.buffer.ms'='1000';"
            # Checked: the continuous result equals the batch answer; measured: what writing it costs.
            for path, settings in [("c-topic", "")] + ([("c-compact", compact)] if kind == "TABLE" else []):
                text, cpu, rss, _ = run_on_copy(settings + sink(kind, select, False) + f"{result};")
                checked = json.loads(last_line(text))
                equal = list(checked.values()) == list(expected.values())
                if not equal:
                    print(json.dumps({"query": name, "checked": False, "continuous": checked, "batch": expected}), flush=True)
                report(path, name, max(cpu - base, 0.001), rss, equal)
            best, peak = None, 0
            for _ in range(args.runs):
                _, cpu, rss, _ = run_on_copy(sink(kind, select, True) + "SELECT COUNT(*) AS n FROM q;")
                best, peak = min(best or cpu, cpu), max(peak, rss)
            report("b", name, max(best - base, 0.001), peak, equal)
            best, peak = None, 0
            for _ in range(args.runs):
                _, cpu, rss, _ = run(binary, ":memory:", BID + sink(kind, select, True) + copy + "SELECT COUNT(*) AS n FROM q;")
                best, peak = min(best or cpu, cpu), max(peak, rss)
            report("a", name, max(best - start_a, 0.001), peak, equal)


if __name__ == "__main__":
    main()
