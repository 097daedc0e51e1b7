"""Kills the daemon, or the command that works on its store, with SIGKILL before each system call that matters of a
first start, of every kind of change, of a reload, a backup, a restore, a purge and a stop; then kills it again during
the recovery from that, and in every fourth case once more.

A kill before each call leaves every state that there is between two calls. Which calls there are is found out by
tracing the same deed once without a kill, since strace counts `when=N` for each thread. A point that did not strike
says nothing and is counted apart. Judged by what was acknowledged (a ledger kept outside), by what the deed may have
left (all of it, or nothing), by the audit log (an entry exactly where there is a change) and by `bearerd check`.

`kill_points.py DEED…` looks at these deeds only, $BEARERD_CALLS (`rename,unlink`) has them killed at these calls only.
"""
# seconds: 7200

import itertools
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from crash import (
    BINARY, KILLED, PASSWORD, QUICK, Attached, Broken, DidNotStart, Home, Ledger, Shim, chain_holds,
    check_holds, counted, counting, injecting, insist, strace,
)
from workbench import fail, ok, skip

CALLS = os.environ.get("BEARERD_CALLS", "").replace(",", " ").split() or (
    "openat mkdir write writev sendto pwrite64 ftruncate fdatasync fsync rename renameat2 link linkat unlink unlinkat "
    "fchmod flock copy_file_range"
).split()
# How long a deed that was acknowledged may take to die: its last calls come after the answer.
AFTERMATH_SECONDS = 0.4
QUICK_POINTS = 4
CONFIG = """
[tokens]
purge_after = "1h"
[services.proxy]
secret_file = "proxy.secret"
groups = ["operator"]
"""
OLD_SECRET, NEW_SECRET = "the-first-secret-of-the-proxy-" + "a" * 32, "the-second-secret-of-the-proxy-" + "b" * 32
CREDENTIALS = {"password": "of the host"}
ATTEMPT = "0123456789abcdefghijkl"
SHIM = None


class Seed:
    """A stopped store that has been used, and what is known of it. Each point begins with a copy."""

    def __init__(self):
        self.home, self.facts, self.names = Home(CONFIG), Ledger(), {}
        self.home.file("proxy.secret", OLD_SECRET)
        with_daemon(self.home, self.fill)

    def fill(self, daemon):
        facts, names = self.facts, self.names
        wish = {"install_token": daemon.install_token, "email": "ada@example.org", "password": PASSWORD}
        ada = daemon.must(201, "POST", "/v1/setup", wish)
        names["ada"], names["session"] = ada["user"]["id"], ada["session"]["token"]
        for number in range(4):
            facts.alive.append(self.pat(daemon, {"name": f"alive {number}"})["token"])
        jwt = self.pat(daemon, {"name": "jwt", "format": "jwt"})
        facts.alive.append(jwt["token"])
        revoked = self.pat(daemon, {"name": "revoked"})
        daemon.root(204, "DELETE", "/v1/tokens/" + revoked["id"])
        facts.dead.append(revoked["token"])
        counted_pat = self.pat(daemon, {"name": "counted", "max_uses": 5})["token"]
        daemon.must(200, "GET", "/v1/authorize", bearer=counted_pat)
        names["counted"], facts.uses[counted_pat] = counted_pat, (1, 1)
        names["victim"] = self.pat(daemon, {"name": "victim"})
        names["rotated"] = self.pat(daemon, {"name": "rotated"})
        ben = daemon.root(201, "POST", "/v1/users", {"email": "ben@example.org", "groups": ["operator"]})
        names["ben"] = ben["id"]
        names["bens"] = [
            daemon.root(201, "POST", f"/v1/users/{ben['id']}/sessions", {})["token"],
            daemon.root(201, "POST", f"/v1/users/{ben['id']}/tokens", {"name": "of ben"})["token"],
        ]
        enrol = self.enrolment(daemon)
        host = daemon.must(201, "POST", "/v1/enroll", self.enrolling(enrol, "first"))
        facts.spent.append(enrol)
        facts.alive.append(host["agent_token"])
        names["host"], names["enrolment"] = host["host_id"], self.enrolment(daemon)
        client = daemon.root(201, "POST", "/v1/clients", {"slug": "acme", "name": "Acme"})
        names["client"] = client["id"]
        once = daemon.root(201, "POST", f"/v1/clients/{client['id']}/links", {"single_use": True})
        names["link"] = once["token"]
        for number in range(40):  # what a compaction and a purge have to remove
            row = self.pat(daemon, {"name": f"old {number}", "ttl_seconds": 1})
            facts.dead.append(row["token"])
        names["rows"] = len(daemon.all("/v1/admin/tokens"))

    def pat(self, daemon, wish):
        made = daemon.root(201, "POST", f"/v1/users/{self.names['ada']}/tokens", wish)
        self.facts.created.append(made["id"])
        return made

    def enrolment(self, daemon):
        return daemon.root(201, "POST", "/v1/enrollments", {"credentials": CREDENTIALS})["token"]

    @staticmethod
    def enrolling(token, hostname):
        return {"token": token, "hostname": hostname, "os": "linux", "arch": "x86_64", "attempt": ATTEMPT}


def with_daemon(home, act):
    daemon = home.start()
    try:
        return act(daemon)
    finally:
        insist(daemon.stop() == 0, "a clean stop")


class Deed:
    """Something that is done and killed. `act` answers whether it was acknowledged, and is never repeated; `look` says
    whether it is there (True), or nothing of it (False)."""

    name = ""
    # What is killed: the running daemon that is asked, a daemon from its first call on, or a command.
    victim = "daemon"
    variables = {}

    def __init__(self, seed):
        self.seed, self.names = seed, seed.names

    def home(self):
        return self.seed.home.copy()

    def prepare(self, daemon):
        """What has to be there before."""

    def act(self, daemon):
        raise NotImplementedError

    def look(self, daemon):
        raise NotImplementedError

    def hold(self, daemon, done):
        """What else must hold, now that it is known whether it was done."""
        self.seed.facts.hold(daemon)
        self.seed.facts.entries_hold(daemon)

    def finish(self, home, daemon, done):
        """Service goes on; this may change things."""
        self.seed.pat_goes_on(daemon)


def goes_on(daemon):
    made = daemon.root(201, "POST", "/v1/users", {"email": "next@example.org"})
    daemon.root(200, "GET", "/v1/users/" + made["id"])


Seed.pat_goes_on = staticmethod(goes_on)


def entries(daemon, action, resource=None):
    path = f"/v1/audit?action={action}" + (f"&resource={resource}" if resource else "")
    return len(daemon.all(path))


class Mint(Deed):
    name = "mint"

    def act(self, daemon):
        self.minted = None
        status, answer = daemon.ask("POST", "/v1/tokens", {"name": "new"}, bearer=self.names["session"])
        insist(status in (0, 201), "minting:", status, answer)
        self.minted = answer
        return status == 201

    def look(self, daemon):
        rows = [row for row in daemon.all("/v1/admin/tokens?kind=pat") if row["name"] == "new"]
        insist(len(rows) <= 1, "minted twice")
        if self.minted:
            insist(rows and daemon.active([self.minted["token"]]) == [True], "what was minted is lost")
        for row in rows:
            insist(entries(daemon, "token.create", row["id"]) == 1, "a token without its entry")
        return bool(rows)


class Consume(Deed):
    """One use of a token that has five, one of which is used."""

    name = "consume"

    def act(self, daemon):
        status, answer = daemon.ask("GET", "/v1/authorize", bearer=self.names["counted"])
        insist(status in (0, 200), "a use:", status, answer)
        return status == 200

    def look(self, daemon):
        uses = daemon.row(self.names["counted"])["uses"]
        insist(uses in (1, 2), "uses:", uses)
        return uses == 2

    def hold(self, daemon, done):
        facts = self.seed.facts.copy()
        facts.uses[self.names["counted"]] = (1 + done, 1 + done)
        facts.hold(daemon)
        chain_holds(daemon)

    def finish(self, home, daemon, done):
        granted = 0
        while (status := daemon.ask("GET", "/v1/authorize", bearer=self.names["counted"])[0]) == 200:
            granted += 1
        insist(status == 401 and granted == 4 - done, "granted after it:", granted, "then", status)


class Revoke(Deed):
    name = "revoke"

    def act(self, daemon):
        status, _ = daemon.ask("DELETE", "/v1/tokens/" + self.names["victim"]["id"], bearer=self.names["session"])
        insist(status in (0, 204), "revoking:", status)
        return status == 204

    def look(self, daemon):
        revoked = daemon.row(self.names["victim"]["token"])["state"] == "revoked"
        insist(daemon.active([self.names["victim"]["token"]]) == [not revoked], "row and answer disagree")
        written = entries(daemon, "token.revoke", self.names["victim"]["id"])
        insist(written == revoked, "revoked:", revoked, "entries:", written)
        return revoked


class Rotate(Deed):
    name = "rotate"

    def act(self, daemon):
        place = f"/v1/tokens/{self.names['rotated']['id']}/rotate"
        status, self.minted = daemon.ask("POST", place, {}, bearer=self.names["session"])
        insist(status in (0, 201), "rotating:", status)
        return status == 201

    def look(self, daemon):
        rows = [row for row in daemon.all("/v1/admin/tokens?kind=pat") if row["name"] == "rotated"]
        old = daemon.active([self.names["rotated"]["token"]]) == [True]
        insist(len(rows) == 2 - old, "the old one lives:", old, "rows:", len(rows))
        if self.minted:
            insist(daemon.active([self.minted["token"]]) == [True], "the new one is lost")
        return not old


class Deactivate(Deed):
    """A user, whose session and PAT end with it."""

    name = "deactivate"

    def act(self, daemon):
        status, _ = daemon.ask("PATCH", "/v1/users/" + self.names["ben"], {"active": False}, admin=True)
        insist(status in (0, 200), "deactivating:", status)
        return status == 200

    def look(self, daemon):
        active = daemon.root(200, "GET", "/v1/users/" + self.names["ben"])["active"]
        insist(daemon.active(self.names["bens"]) == [active] * 2, "half of it")
        insist(entries(daemon, "user.deactivate", self.names["ben"]) == (not active), "an entry exactly where a change is")
        return not active


class Login(Deed):
    name = "login"

    def act(self, daemon):
        wish = {"email": "ada@example.org", "password": PASSWORD}
        status, self.made = daemon.ask("POST", "/v1/sessions", wish)
        insist(status in (0, 201), "a login:", status)
        return status == 201

    def look(self, daemon):
        count = len(daemon.all(f"/v1/admin/tokens?kind=session&user={self.names['ada']}"))
        insist(count in (1, 2), "sessions:", count)
        if self.made:
            daemon.must(200, "GET", "/v1/me", bearer=self.made["token"])
        return count == 2


class BulkRevoke(Deed):
    name = "bulk revoke"

    def act(self, daemon):
        wish = {"user": self.names["ben"]}
        status, answer = daemon.ask("POST", "/v1/admin/tokens/revoke", wish, admin=True)
        insist(status in (0, 200), "revoking:", status, answer)
        return status == 200

    def look(self, daemon):
        active = daemon.active(self.names["bens"])
        insist(active in ([True, True], [False, False]), "half of it:", active)
        return active == [False, False]


class SetUp(Deed):
    name = "setup"

    def home(self):
        home = Home(CONFIG)
        home.file("proxy.secret", OLD_SECRET)
        daemon = home.start()
        self.token = daemon.install_token
        daemon.kill()
        return home

    def wish(self):
        return {"install_token": self.token, "email": "ada@example.org", "password": PASSWORD}

    def act(self, daemon):
        status, self.made = daemon.ask("POST", "/v1/setup", self.wish())
        insist(status in (0, 201), "setup:", status)
        return status == 201

    def look(self, daemon):
        complete = daemon.must(200, "GET", "/v1/setup")["state"] == "complete"
        users = [user["email"] for user in daemon.all("/v1/users") if not user["email"].endswith("@system.local")]
        insist(users == ["ada@example.org"] * complete, "setup is complete:", complete, "users:", users)
        insist(daemon.row(self.token)["state"] == ("consumed" if complete else "active"), "the install token")
        insist(entries(daemon, "setup.complete") == complete, "an entry exactly where a change is")
        return complete

    def hold(self, daemon, done):
        if done and self.made:
            daemon.must(200, "GET", "/v1/me", bearer=self.made["session"]["token"])
        chain_holds(daemon)

    def finish(self, home, daemon, done):
        daemon.must(409 if done else 201, "POST", "/v1/setup", self.wish())
        daemon.must(201, "POST", "/v1/sessions", {"email": "ada@example.org", "password": PASSWORD})


class Enrol(Deed):
    name = "enrol"

    def act(self, daemon):
        status, self.reply = daemon.ask("POST", "/v1/enroll", Seed.enrolling(self.names["enrolment"], "second"))
        insist(status in (0, 201), "enrolling:", status)
        return status == 201

    def look(self, daemon):
        spent = daemon.row(self.names["enrolment"])["state"] == "consumed"
        hosts = [host["hostname"] for host in daemon.all("/v1/hosts")]
        insist(sorted(hosts) == ["first"] + ["second"] * spent, "spent:", spent, "hosts:", hosts)
        insist(entries(daemon, "host.enroll") == 1 + spent, "an entry exactly where a change is")
        return spent

    def finish(self, home, daemon, done):
        """The same attempt enrols exactly one host, with the reply of the first call if that one was heard."""
        again = daemon.must(201, "POST", "/v1/enroll", Seed.enrolling(self.names["enrolment"], "second"))
        insist(not self.reply or again == self.reply, "an answer was taken back")
        place = f"/v1/hosts/{again['host_id']}/credentials"
        insist(daemon.must(200, "GET", place, bearer=again["agent_token"]) == CREDENTIALS, "the credentials")
        daemon.must(401, "POST", "/v1/enroll", Seed.enrolling(self.names["enrolment"], "second"))


class Redeem(Deed):
    """A magic link for one use."""

    name = "redeem"

    def act(self, daemon):
        status, _ = daemon.ask("POST", "/portal/enter", form={"token": self.names["link"]})
        insist(status in (0, 303), "redeeming:", status)
        return status == 303

    def look(self, daemon):
        return daemon.row(self.names["link"])["state"] == "consumed"

    def finish(self, home, daemon, done):
        daemon.must(401 if done else 303, "POST", "/portal/enter", form={"token": self.names["link"]})


class Import(Deed):
    name = "import"

    def act(self, daemon):
        lines = [
            json.dumps({"sha256": f"{number:064x}", "kind": "pat", "owner": "eve@example.org", "name": f"i{number}"})
            for number in range(1, 21)
        ]
        status, answer = daemon.ask("POST", "/v1/admin/import", "\n".join(lines), admin=True)
        insist(status in (0, 200), "importing:", status, answer)
        return status == 200

    def look(self, daemon):
        count = len([row for row in daemon.all("/v1/admin/tokens?kind=pat") if row["format"] == "imported"])
        owners = len(daemon.root(200, "GET", "/v1/users?email=eve@example.org")["items"])
        insist((count, owners) in ((0, 0), (20, 1)), "imported:", count, "owners:", owners)
        return count == 20


class Reload(Deed):
    """Other secrets, one more service, and a new current key."""

    name = "reload"

    def prepare(self, daemon):
        home = daemon.home
        home.file("proxy.secret", NEW_SECRET)
        home.file("second.secret", OLD_SECRET)
        home.config.write_text(CONFIG + '\n[services.second]\nsecret_file = "second.secret"\ngroups = []\n')
        ring = home.data / "keyring"
        ring.write_text(ring.read_text().replace("current ", "old ") + home.cli("keys", "new").stdout)

    def act(self, daemon):
        status, answer = daemon.ask("POST", "/v1/admin/reload", {}, admin=True)
        insist(status in (0, 200), "reloading:", status, answer)
        return status == 200

    def look(self, daemon):
        told = {}
        for name, secret in (("new", NEW_SECRET), ("old", OLD_SECRET)):
            told[name] = daemon.must(200, "GET", "/v1/me", bearer=secret)["subject"]["email"]
        insist(told == {"new": "proxy@system.local", "old": "second@system.local"}, "secrets:", told)
        count = entries(daemon, "config.reload")
        insist(count <= 1, "entries of one reload:", count)
        return count == 1


class Reseal(Deed):
    """What an older key sealed is sealed again."""

    name = "reseal"

    def prepare(self, daemon):
        rotated = daemon.home.cli("keys", "rotate")
        insist(rotated.returncode == 0, "keys rotate:", rotated.stderr)
        self.current = daemon.root(200, "GET", "/v1/admin/status")["keys"]

    def act(self, daemon):
        status, answer = daemon.ask("POST", "/v1/admin/keys/reseal", admin=True)
        insist(status in (0, 200), "resealing:", status, answer)
        return status == 200

    def look(self, daemon):
        keys = daemon.root(200, "GET", "/v1/admin/keys")["keys"]
        old = [key["sealed"] for key in keys if not key["current"]]
        return sum(old) == 0

    def finish(self, home, daemon, done):
        again = daemon.must(201, "POST", "/v1/enroll", Seed.enrolling(self.names["enrolment"], "second"))
        place = f"/v1/hosts/{again['host_id']}/credentials"
        insist(daemon.must(200, "GET", place, bearer=again["agent_token"]) == CREDENTIALS, "the credentials")


class Compact(Deed):
    """A store whose file is larger than what it holds, since much was deleted."""

    name = "compact"

    def __init__(self, seed):
        super().__init__(seed)
        self.bulky = seed.home.copy()
        with_daemon(self.bulky, self.fill)

    @staticmethod
    def fill(daemon):
        hosts, bulk = [], {"password": "x" * 16_000}
        for number in range(150):
            enrol = daemon.root(201, "POST", "/v1/enrollments", {"credentials": bulk})["token"]
            hosts.append(daemon.must(201, "POST", "/v1/enroll", Seed.enrolling(enrol, f"bulk-{number}"))["host_id"])
        for host in hosts:
            daemon.root(204, "DELETE", "/v1/hosts/" + host)

    def home(self):
        return self.bulky.copy()

    def act(self, daemon):
        status, answer = daemon.ask("POST", "/v1/admin/compact", admin=True)
        insist(status in (0, 200), "compacting:", status, answer)
        insist(status == 0 or answer["bytes_after"] < answer["bytes_before"], "nothing to compact:", answer)
        return False  # nothing is to be seen of it

    def look(self, daemon):
        return False

    def hold(self, daemon, done):
        super().hold(daemon, done)
        left = [path.name for path in daemon.home.data.iterdir() if path.name.endswith((".new", ".copy"))]
        insist(not left, "left behind:", left)


class Backup(Deed):
    """The daemon is killed while it makes one."""

    name = "backup"

    def prepare(self, daemon):
        # The copy of the home is another folder each time.
        self.file = daemon.home.folder / "backup"

    def act(self, daemon):
        return daemon.home.cli("backup", str(self.file)).returncode == 0

    def look(self, daemon):
        return self.file.exists()

    def hold(self, daemon, done):
        super().hold(daemon, done)
        left = [path.name for path in daemon.home.data.iterdir() if path.name.endswith(".backup")]
        insist(not left or not done, "left behind:", left)

    def finish(self, home, daemon, done):
        if done:
            restores(self, home, self.file)
            self.file.unlink()
        again = home.cli("backup", str(self.file))
        insist(again.returncode == 0, "another backup to the same name:", again.stderr)
        restores(self, home, self.file)
        insist(sorted(path.name for path in home.folder.glob("*backup*")) == ["backup"], "left behind")


class BackupCommand(Backup):
    """The command is killed while it writes one."""

    name = "backup, the command"
    victim = "command beside a daemon"

    def command(self, home):
        self.file = home.folder / "backup"
        return ["backup", str(self.file)]


def restores(deed, home, backup):
    """A backup is whole: it can be restored, and holds what the ledger says."""
    other = Home(home.config.read_text())
    try:
        for path in home.folder.glob("*.secret"):
            shutil.copy2(path, other.folder / path.name)
        other.data.mkdir(mode=0o700)
        shutil.copy2(home.data / "keyring", other.data / "keyring")
        restored = other.cli("restore", str(backup), "--accept-revived", "--yes")
        insist(restored.returncode == 0, "a restore of the backup:", restored.stderr)
        facts = deed.seed.facts.copy()
        facts.spent = []  # a store that is not there may revive nothing for one use: they are void
        with_daemon(other, facts.hold)
    finally:
        other.remove()


class Restore(Deed):
    """A backup takes the place of a store in which things have ended since."""

    name = "restore"
    victim = "command"

    def __init__(self, seed):
        super().__init__(seed)
        self.used = seed.home.copy()
        self.facts = seed.facts.copy()
        daemon = self.used.start()
        backed_up = self.used.cli("backup", str(self.used.folder / "backup"))
        insist(backed_up.returncode == 0, "backup:", backed_up.stderr)
        daemon.root(204, "DELETE", "/v1/tokens/" + self.names["victim"]["id"])
        daemon.root(200, "PATCH", "/v1/users/" + self.names["ben"], {"active": False})
        daemon.must(201, "POST", "/v1/enroll", seed.enrolling(self.names["enrolment"], "second"))
        daemon.must(200, "GET", "/v1/authorize", bearer=self.names["counted"])
        daemon.must(303, "POST", "/portal/enter", form={"token": self.names["link"]})
        self.facts.dead += [self.names["victim"]["token"], *self.names["bens"]]
        self.facts.spent += [self.names["enrolment"], self.names["link"]]
        self.facts.uses[self.names["counted"]] = (2, 2)
        self.later = daemon.root(201, "POST", f"/v1/users/{self.names['ada']}/tokens", {"name": "later"})["token"]
        insist(daemon.stop() == 0, "a clean stop")

    def home(self):
        return self.used.copy()

    def command(self, home):
        return ["restore", str(home.folder / "backup"), "--yes"]

    def look(self, daemon):
        # What was made since the backup is lost by a restore, and by nothing else.
        lost = daemon.active([self.later]) == [False]
        insist(entries(daemon, "store.restore") == lost, "an entry exactly where a restore is")
        return lost

    def hold(self, daemon, done):
        self.facts.hold(daemon)
        chain_holds(daemon)
        kept = daemon.home.data / "bearerd.redb.replaced"
        insist(kept.exists() or not done, "the replaced store is not kept")

    def finish(self, home, daemon, done):
        insist(daemon.stop() == 0, "a clean stop")
        restored = home.cli(*self.command(home))
        insist(restored.returncode == 0, "the restore again:", restored.stderr)
        daemon = home.start()
        insist(self.look(daemon) is True, "restored")
        self.facts.hold(daemon)
        return daemon


class InstallToken(Deed):
    """On the file of a stopped daemon."""

    name = "install-token"
    victim = "command"

    def command(self, home):
        return ["install-token", "--force"]

    def look(self, daemon):
        return daemon.must(200, "GET", "/v1/setup")["state"] == "pending"


class CompactCommand(Compact):
    """On the file of a stopped daemon."""

    name = "compact, the command"
    victim = "command"

    def command(self, home):
        return ["compact"]


class KeysRotate(Deed):
    """The command that writes the keyring, beside a running daemon."""

    name = "keys rotate"
    victim = "command beside a daemon"

    def command(self, home):
        return ["keys", "rotate"]

    def look(self, daemon):
        return len(daemon.root(200, "GET", "/v1/admin/keys")["keys"]) == 2

    def finish(self, home, daemon, done):
        again = home.cli("keys", "rotate")
        insist(again.returncode == 0, "keys rotate again:", again.stderr)
        left = [path.name for path in daemon.home.data.iterdir() if "keyring" in path.name]
        insist(left == ["keyring"], "beside the keyring:", left)
        # An answer that was sealed under the first key opens.
        Reseal.finish(self, home, daemon, done)


class FirstStart(Deed):
    """Up to the line that says where it serves."""

    name = "first start"
    victim = "start"

    def home(self):
        home = Home(CONFIG)
        home.file("proxy.secret", OLD_SECRET)
        self.tokens = []
        return home

    def started(self, banner):
        """An install token that was printed is on file, until another takes its place."""
        self.tokens += [word for word in banner.split() if word.startswith("bdr_ist_")]

    def look(self, daemon):
        self.started(daemon.banner)
        insist(daemon.must(200, "GET", "/v1/setup")["state"] == "pending", "setup")
        insist(len(self.tokens) <= 1, "two install tokens were printed")
        for token in self.tokens:
            insist(daemon.row(token)["state"] == "active", "a printed install token")
        return True

    def hold(self, daemon, done):
        chain_holds(daemon)

    def finish(self, home, daemon, done):
        token = self.tokens[0] if self.tokens else home.cli("install-token").stdout.strip()
        wish = {"install_token": token, "email": "ada@example.org", "password": PASSWORD}
        daemon.must(201, "POST", "/v1/setup", wish)


class Start(Deed):
    """A start after a kill, with a configuration that brings service users along: recovery, marking, settling."""

    name = "start"
    victim = "start"

    def home(self):
        home = super().home()
        daemon = home.start()
        daemon.settle()
        with Attached(daemon, "fdatasync:signal=KILL:when=2"):
            daemon.ask("POST", "/v1/tokens", {"name": "in between"}, bearer=self.names["session"])
            insist(daemon.is_killed_within(10), "the daemon lives")
        daemon.process.stdout.close()
        (home.data / "bearerd.redb.initialised").unlink()
        (home.data / "bearerd.redb.new").write_text("what a first start left")
        home.file("second.secret", NEW_SECRET)
        home.config.write_text(CONFIG + '\n[services.second]\nsecret_file = "second.secret"\ngroups = []\n')
        return home

    def look(self, daemon):
        daemon.must(200, "GET", "/v1/me", bearer=NEW_SECRET)
        insist((daemon.home.data / "bearerd.redb.initialised").exists(), "the marker")
        insist(not (daemon.home.data / "bearerd.redb.new").exists(), "what was left is swept")
        return True

    def hold(self, daemon, done):
        self.seed.facts.hold(daemon)
        chain_holds(daemon)


class Purge(Deed):
    """The first thing that a start two hours later does."""

    name = "purge"
    victim = "start"

    def home(self):
        return self.seed.home.copy()

    @property
    def variables(self):
        SHIM.move_clock(2 * 3600)
        return SHIM.variables

    def is_over(self, daemon):
        return entries(daemon, "token.purge") > 0

    def look(self, daemon):
        while not self.is_over(daemon):  # what was killed is done by the next start
            time.sleep(0.02)
        rows = daemon.all("/v1/admin/tokens")
        removed = sum(entry["params"]["removed"] for entry in daemon.all("/v1/audit?action=token.purge"))
        insist(removed == self.names["rows"] - len(rows), "removed by the log:", removed, "left:", len(rows))
        left = len([row for row in rows if row["name"].startswith("old ")])
        insist(left in (0, 40), "half of a batch was removed:", left)
        return left == 0

    def hold(self, daemon, done):
        facts = self.seed.facts.copy()
        if done:
            facts.spent = []
            for token in self.seed.facts.spent:
                daemon.must(401, "POST", "/v1/enroll", Seed.enrolling(token, "first"))
        facts.hold(daemon)
        facts.entries_hold(daemon)


class Stop(Deed):
    """SIGTERM, with last uses and refusals to write down."""

    name = "stop"

    def prepare(self, daemon):
        daemon.active(self.seed.facts.alive)
        for _ in range(3):
            daemon.must(401, "POST", "/v1/sessions", {"email": "ada@example.org", "password": "wrong"})

    def act(self, daemon):
        daemon.signal(signal.SIGTERM)
        code = daemon.wait()
        insist(code in (0, KILLED), "a stop:", code)
        return code == 0

    def look(self, daemon):
        used = [daemon.row(token)["last_used_at"] for token in self.seed.facts.alive]
        refused = entries(daemon, "login.refused")
        return all(used) and refused > 0


DEEDS = [
    FirstStart, SetUp, Mint, Consume, Revoke, Rotate, BulkRevoke, Deactivate, Login, Enrol, Redeem, Import, Reload,
    Reseal, KeysRotate, Compact, CompactCommand, Backup, BackupCommand, Restore, InstallToken, Purge, Stop, Start,
]


# --- how a point is struck ------------------------------------------------------------------------------------------


def struck_start(deed, home, inject):
    """Starts a daemon that is killed on its way, or soon after. Whether it was; if not, it was killed by hand."""
    try:
        daemon = home.start(wrap=injecting(inject), variables=deed.variables)
    except DidNotStart as ended:
        insist(ended.code in (KILLED, 137), f"the start ended with {ended.code}: {ended.told[-1500:]}")
        if isinstance(deed, FirstStart):
            deed.started(ended.banner)
        return True
    struck = daemon.is_killed_within(AFTERMATH_SECONDS)
    if isinstance(deed, FirstStart):
        deed.started(daemon.banner)
    daemon.kill()
    return struck


def strike(deed, home, inject):
    """Does the deed with a kill on its way. Whether it struck, and whether the deed was acknowledged."""
    if deed.victim == "start":
        return struck_start(deed, home, inject), False
    if deed.victim.startswith("command"):
        daemon = home.start() if "daemon" in deed.victim else None
        ran = home.cli(*deed.command(home), wrap=injecting(inject))
        if daemon:
            daemon.kill()
        struck = ran.returncode in (KILLED, 137)
        insist(struck or ran.returncode == 0, "the command:", ran.returncode, ran.stderr)
        return struck, ran.returncode == 0
    daemon = home.start(variables=deed.variables)
    deed.prepare(daemon)
    daemon.settle()
    with Attached(daemon, inject):
        if daemon.process.poll() is not None:
            return False, False  # it was not the deed that was struck
        acknowledged = deed.act(daemon)
        struck = daemon.is_killed_within(AFTERMATH_SECONDS if acknowledged else 20)
    daemon.kill()
    return struck, acknowledged


def calls_of(deed, folder):
    """The calls of a deed that is not killed: how often the busiest thread made each."""
    home, trace = deed.home(), Path(folder) / "trace"
    try:
        if deed.victim == "start":
            daemon = home.start(wrap=counting(CALLS, trace), variables=deed.variables)
            if hasattr(deed, "is_over"):
                while not deed.is_over(daemon):
                    time.sleep(0.02)
            daemon.is_killed_within(AFTERMATH_SECONDS)
            daemon.kill()
        elif deed.victim.startswith("command"):
            daemon = home.start() if "daemon" in deed.victim else None
            ran = home.cli(*deed.command(home), wrap=counting(CALLS, trace))
            insist(ran.returncode == 0, "the command:", ran.stderr)
            if daemon:
                daemon.kill()
        else:
            daemon = home.start(variables=deed.variables)
            deed.prepare(daemon)
            daemon.settle()
            with Attached(daemon, calls=CALLS, output=trace):
                deed.act(daemon)
                insist(daemon.process.poll() in (None, 0), "the daemon ended by itself")
            daemon.kill()
        return counted(trace)
    finally:
        home.remove()


def recovery_calls(deed, folder):
    """The calls of a start after the deed was killed half way."""
    return calls_of(Start(deed.seed) if deed.victim != "start" else deed, folder)


def point(deed, inject, recoveries):
    """One point: (whether it struck, how often recovery was struck). Raises where a promise is broken."""
    home = deed.home()
    try:
        struck, acknowledged = strike(deed, home, inject)
        struck_again = [struck_start(deed, home, again) for again in recoveries]
        daemon = home.start(variables=deed.variables)
        if isinstance(deed, FirstStart):
            insist(not (deed.tokens and daemon.install_token), "a second install token was printed")
        done = deed.look(daemon)
        insist(done or not acknowledged, "what was acknowledged is not there")
        deed.hold(daemon, done)
        # The outcome is settled: it stays what it is.
        daemon.kill()
        daemon = home.start(variables=deed.variables)
        insist(deed.look(daemon) == done, "what was there before a kill is gone after it, or the other way round")
        daemon = deed.finish(home, daemon, done) or daemon
        insist(daemon.stop() == 0, "a clean stop")
        check_holds(home)
        return struck, struck_again
    except (Broken, OSError) as wrong:
        raise Broken(f"{wrong}\n{home.told()[-400:]}") from wrong
    finally:
        home.remove()


def spread(points, most):
    """At most so many of them, evenly."""
    if len(points) <= most:
        return points
    return [points[number * len(points) // most] for number in range(most)]


def flattened(calls):
    return [f"{call}:signal=KILL:when={number}" for call, count in sorted(calls.items()) for number in range(1, count + 1)]


def look_at(deed, folder):
    """All points of one deed; how many struck, and how many in recovery."""
    calls = calls_of(deed, folder)
    points = flattened(calls)
    if QUICK:  # of the rare calls as well
        points = spread(sorted(points, key=lambda one: calls[one.split(":")[0]]), QUICK_POINTS)
    again = itertools.cycle(flattened(recovery_calls(deed, folder)))
    struck = second = silent = 0
    for number, inject in enumerate(points):
        recoveries = [next(again) for _ in range(2 if number % 4 == 3 else 1)]
        try:
            fired, fired_again = point(deed, inject, recoveries)
        except Broken as wrong:
            fail(f"kill_points {deed.name}", f"{inject}, then {' '.join(recoveries)}: {wrong}")
            continue
        struck, second = struck + fired, second + sum(fired_again)
        silent += (not fired) + len(fired_again) - sum(fired_again)
    what = f"kill_points {deed.name}: {struck} points struck, {second} more during recovery ({silent} did not strike)"
    (ok if struck else lambda what: fail(what, "nothing struck"))(what)
    return struck, second


def main():
    global SHIM
    if why := strace():
        return skip("kill_points", why)
    wanted = [deed for deed in DEEDS if not sys.argv[1:] or deed.name in sys.argv[1:]]
    skip("kill_points migrate", "there is one version of the schema: the steps to a later one are killed in src/store/tests")
    with tempfile.TemporaryDirectory(prefix="bearerd-crash-") as folder:
        if why := Shim.missing():
            skip("kill_points purge", why)
            wanted = [deed for deed in wanted if deed is not Purge]
        else:
            SHIM = Shim(folder)
        seed = Seed()
        sums = [look_at(deed(seed), folder) for deed in wanted]
        seed.home.remove()
    struck, second = (sum(column) for column in zip(*sums))
    what = f"kill_points: {struck} points struck, and {second} during recovery, of {BINARY}"
    if QUICK or sys.argv[1:] or struck >= 300:
        ok(what)
    else:
        fail(what, "300 are wanted")


try:
    main()
except Broken as wrong:
    fail("kill_points", wrong)
