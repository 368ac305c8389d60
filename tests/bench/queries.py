#!/usr/bin/env python3
"""What do 1,000 idle queries cost: to create by one request, to start again, in memory, threads and CPU?

    tests/bench/queries.py --binary target/release/headwater [--queries 1000]

One JSON line per measurement. Bars: created in 5 s; under 64 KiB each; no thread and no CPU tick of their own; an idle
server under 100 MB. A second, half as large run shows whether the time grows faster than the number.
"""

import argparse
import os
import tempfile
import time

from process import Server, cpu_ticks, rss_mb, say, threads

CREATE = "CREATE STREAM s (id INT KEY, v BIGINT) WITH (kafka_topic='s', value_format='JSON', partitions=1);"


def settled(server):
    """Waits until the server has been quiet for a moment; returns its memory."""
    while True:
        ticks = cpu_ticks(server.pid)
        time.sleep(0.5)
        if cpu_ticks(server.pid) == ticks:
            return rss_mb(server.pid)


def measure(binary, data, name, queries):
    with Server(binary, data) as server:
        idle_mb, idle_threads = settled(server), threads(server.pid)
        say(measured="idle_server", data=name, rss_mb=idle_mb, threads=idle_threads)
        server.ksql(CREATE)
        statements = [f"CREATE STREAM q{i} AS SELECT id, v + {i} AS v FROM s WHERE v > {i};" for i in range(queries)]
        begun = time.monotonic()
        server.ksql("\n".join(statements))
        created = time.monotonic() - begun
        full_mb = settled(server)
        ticks = cpu_ticks(server.pid)
        time.sleep(3)
        say(measured="queries", data=name, queries=queries, create_s=round(created, 2),
            kib_each=round((full_mb - idle_mb) * 1024 / queries, 1), threads=threads(server.pid) - idle_threads,
            idle_ticks_in_3_s=cpu_ticks(server.pid) - ticks)
    if name == "durable":
        begun = time.monotonic()
        with Server(binary, data) as server:
            say(measured="restart", queries=queries, start_s=round(time.monotonic() - begun, 2), rss_mb=settled(server))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--queries", type=int, default=1000)
    options = arguments.parse_args()
    binary = os.path.abspath(options.binary)
    for queries in [options.queries // 2, options.queries]:
        measure(binary, ":memory:", "memory", queries)
        with tempfile.TemporaryDirectory() as folder:
            measure(binary, folder + "/data", "durable", queries)


if __name__ == "__main__":
    main()
