"""Clients that hold connections: 1,000 slow ones of four kinds, each gone within its deadline while others are
served; 10,000 that are idle after a request; 10,000 with part of a head, which take memory; more than fit, in 64 MiB;
and 20,000 that come and go without a word.

Prints how long verification took meanwhile, and the daemon's memory."""

import contextlib
import http.client
import os
import resource
import socket
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from workbench import Daemon, check, request, resident_mib, skip, wait_for

QUICK = bool(os.environ.get("THOROUGH_QUICK"))
SLOW = 200 if QUICK else 1_000
MANY = 2_000 if QUICK else 10_000
HEADER_SECONDS, REQUEST_SECONDS = (2, 4) if QUICK else (5, 15)
# The answer that says so may be read for a second; the rest is for a machine with much other work, where a thousand
# clients take their share of it as well. What it took is printed.
LEEWAY_SECONDS = 1 + 14
# What other files a process needs beside its connections.
FILES_SPARE = 300
IDLE_MIB_MAX, PARTIAL_MIB_MAX = 200, 260
PARTIAL_HEAD = b"GET /healthz HTTP/1.1\r\nHost: h\r\nX-Long: " + b"x" * 4_000
GET = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
READ_MUCH = b"GET /openapi.json HTTP/1.1\r\nHost: h\r\n\r\n" * 100
DRIPPED_BODY = b"POST /v1/setup HTTP/1.1\r\nHost: h\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
KINDS = {
    "silent": HEADER_SECONDS,
    "slow head": HEADER_SECONDS,
    "slow body": REQUEST_SECONDS,
    "slow reader": REQUEST_SECONDS,
}


def connect(port, source, receive_bytes=None):
    connection = socket.socket()
    connection.setsockopt(socket.IPPROTO_IP, 24, 1)  # IP_BIND_ADDRESS_NO_PORT
    if receive_bytes:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    connection.bind((source, 0))
    connection.connect(("127.0.0.1", port))
    return connection


def held(daemon):
    """The clients' ends of the connections that the daemon has open: `address:port` in the kernel's spelling."""
    ends = set()
    with open("/proc/net/tcp") as table:
        next(table)
        for line in table:
            words = line.split()
            # A socket that no process holds any more has no inode.
            if int(words[1].split(":")[1], 16) == daemon.port and words[9] != "0":
                ends.add(words[2])
    return ends


def end_of(connection):
    address, port = connection.getsockname()
    return f"{int.from_bytes(socket.inet_aton(address), 'little'):08X}:{port:04X}"


class Verifying:
    """Asks about a token all the time, on a kept connection and on fresh ones, and notes how long it took."""

    def __init__(self, daemon):
        self.daemon, self.stop, self.took, self.wrong = daemon, threading.Event(), [], []
        self.form = "token=" + daemon.pat()["token"]
        self.threads = [threading.Thread(target=self.ask, args=(kept,)) for kept in (True, False)]

    def ask(self, kept):
        headers = {"Authorization": "Bearer " + self.daemon.secret, "Content-Type": "application/x-www-form-urlencoded"}
        connection = None
        while not self.stop.wait(0.005):
            began = time.monotonic()
            try:
                connection = connection or http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=20)
                connection.request("POST", "/v1/introspect", self.form, headers)
                answer = connection.getresponse()
                if answer.status != 200 or b'"active":true' not in answer.read():
                    self.wrong.append(answer.status)
            except (OSError, http.client.HTTPException) as error:
                self.wrong.append(repr(error))
            self.took.append(time.monotonic() - began)
            if not kept:
                connection.close()
                connection = None

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()

    def told(self):
        took = sorted(self.took)
        return ", ".join(f"{name} {took[int((len(took) - 1) * share)] * 1000:.1f} ms"
                         for name, share in (("median", 0.5), ("p99", 0.99), ("longest", 1))) + f" of {len(took)}"


def slow_clients():
    config = f"[limits]\nheader_seconds = {HEADER_SECONDS}\nrequest_seconds = {REQUEST_SECONDS}\n"
    with Daemon(config) as daemon, contextlib.ExitStack() as open_connections, Verifying(daemon) as verifying:
        began = time.monotonic()
        ends, dripping = {kind: set() for kind in KINDS}, []
        for number in range(SLOW):
            kind = list(KINDS)[number % len(KINDS)]
            connection = open_connections.enter_context(connect(daemon.port, "127.0.0.2", 2_048))
            ends[kind].add(end_of(connection))
            connection.setblocking(False)
            if kind in ("slow head", "slow body"):
                connection.send(GET[:10] if kind == "slow head" else DRIPPED_BODY)
                dripping.append(connection)
            elif kind == "slow reader":
                with contextlib.suppress(BlockingIOError):
                    connection.send(READ_MUCH)
        connected = time.monotonic()
        everybody = set().union(*ends.values())
        # Taken from the kernel's queue by the daemon, not only put there.
        wait_for("the slow clients are let in", lambda: len(everybody & held(daemon)) > SLOW * 0.9)
        gone = {}
        while len(gone) < len(KINDS) and time.monotonic() < connected + max(KINDS.values()) + LEEWAY_SECONDS:
            for connection in dripping:
                with contextlib.suppress(OSError):
                    connection.send(b"x")
            now_held = held(daemon)
            for kind in KINDS:
                if kind not in gone and not ends[kind] & now_held:
                    gone[kind] = time.monotonic()
            time.sleep(0.25)
        for kind, seconds in KINDS.items():
            if kind in gone:
                print(f"{SLOW // len(KINDS)} {kind}: gone {gone[kind] - began:.1f} s after the first began, {gone[kind] - connected:.1f} s after the last")
            in_time = kind in gone and gone[kind] - connected < seconds + LEEWAY_SECONDS
            check(f"slow clients: {kind} is gone within its deadline of {seconds} s", in_time, True)
    check("slow clients: verification went on", (verifying.wrong[:5], len(verifying.took) > 100), ([], True))
    print("verification beside slow clients: " + verifying.told())


def many(what, source, first, mib_max, answered):
    """Many connections that stay as they are after their first bytes."""
    with Daemon("[limits]\nheader_seconds = 300\n") as daemon, contextlib.ExitStack() as open_connections:
        before = resident_mib(daemon.process.pid)
        connections = []
        for number in range(MANY):
            connections.append(open_connections.enter_context(connect(daemon.port, source)))
            connections[-1].sendall(first)
            # The daemon need not be faster than this loop.
            if answered and number % 500 == 499:
                connections[-1].recv(4_096)
        silent = [c for number, c in enumerate(connections) if answered and number % 500 != 499 and not c.recv(4_096)]
        with Verifying(daemon) as verifying:
            while len(verifying.took) < (200 if QUICK else 1_000):
                time.sleep(0.1)
            after = resident_mib(daemon.process.pid)
            there = len({end_of(connection) for connection in connections} & held(daemon))
        check(f"{what}: {MANY} are held", (there, silent), (MANY, []))
        print(f"{MANY} {what}: {before:.0f} MiB before, {after:.0f} MiB with them, {(after - before) * 1024 / MANY:.1f} KiB each")
        print(f"verification beside {what}: " + verifying.told())
        check(f"{what}: no more than {mib_max} MiB", after <= mib_max, True)
        check(f"{what}: verification went on", verifying.wrong[:5], [])
        check(f"{what}: a newcomer is served", request(daemon.port, "GET", "/healthz")[0], 200)


class Memory:
    """A control group with so much memory, of either version; `made` is false where none can be made."""

    def __init__(self, mib):
        old, new = Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")
        parent, limit, self.events = (old, "memory.limit_in_bytes", "memory.oom_control") if old.is_dir() else (new, "memory.max", "memory.events")
        self.folder = parent / f"bearerd-thorough-{os.getpid()}"
        try:
            self.folder.mkdir()
            (self.folder / limit).write_text(str(mib << 20))
            self.made = True
        except OSError:
            self.made = False

    def take_in(self, pid):
        (self.folder / "cgroup.procs").write_text(str(pid))

    def kills(self):
        words = (self.folder / self.events).read_text().split()
        return int(words[words.index("oom_kill") + 1])

    def end(self):
        with contextlib.suppress(OSError):
            self.folder.rmdir()


def in_little_memory(source):
    """Three times the connections that there may be, each with part of a head, in the memory that docs/http.md names."""
    memory = Memory(64)
    if not memory.made:
        skip("little memory", "no control group can be made here")
        return
    try:
        with Daemon("[limits]\nheader_seconds = 300\nconnections = 1000\n") as daemon, contextlib.ExitStack() as open_connections:
            memory.take_in(daemon.process.pid)
            for _ in range(3_000):
                connection = open_connections.enter_context(connect(daemon.port, source))
                with contextlib.suppress(OSError):  # Who was asked to leave for another need not be there any more.
                    connection.sendall(PARTIAL_HEAD)
            with Verifying(daemon) as verifying:
                while len(verifying.took) < 100:
                    time.sleep(0.1)
            print(f"1000 connections at most, 3000 come, in 64 MiB: {resident_mib(daemon.process.pid):.0f} MiB; verification: {verifying.told()}")
            check("little memory: nobody is killed for it", (memory.kills(), daemon.process.poll()), (0, None))
            check("little memory: verification went on", verifying.wrong[:5], [])
    finally:
        memory.end()


def come_and_go(source):
    with Daemon() as daemon, Verifying(daemon) as verifying:
        began = time.monotonic()
        for _ in range(2_000 if QUICK else 20_000):
            connect(daemon.port, source).close()
        print(f"who comes and goes without a word: {(2_000 if QUICK else 20_000) / (time.monotonic() - began):.0f} a second; "
              f"memory {resident_mib(daemon.process.pid):.0f} MiB")
        wait_for("all of them are gone", lambda: len(held(daemon)) < 10)
    check("come and go: verification went on", (verifying.wrong[:5], len(verifying.took) > 10), ([], True))
    print("verification beside them: " + verifying.told())


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < MANY + FILES_SPARE:
        skip("slow clients", f"{hard} open files are allowed here, {MANY + FILES_SPARE} are needed")
        return
    # The daemon inherits it; its own limit on connections is below.
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, MANY + FILES_SPARE), hard))
    slow_clients()
    many("idle connections", "127.0.0.3", GET, IDLE_MIB_MAX, True)
    many("partial heads", "127.0.0.4", PARTIAL_HEAD, PARTIAL_MIB_MAX, False)
    in_little_memory("127.0.0.5")
    come_and_go("127.0.0.6")


main()
