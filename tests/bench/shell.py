#!/usr/bin/env python3
"""How soon does the shell prompt, show a pushed row, and leave the CPU alone after Ctrl-C?

    tests/bench/shell.py --binary target/release/headwater [--runs 20]

Everything goes through a pseudo-terminal. One JSON line per measurement:

| measured | from | to | bar |
|---|---|---|---|
| prompt_ms | just before exec | the prompt is on the terminal | 100 |
| push_row_ms | just before the INSERT is sent to the server | its row is on the terminal of a shell | 200 |
| idle_after_ctrl_c_ms | Ctrl-C is sent | shell and server use no more than a tick in 200 ms | 1000 |

Ctrl-C is measured on a push query that prints without end and on a batch join that would take minutes, on an engine of the
shell's own and on a server.
"""

import argparse
import json
import os
import pty
import select
import signal
import tempfile
import time

from process import Server, cpu_ticks, environment, quantiles, say

PROMPT = b"headwater> "
QUIET_S = 0.2


class Shell:
    def __init__(self, binary, *options):
        self.begun = time.monotonic()
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:
            os.execve(binary, [binary, *options], environment())
        self.seen = b""

    def wait_for(self, text, timeout_s=60):
        """Seconds on the monotonic clock when `text` was there; what came before it is forgotten."""
        end = time.monotonic() + timeout_s
        while text not in self.seen:
            if not select.select([self.terminal], [], [], max(0, end - time.monotonic()))[0]:
                raise SystemExit(f"{text!r} never came; the terminal shows {self.seen[-500:]!r}")
            self.seen += os.read(self.terminal, 65536)
        now = time.monotonic()
        self.seen = self.seen.split(text, 1)[1]
        return now

    def send(self, text):
        os.write(self.terminal, text.encode())

    def drain(self):
        while select.select([self.terminal], [], [], 0)[0]:
            os.read(self.terminal, 65536)
        self.seen = b""

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.close(self.terminal)
        os.waitpid(self.pid, 0)


def prompts(binary, runs):
    with tempfile.TemporaryDirectory() as folder:
        for name, options in [("memory", ["--data", ":memory:"]), ("directory", ["--data", folder + "/data"])]:
            took = []
            for _ in range(runs):
                shell = Shell(binary, *options)
                took.append((shell.wait_for(PROMPT) - shell.begun) * 1000)
                shell.close()
            say(measured="prompt_ms", data=name, **quantiles(took, 1))


CREATE = "CREATE STREAM s (id INT KEY, v BIGINT) WITH (kafka_topic='s', value_format='JSON', partitions=1);"


def pushed_rows(binary, runs):
    with tempfile.TemporaryDirectory() as folder, Server(binary, folder + "/data") as server:
        server.ksql(CREATE)
        shell = Shell(binary, "--server", server.url)
        shell.wait_for(PROMPT)
        shell.send("SELECT id, v FROM s EMIT CHANGES;\r")
        shell.wait_for(b" V \r\n")
        took = []
        for i in range(runs):
            marker = 7_000_000 + i
            begun = time.monotonic()
            server.ksql(f"INSERT INTO s VALUES ({i}, {marker});")
            took.append((shell.wait_for(str(marker).encode()) - begun) * 1000)
            time.sleep(0.05)
        say(measured="push_row_ms", **quantiles(took, 2))
        shell.close()


def busy_until(shell, pids, begun):
    """Seconds from `begun` to the beginning of the first quiet window."""
    while True:
        before, at = [cpu_ticks(pid) for pid in pids], time.monotonic()
        while time.monotonic() < at + QUIET_S:
            shell.drain()
            time.sleep(0.01)
        if all(cpu_ticks(pid) - ticks <= 1 for pid, ticks in zip(pids, before)):
            return at - begun
        if at > begun + 30:
            raise SystemExit("the CPU is still busy 30 s after Ctrl-C")


def ctrl_c(binary, rows):
    with tempfile.TemporaryDirectory() as folder:
        lines = os.path.join(folder, "rows.json")
        with open(lines, "w") as out:
            out.writelines(json.dumps({"ID": i, "V": i % 1000}) + "\n" for i in range(rows))
        data = folder + "/data"
        script = os.path.join(folder, "s.sql")
        with open(script, "w") as out:
            out.write(CREATE + f"\nCOPY s FROM '{lines}';\n")
        if os.spawnve(os.P_WAIT, binary, [binary, "--data", data, "-f", script], environment()) != 0:
            raise SystemExit("the rows cannot be loaded")
        queries = {
            "push": ("SET 'auto.offset.reset' = 'earliest';", "SELECT id, v FROM s EMIT CHANGES;"),
            "batch": ("SET 'auto.offset.reset' = 'earliest';", "SELECT COUNT(*) AS n FROM s a JOIN s b ON a.v < b.v + 1000000;"),
        }
        for name, (before, select) in queries.items():
            shell = Shell(binary, "--data", data)
            measure(shell, [shell.pid], name, "embedded", before, select)
            with Server(binary, data) as server:
                shell = Shell(binary, "--server", server.url)
                measure(shell, [shell.pid, server.pid], name, "server", before, select)


def measure(shell, pids, name, where, before, select):
    shell.wait_for(PROMPT)
    shell.send(before + "\r")
    shell.wait_for(PROMPT)
    shell.send(select + "\r")
    end = time.monotonic() + 1
    while time.monotonic() < end:
        shell.drain()
        time.sleep(0.005)
    ticks = sum(cpu_ticks(pid) for pid in pids)
    begun = time.monotonic()
    shell.send("\x03")
    idle = busy_until(shell, pids, begun)
    say(measured="idle_after_ctrl_c_ms", query=name, engine=where, busy_ticks_before=ticks, value=round(idle * 1000))
    shell.close()


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--binary", required=True)
    arguments.add_argument("--runs", type=int, default=20)
    arguments.add_argument("--rows", type=int, default=200_000)
    options = arguments.parse_args()
    binary = os.path.abspath(options.binary)
    prompts(binary, options.runs)
    pushed_rows(binary, options.runs)
    ctrl_c(binary, options.rows)


if __name__ == "__main__":
    main()
