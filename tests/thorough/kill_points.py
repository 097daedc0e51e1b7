#!/usr/bin/env python3
"""Kills the daemon (SIGKILL) at each write and each sync of an enrolment, one after the other, with strace.

After a restart the same attempt must enrol exactly one host, with the reply of the first call if that one
was heard; its agent token and its credentials are good. A point that did not strike ends the row: it says
nothing, and is not counted.

python3 tests/thorough/kill_points.py [PATH OF bearerd]     (needs strace, and the right to trace)
"""

import json, http.client, os, signal, socket, subprocess, sys, tempfile, time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BINARY = sys.argv[1] if len(sys.argv) > 1 else str(TARGET / "debug" / "bearerd")
CREDENTIALS = {"password": "of the host"}
PATIENCE_SECONDS = 30


class Unix(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE_SECONDS)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Daemon:
    def __init__(self, home):
        self.home = home
        command = [BINARY, "serve", "--data", f"{home}/data", "--listen", "127.0.0.1:0"]
        log = open(f"{home}/log", "ab")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
        while "listening on http://" not in (line := self.process.stdout.readline()):
            assert line, "the daemon did not start: " + Path(f"{home}/log").read_text()
        self.port = int(line.rsplit(":", 1)[1])

    def ask(self, method, path, body=None, token=None, admin=False):
        """Status and answer; (0, None) where the connection broke."""
        connection = (
            Unix(f"{self.home}/data/admin.sock")
            if admin
            else http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_SECONDS)
        )
        headers = {"Content-Type": "application/json"} if body is not None else {}
        if token:
            headers["Authorization"] = "Bearer " + token
        try:
            connection.request(method, path, None if body is None else json.dumps(body), headers)
            answer = connection.getresponse()
            text = answer.read()
            return answer.status, json.loads(text) if text else None
        except (OSError, http.client.HTTPException):
            return 0, None
        finally:
            connection.close()

    def end(self):
        self.process.terminate()
        self.process.wait(PATIENCE_SECONDS)


def traced(daemon, call, number):
    """Attaches strace to the running daemon; it kills the daemon at its next `number`th such call."""
    command = ["strace", "-f", "-qq", "-o", f"{daemon.home}/trace", "-e", f"trace={call}"]
    command += ["-e", f"inject={call}:signal=KILL:when={number}", "-p", str(daemon.process.pid)]
    end = time.monotonic() + PATIENCE_SECONDS
    strace = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not all(f"TracerPid:\t{strace.pid}\n" in state for state in states(daemon)):
        assert time.monotonic() < end, "strace did not attach"
        if strace.poll() is not None:  # a thread ended just then
            strace = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        time.sleep(0.01)
    return strace


def states(daemon):
    """The status of each thread of the daemon."""
    for task in Path(f"/proc/{daemon.process.pid}/task").iterdir():
        try:
            yield (task / "status").read_text()
        except OSError:  # it ended just then
            pass


def point(call, number):
    """Whether the point struck; fails if what is left is neither unspent nor to be had again."""
    with tempfile.TemporaryDirectory(prefix="bearerd-kill-") as home:
        daemon = Daemon(home)
        _, made = daemon.ask("POST", "/v1/enrollments", {"credentials": CREDENTIALS}, admin=True)
        enrol = {"token": made["token"], "hostname": "web-1", "os": "linux", "arch": "x86_64"}
        enrol["attempt"] = "0123456789abcdefghijkl"
        strace = traced(daemon, call, number)
        first_status, first = daemon.ask("POST", "/v1/enroll", enrol)
        try:
            struck = daemon.process.wait(1 if first_status == 201 else PATIENCE_SECONDS) == -signal.SIGKILL
        except subprocess.TimeoutExpired:
            struck = False
        strace.terminate()
        strace.wait()
        if not struck:
            assert first_status == 201, first_status
            daemon.end()
            return None
        daemon = Daemon(home)
        spent = len(daemon.ask("GET", "/v1/hosts", admin=True)[1]["items"]) == 1
        status, again = daemon.ask("POST", "/v1/enroll", enrol)
        assert status == 201, f"{call} {number}: {status} {again}"
        assert first_status != 201 or (spent and again == first), f"{call} {number}: an answer was taken back"
        assert len(daemon.ask("GET", "/v1/hosts", admin=True)[1]["items"]) == 1
        place = f"/v1/hosts/{again['host_id']}/credentials"
        assert daemon.ask("GET", place, token=again["agent_token"]) == (200, CREDENTIALS)
        assert daemon.ask("POST", "/v1/enroll", enrol)[0] == 401, "the agent token was used"
        actions = [entry["action"] for entry in daemon.ask("GET", "/v1/audit", admin=True)[1]["items"]]
        assert actions.count("host.enroll") == 1, actions
        daemon.end()
        return "spent" if spent else "unspent"


def main():
    for call in sys.argv[2:] or ["pwrite64", "fdatasync", "ftruncate", "write", "sendto", "writev"]:
        outcomes = []
        while (outcome := point(call, len(outcomes) + 1)) is not None:
            outcomes.append(outcome)
        print(f"{call}: {len(outcomes)} points struck", *outcomes, flush=True)


main()
