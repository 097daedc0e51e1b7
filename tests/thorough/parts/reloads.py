"""500 reloads by SIGHUP while 8 connections call with a service's secret: no request fails, and once a reload is told
as done, the secret that it removed is refused, also on a connection that was open all the time. Then 10,000 signals
in a burst: a few reloads, one at a time, and no memory.

Prints how many requests a second there were beside the reloads."""

import http.client
import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from workbench import Daemon, check, resident_mib, wait_for

QUICK = bool(os.environ.get("THOROUGH_QUICK"))
RELOADS = 50 if QUICK else 500
BURST = 10_000
CALLERS = 8
GROWTH_MIB_MAX = 8


class AdminSocket(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("bearerd", timeout=20)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self.path)


def ask(connection, method, path, bearer=None):
    connection.request(method, path, headers={"Authorization": "Bearer " + bearer} if bearer else {})
    answer = connection.getresponse()
    return answer.status, answer.read()


class Callers:
    """Connections that are kept, and call with a secret that stays."""

    def __init__(self, daemon):
        self.daemon, self.stop, self.served, self.failed = daemon, threading.Event(), [0] * CALLERS, []
        self.threads = [threading.Thread(target=self.call, args=(number,)) for number in range(CALLERS)]

    def call(self, number):
        connection = http.client.HTTPConnection("127.0.0.1", self.daemon.port, timeout=20)
        while not self.stop.is_set():
            try:
                status, _ = ask(connection, "GET", "/v1/me", self.daemon.secret)
                if status != 200:
                    self.failed.append(status)
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                return
            self.served[number] += 1

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def write(path, text):
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.chmod(0o600)
    fresh.rename(path)


with Daemon('[services.swap]\nsecret_file = "swap.secret"\n') as daemon:
    admin = AdminSocket(daemon.folder / "data" / "admin.sock")

    def told():
        return json.loads(ask(admin, "GET", "/v1/admin/status")[1])["reload"]

    def reload():
        before = told()["generation"]
        daemon.process.send_signal(signal.SIGHUP)
        wait_for("the reload", lambda: told()["generation"] > before)

    file = daemon.folder / "swap.secret"
    new = secrets.token_urlsafe(32)
    write(file, new)
    reload()
    kept = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
    stale, lost = [], []
    began = time.monotonic()
    with Callers(daemon) as callers:
        for number in range(RELOADS):
            old, new = new, secrets.token_urlsafe(32)
            write(file, new)
            reload()
            if ask(kept, "GET", "/v1/me", old)[0] != 401:
                stale.append(number)
            if ask(kept, "GET", "/v1/me", new)[0] != 200:
                lost.append(number)
    took = time.monotonic() - began
    print(f"{RELOADS} reloads by SIGHUP in {took:.1f} s, {sum(callers.served) / took:.0f} requests a second beside them")
    check("reloads: no request failed", callers.failed[:5], [])
    check("reloads: at least 200 requests a second", sum(callers.served) / took >= 200, True)
    check("reloads: no removed secret was accepted once its reload was told", stale, [])
    check("reloads: the new one was", lost, [])

    def burst(count):
        for _ in range(count):
            daemon.process.send_signal(signal.SIGHUP)
        reload()

    burst(1_000)  # Warm: memory that the first ones take is not growth.
    before, generation = resident_mib(daemon.process.pid), told()["generation"]
    with Callers(daemon) as callers:
        burst(BURST)
    after, made = resident_mib(daemon.process.pid), told()["generation"] - generation
    print(f"{BURST} signals: {made} reloads, memory {before:.1f} MiB before, {after:.1f} MiB after")
    check("reloads: a burst of signals is coalesced", 0 < made < BURST, True)
    check(f"reloads: memory grows by less than {GROWTH_MIB_MAX} MiB", after - before < GROWTH_MIB_MAX, True)
    check("reloads: no request failed beside the burst", callers.failed[:5], [])
    check("reloads: the daemon serves afterwards", ask(kept, "GET", "/v1/me", new)[0], 200)
