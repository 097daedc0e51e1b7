"""Ends the daemon again and again while four writers keep it busy: 1,000 times with SIGKILL at a random moment, 100
times with SIGTERM. After each, what was acknowledged must hold: tokens that were minted are active, those that were
revoked, consumed or used up are not, and each has its one entry in the audit log. Looks at the newest facts and some
of the older ones after every cycle, and at all of them at the end.

BEARERD_KILL_CYCLES and BEARERD_STOP_CYCLES set the numbers, BEARERD_SEED repeats the moments.
"""
# seconds: 3600

import os
import random
import secrets
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from crash import BINARY, QUICK, Broken, Home, Ledger, check_holds, insist, percentile
from workbench import check, fail, ok

KILLS = int(os.environ.get("BEARERD_KILL_CYCLES") or (40 if QUICK else 1000))
STOPS = int(os.environ.get("BEARERD_STOP_CYCLES") or (8 if QUICK else 100))
SEED = os.environ.get("BEARERD_SEED") or secrets.token_hex(4)
# Until a kill, in seconds: long enough for some commits, short enough to meet the start as well.
LOAD_SECONDS_MAX = 0.12
READY_P99_SECONDS = 0.5
STOP_SECONDS = 5
NEWEST, OTHERS = 80, 120
ATTEMPT = "0123456789abcdefghijkl"


class Writer(threading.Thread):
    """Goes on until a connection breaks; writes down what it was told. What it was not told is unknown."""

    def __init__(self, daemon, ledger, names):
        super().__init__(daemon=True)
        self.asker, self.root = daemon.asker(), daemon.asker(admin=True)
        self.ledger, self.names, self.operations, self.wrong = ledger, names, 0, None

    def run(self):
        try:
            while self.once():
                self.operations += 1
        except Exception as wrong:  # told by whoever joins it
            self.wrong = wrong
        finally:
            self.asker.close()
            self.root.close()

    def mint(self, **wish):
        """A new token, or none where the connection broke."""
        status, made = self.asker.ask("POST", "/v1/tokens", {"name": "w", **wish}, bearer=self.names["session"])
        return self.answered(status, 201) and made

    def answered(self, status, wanted):
        """Whether there was an answer; it has to be this one. A daemon that is stopping may say so."""
        insist(status in (0, wanted, 503), "an answer under load:", status)
        return status == wanted


class Minting(Writer):
    def once(self):
        made = self.mint()
        if made:
            self.ledger.alive.append(made["token"])
            self.ledger.created.append(made["id"])
        return made


class Revoking(Writer):
    def once(self):
        made = self.mint()
        if not made:
            return False
        self.ledger.created.append(made["id"])
        status, _ = self.asker.ask("POST", "/v1/revoke", form={"token": made["token"]})
        if self.answered(status, 200):
            self.ledger.dead.append(made["token"])
        else:
            self.ledger.unknown.append(made["token"])
        return status == 200


class Enrolling(Writer):
    def once(self):
        status, made = self.root.ask("POST", "/v1/enrollments", {})
        if not self.answered(status, 201):
            return False
        token = made["token"]
        wish = {"token": token, "hostname": "h" + secrets.token_hex(8), "os": "linux", "arch": "x86_64"}
        status, host = self.asker.ask("POST", "/v1/enroll", {**wish, "attempt": ATTEMPT})
        if self.answered(status, 201):
            self.ledger.spent.append(token)
            self.ledger.alive.append(host["agent_token"])
        else:
            self.ledger.unknown.append(token)
        return status == 201


class Using(Writer):
    """Tokens of three uses, each used up."""

    def once(self):
        made = self.mint(max_uses=3)
        if not made:
            return False
        token = made["token"]
        self.ledger.created.append(made["id"])
        for used in range(3):
            self.ledger.uses[token] = (used, used + 1)
            status, _ = self.asker.ask("GET", "/v1/authorize", bearer=token)
            if not self.answered(status, 200):
                return False
            self.ledger.uses[token] = (used + 1, used + 1)
        status, _ = self.asker.ask("GET", "/v1/authorize", bearer=token)
        self.ledger.dead.append(token)
        return self.answered(status, 401)


WRITERS = (Minting, Revoking, Enrolling, Using)


def set_up(home):
    daemon = home.start()
    wish = {"install_token": daemon.install_token, "email": "ada@example.org", "password": "correct horse battery"}
    made = daemon.must(201, "POST", "/v1/setup", wish)
    return daemon, {"user": made["user"]["id"], "session": made["session"]["token"]}


def resolve(daemon, ledger):
    """What was unknown is looked at once; from then on it stays what it was."""
    for token in ledger.unknown:
        state = daemon.row(token)["state"]
        if state == "consumed":
            ledger.spent.append(token)
        elif state == "revoked":
            ledger.dead.append(token)
        elif "_pat_" in token:
            ledger.alive.append(token)
    ledger.unknown.clear()


def under_load(daemon, ledger, names, end):
    """Runs the writers until `end` has ended the daemon. How many operations were acknowledged."""
    writers = [kind(daemon, ledger, names) for kind in WRITERS]
    for writer in writers:
        writer.start()
    end(writers)
    for writer in writers:
        writer.join(30)
        insist(not writer.is_alive(), "a writer hangs")
        if writer.wrong:
            raise writer.wrong
    return sum(writer.operations for writer in writers)


def renewed(daemon, names):
    """The session of the writers, before it ends."""
    made = daemon.root(201, "POST", f"/v1/users/{names['user']}/sessions", {})
    names["session"] = made["token"]


def kills():
    moments, ready, ledger = random.Random(SEED), [], Ledger()
    operations = lost = failed = 0
    with Home() as home:
        daemon, names = set_up(home)
        for cycle in range(KILLS):

            def kill(_, victim=daemon):
                time.sleep(moments.random() * LOAD_SECONDS_MAX)
                victim.kill()

            try:
                operations += under_load(daemon, ledger, names, kill)
            except Broken as wrong:
                lost += 1
                fail("kills", f"cycle {cycle} of seed {SEED}: {wrong}")
            try:
                daemon = home.start()
            except Broken as wrong:
                fail("kills", f"cycle {cycle} of seed {SEED}: {wrong}")
                failed += 1
                break
            ready.append(daemon.ready_seconds)
            try:
                insist(daemon.ask("GET", "/readyz")[0] == 200, "not ready")
                resolve(daemon, ledger)
                ledger.hold(daemon, NEWEST, OTHERS)
            except Broken as wrong:
                lost += 1
                fail("kills", f"cycle {cycle} of seed {SEED}: {wrong}")
        if not failed:
            ledger.hold(daemon)
            ledger.entries_hold(daemon)
            insist(daemon.stop() == 0, "a clean stop")
            check_holds(home)
    facts = len(ledger.alive) + len(ledger.dead) + len(ledger.spent)
    insist(facts > KILLS, "the writers did write:", facts)
    check(f"kills: {KILLS} under 4 writers, {operations} operations, {facts} facts, seed {SEED}: lost or revived", lost, 0)
    check("kills: starts that failed", failed, 0)
    p99 = percentile(ready, 99)
    told = f"kills: ready after p50 {percentile(ready, 50) * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms, at most {max(ready) * 1000:.0f} ms"
    (ok if p99 <= READY_P99_SECONDS else lambda told: fail(told, "p99 of 500 ms is wanted"))(f"{told} ({BINARY})")


def stops():
    moments, ledger, took = random.Random(SEED + " stops"), Ledger(), []
    with Home() as home:
        daemon, names = set_up(home)
        operations = 0
        for cycle in range(STOPS):
            # Used shortly before the stop: that reaches the disk with it.
            used = daemon.root(201, "POST", f"/v1/users/{names['user']}/tokens", {"name": "used"})
            idle = daemon.asker()
            insist(idle.ask("GET", "/healthz")[0] == 200, "healthy")

            def stop(_, victim=daemon, token=used["token"]):
                time.sleep(moments.random() * LOAD_SECONDS_MAX)
                victim.must(200, "GET", "/v1/me", bearer=token)
                began = time.monotonic()
                insist(victim.stop() == 0, "the exit code of a stop")
                took.append(time.monotonic() - began)

            operations += under_load(daemon, ledger, names, stop)
            idle.close()
            daemon = home.start()
            resolve(daemon, ledger)
            ledger.hold(daemon, NEWEST, OTHERS)
            insist(daemon.row(used["token"])["last_used_at"], f"cycle {cycle}: the last use before a clean stop is lost")
        ledger.hold(daemon)
        ledger.entries_hold(daemon)
        insist(daemon.stop() == 0, "a clean stop")
        check_holds(home)
    insist(max(took) <= STOP_SECONDS, "a stop took", max(took))
    ok(
        f"kills: {STOPS} stops under load and with an idle connection, {operations} operations: exit code 0, nothing lost, "
        f"last uses kept, at most {max(took) * 1000:.0f} ms, p50 {percentile(took, 50) * 1000:.0f} ms"
    )


for part in (kills, stops):
    try:
        part()
    except Broken as wrong:
        fail(f"kills: {part.__name__}, seed {SEED}", wrong)
