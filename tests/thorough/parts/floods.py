"""A minute of mints by one owner, as many as the daemon can take, and a million bad credentials: memory that stands still,
and a file that does not grow with what was refused.

The minute begins when the store's cache is warm: before, memory grows up to the cache's own limit."""
# seconds: 3600

import json
import os
import secrets
import selectors
import socket
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from workbench import Daemon, check, ok, resident_mib

QUICK = bool(os.environ.get("THOROUGH_QUICK"))
# Warm is a store that is several times as large as what is kept of it in memory; a slow machine gets no further in time.
WARM_TOKENS, WARM_SECONDS_MAX, FLOOD_SECONDS = (10_000, 5, 10) if QUICK else (600_000, 1_200, 60)
REFUSED = 20_000 if QUICK else 1_000_000
CONNECTIONS = 256
SAMPLE_SECONDS = 0.5
AT_ONCE = 50
SLOPE_MIB_MAX = 1.0
BYTES_MAX = 1024
GROWTH_MIB_MAX = 1.0


class Pipe:
    """A kept connection on which requests go out many at once."""

    def __init__(self, port):
        self.socket = socket.create_connection(("127.0.0.1", port), 30)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def ask(self, requests):
        """The statuses of their answers."""
        self.socket.sendall(b"".join(requests))
        statuses = []
        while len(statuses) < len(requests):
            head, end, rest = self.rest.partition(b"\r\n\r\n")
            if not end:
                self.more()
                continue
            length = 0
            for line in head.split(b"\r\n"):
                if line.lower().startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            while len(rest) < length:
                self.more()
                rest = self.rest.partition(b"\r\n\r\n")[2]
            self.rest = rest[length:]
            statuses.append(int(head[9:12]))
        return statuses

    def more(self):
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError("closed")
        self.rest += data


def post(path, body, headers=""):
    text = body.encode()
    kind = "Content-Type: application/json\r\n"
    return f"POST {path} HTTP/1.1\r\nHost: x\r\n{kind}{headers}Content-Length: {len(text)}\r\n\r\n".encode() + text


def store_bytes(daemon):
    return (daemon.folder / "data" / "bearerd.redb").stat().st_size


def slope(samples):
    """The growth of a minute, by least squares."""
    count = len(samples)
    mean_x = sum(at for at, _ in samples) / count
    mean_y = sum(value for _, value in samples) / count
    above = sum((at - mean_x) * (value - mean_y) for at, value in samples)
    return 60 * above / sum((at - mean_x) ** 2 for at, _ in samples)


class Crowd:
    """Many kept connections, each of which asks again as soon as it is answered; all in one loop."""

    def __init__(self, port, asked):
        self.asked, self.made, self.wrong = asked, 0, []
        self.selector = selectors.EpollSelector()
        for _ in range(CONNECTIONS):
            connection = socket.create_connection(("127.0.0.1", port), 30)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.selector.register(connection, selectors.EVENT_READ, bytearray())
            connection.sendall(asked)

    def run(self, seconds, ask_again=True):
        """Goes on for so long, or, where nobody asks again, until everybody is answered."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and self.selector.get_map():
            for key, _ in self.selector.select(left):
                data = key.fileobj.recv(1 << 16)
                if not data:
                    raise ConnectionError("closed")
                key.data.extend(data)
                if self.is_answered(key.data):
                    if ask_again:
                        key.fileobj.sendall(self.asked)
                    else:
                        self.selector.unregister(key.fileobj)
                        key.fileobj.close()

    def is_answered(self, data):
        """Whether the answer is whole; if so it is counted."""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            return False
        at = data.lower().find(b"content-length:", 0, end)
        length = int(data[at + 15 : data.find(b"\r", at)]) if at >= 0 else 0
        if len(data) < end + 4 + length:
            return False
        status = int(data[9:12])
        self.made += status == 201
        if status not in (201, 429):
            self.wrong.append((status, bytes(data[end + 4 :])))
        data.clear()
        return True


def mints():
    with Daemon() as daemon:
        crowd = Crowd(daemon.port, post("/v1/tokens", '{"name": "flood"}', f"Authorization: Bearer {daemon.session}\r\n"))
        began = time.monotonic()
        while (warm := time.monotonic() - began) < WARM_SECONDS_MAX and crowd.made < WARM_TOKENS:
            crowd.run(SAMPLE_SECONDS)
        samples, before, began = [], crowd.made, time.monotonic()
        while (at := time.monotonic() - began) < FLOOD_SECONDS:
            samples.append((at, resident_mib(daemon.process.pid)))
            crowd.run(SAMPLE_SECONDS)
        during = crowd.made - before
        crowd.run(60, ask_again=False)
        # As long as it takes, as an operator does it.
        socket_path = str(daemon.folder / "data" / "admin.sock")
        compacted = subprocess.run([os.environ["BEARERD_BIN"], "compact", "--socket", socket_path], capture_output=True, text=True)
        status = subprocess.run([os.environ["BEARERD_BIN"], "status", "--json", "--socket", socket_path], capture_output=True, text=True)
        each = store_bytes(daemon) / max(crowd.made, 1)
        grown = slope(samples)
        told = (
            f"floods: {during} tokens in {at:.0f} s over {CONNECTIONS} connections, {during / at:.0f} a second, after {before} in {warm:.0f} s; memory "
            f"{samples[0][1]:.1f} to {samples[-1][1]:.1f} MiB, {grown:+.2f} MiB a minute; {each:.0f} bytes of file for a token with its entry"
        )
        check("floods: every mint is a 201, or a 429 where the queue is full", crowd.wrong[:5], [])
        check("floods: every mint that was answered is there", held(status.stdout) - crowd.made, 0)
        check("floods: the store is compacted", (compacted.returncode, compacted.stderr if compacted.returncode else ""), (0, ""))
        if not QUICK:  # of a few seconds and tokens, the start is the most
            check(f"floods: at most {BYTES_MAX} bytes for a token with its entry", each <= BYTES_MAX, True)
            check(f"floods: memory grows by at most {SLOPE_MIB_MAX} MiB a minute", grown <= SLOPE_MIB_MAX, True)
        ok(told)


def held(status):
    """How many PATs there are."""
    return json.loads(status)["tokens"]["pat"]


def refusals():
    with Daemon() as daemon:
        real = [daemon.pat()["token"] for _ in range(20)]

        def forged(number):
            # Of our shape or almost: nobody has minted them.
            token = "bdr_enr_" + secrets.token_hex(13) + secrets.token_hex(22)[:49]
            if number % 3 == 0:
                return f"GET /v1/me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
            if number % 3 == 1:
                typo = real[number % len(real)][:-1] + "~"
                return f"GET /v1/authorize HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {typo}\r\n\r\n".encode()
            return post("/v1/enroll", f'{{"token": "{token}", "hostname": "h", "os": "o", "arch": "a"}}')

        Pipe(daemon.port).ask([forged(number) for number in range(1000)])
        time.sleep(12)  # what was refused so far is written within 10 s
        pipe = Pipe(daemon.port)
        before, memory = store_bytes(daemon), resident_mib(daemon.process.pid)
        wrong, asked, began = [], 0, time.monotonic()
        while asked < REFUSED:
            batch = [forged(asked + number) for number in range(AT_ONCE)]
            wrong += [status for status in pipe.ask(batch) if status != 401][:5]
            asked += AT_ONCE
        took = time.monotonic() - began
        time.sleep(12)
        grown = (store_bytes(daemon) - before) / (1 << 20)
        more = resident_mib(daemon.process.pid) - memory
        entries = daemon.json("GET", "/v1/audit?action=enrollment.refused&limit=500", bearer=daemon.session)["items"]
        counted = sum(entry["params"].get("count", 1) for entry in entries)
        check("floods: every bad credential is a 401", wrong[:5], [])
        check(f"floods: the file grows by at most {GROWTH_MIB_MAX} MiB", grown <= GROWTH_MIB_MAX, True)
        check("floods: every refused enrolment is counted", counted >= REFUSED // 3, True)
        ok(
            f"floods: {asked} bad credentials in {took:.0f} s: the file grew by {grown:.2f} MiB, memory by {more:+.1f} MiB, "
            f"{len(entries)} entries of the audit log count {counted} refused enrolments"
        )


mints()
refusals()
