#!/usr/bin/env python3
"""How long does it take from an insert to its row on a push query, at 1,000 rows a second over HTTP?

    tests/bench/latency.py --binary target/release/headwater [--seconds 10] [--rate 1000]

A process of its own reads an open `/query-stream`; this one sends rows one by one, each at its time, through one
`/inserts-stream` or as one `INSERT INTO … VALUES` a request. Milliseconds from just before a row is sent until the reader has
it. A sender that comes behind its schedule says by how much. Bars: p50 under 1 in memory, under 3 durable.
"""

import argparse
import json
import multiprocessing
import os
import socket
import tempfile
import time

from process import Server, quantiles, say

CREATE = "CREATE STREAM s (id BIGINT KEY, v BIGINT) WITH (kafka_topic='s', value_format='JSON', partitions=1);"


def read_rows(host, port, rows, ready, arrived):
    """Sends the time of arrival of each row, in order, once all are there."""
    connection = socket.create_connection((host, port))
    body = json.dumps({"sql": "SELECT id FROM s EMIT CHANGES;", "properties": {}})
    request = f"POST /query-stream HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    connection.sendall(request.encode())
    buffer, times, begun = b"", {}, False
    while len(times) < rows:
        buffer += connection.recv(1 << 16)
        now = time.monotonic_ns()
        *lines, buffer = buffer.split(b"\n")
        for line in lines:
            if line.startswith(b'{"queryId"') and not begun:
                begun = True
                ready.set()
            elif line.startswith(b"[") and line.rstrip().endswith(b"]"):
                times[json.loads(line)[0]] = now
    arrived.put(times)


class Inserts:
    """One chunked `/inserts-stream`."""

    def __init__(self, server):
        self.socket = socket.create_connection((server.host, server.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        head = f"POST /inserts-stream HTTP/1.1\r\nHost: {server.host}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        self.socket.sendall(head.encode())
        self.chunk('{"target": "S"}\n')

    def chunk(self, text):
        data = text.encode()
        self.socket.sendall(b"%x\r\n%s\r\n" % (len(data), data))

    def row(self, i):
        self.chunk(json.dumps({"ID": i, "V": i}) + "\n")
        # Acknowledgements are read so that the server never waits; they are not timed.
        self.socket.setblocking(False)
        try:
            self.socket.recv(1 << 16)
        except BlockingIOError:
            pass
        self.socket.setblocking(True)

    def close(self):
        self.socket.sendall(b"0\r\n\r\n")
        self.socket.close()


class Statements:
    """One INSERT a request, on one connection."""

    def __init__(self, server):
        self.connection = server.connection()
        self.connection.connect()
        self.connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def row(self, i):
        body = json.dumps({"ksql": f"INSERT INTO s VALUES ({i}, {i});"})
        self.connection.request("POST", "/ksql", body, {"Content-Type": "application/json"})
        answer = self.connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"an insert was refused: {answer.status}")

    def close(self):
        self.connection.close()


def measure(binary, data, sync, sender, rate, seconds):
    rows = rate * seconds
    with Server(binary, data) as server:
        server.ksql(CREATE)
        ready, arrived = multiprocessing.Event(), multiprocessing.Queue()
        reader = multiprocessing.Process(target=read_rows, args=(server.host, server.port, rows, ready, arrived))
        reader.start()
        if not ready.wait(30):
            raise SystemExit("the push query never began")
        to = sender(server)
        sent, behind_ms = {}, 0.0
        begun = time.monotonic() + 0.01
        for i in range(rows):
            due = begun + i / rate
            while (left := due - time.monotonic()) > 0:
                time.sleep(left if left > 0.0005 else 0)
            behind_ms = max(behind_ms, -left * 1000)
            sent[i] = time.monotonic_ns()
            to.row(i)
        times = arrived.get(timeout=60)
        reader.join()
        to.close()
    took = [(times[i] - sent[i]) / 1e6 for i in range(rows // 10, rows)]
    say(measured="insert_to_push_ms", data=sync, door=sender.__name__.lower(), rate=rate, behind_ms_max=round(behind_ms, 1), **quantiles(took))


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--seconds", type=int, default=10)
    arguments.add_argument("--rate", type=int, default=1000)
    options = arguments.parse_args()
    binary = os.path.abspath(options.binary)
    for sender in [Inserts, Statements]:
        measure(binary, ":memory:", "memory", sender, options.rate, options.seconds)
        with tempfile.TemporaryDirectory() as folder:
            measure(binary, folder + "/data", "durable", sender, options.rate, options.seconds)


if __name__ == "__main__":
    main()
