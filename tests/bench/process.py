"""A server to measure, and what the kernel says of a process. Used by the scripts beside it; no script itself."""

import http.client
import json
import os
import re
import subprocess

TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def environment():
    """What the developer's shell sets must not change what is measured."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HEADWATER_")}
    return {**kept, "HEADWATER_HISTORY": "", "NO_COLOR": "1", "TERM": "xterm", "COLUMNS": "200"}


class Server:
    """`headwater serve` on a free port, ended at the end of a `with`."""

    def __init__(self, binary, data):
        command = [binary, "serve", "--data", data, "--listen", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())
        for line in self.process.stderr:
            found = re.search(r"listens on http://([^:]+):(\d+)", line)
            if found:
                self.host, self.port = found[1], int(found[2])
                break
        else:
            raise SystemExit("the server ended before it listened")
        self.pid = self.process.pid
        self.url = f"http://{self.host}:{self.port}"

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)

    def connection(self):
        return http.client.HTTPConnection(self.host, self.port, timeout=300)

    def ksql(self, sql, **properties):
        connection = self.connection()
        body = json.dumps({"ksql": sql, "streamsProperties": properties})
        connection.request("POST", "/ksql", body, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode()
        if answer.status != 200:
            raise SystemExit(f"{answer.status}: {text[:500]}")
        return json.loads(text)


def status(pid, name):
    with open(f"/proc/{pid}/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name + ":"))


def rss_mb(pid):
    return round(status(pid, "VmRSS") / 1024, 1)


def threads(pid):
    return status(pid, "Threads")


def cpu_ticks(pid):
    """Ticks of all threads, in user and kernel mode."""
    with open(f"/proc/{pid}/stat") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def quantiles(values, digits=3):
    ordered = sorted(values)
    at = lambda share: round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], digits)
    return {"n": len(ordered), "p50": at(0.5), "p99": at(0.99), "max": at(1)}


def say(**measured):
    print(json.dumps(measured), flush=True)
