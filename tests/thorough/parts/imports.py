"""A million tokens of another system: imported with the command line into a running daemon, each of them verified, then
backed up, restored elsewhere, and verified again.

The texts are what such systems hand out: random words, and things that look like JWTs of all kinds. Links are no tokens
that introspection knows, so each is followed instead, and its cookie asked whose it is."""
# seconds: 3600

import base64
import hashlib
import http.client
import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from workbench import Daemon, check, fail, listens, ok, request, resident_mib, wait_for

QUICK = bool(os.environ.get("THOROUGH_QUICK"))
TOKENS = 20_000 if QUICK else 1_000_000
PORTION = 1_000  # tokens of one request to introspect/batch
LOOK_ALIKES = 2_000 if QUICK else 50_000
AGAIN = 2_000  # lines that are imported twice
ASKERS = 2
USERS, HOSTS, CLIENTS = 10_000, 20_000, 1_000
HEADERS = (b'{"alg":"HS256","typ":"JWT"}', b'{"alg":"RS256","kid":"2024-01"}', b'{"alg":"none"}', b'{"typ":"at+jwt","alg":"ES256","kid":"a/b"}')
PATIENCE = 1800


# --- what is imported: everything about a token follows from its number -------------------------------------------


def kind_of(number):
    return "link" if number % 20 == 7 else "agent" if number % 10 == 3 else "pat"


def is_revoked(number):
    return number % 97 == 11


def is_expired(number):
    return number % 89 == 22


def is_alive(number):
    return not is_revoked(number) and not is_expired(number)


def owner_of(number):
    spread = number // 20 * 7919
    match kind_of(number):
        case "pat":
            return f"user{spread % USERS}@example.org"
        case "agent":
            return f"host-{spread % HOSTS}"
        case _:
            return f"client-{spread % CLIENTS}"


def base64url(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def text_of(number):
    digest = hashlib.sha512(b"import %d" % number).digest()
    match number // 20 % 5:  # so that every kind has every form
        case 0 | 3:
            return "old_" + digest[:24].hex()
        case 1:
            claims = b'{"sub":"%d","jti":"%s","iat":1700000000}' % (number, digest[:8].hex().encode())
            return ".".join((base64url(HEADERS[number // 100 % len(HEADERS)]), base64url(claims), base64url(digest[:32])))
        case 2:
            return base64url(digest[:30])
        case _:
            return f"{digest[:10].hex()}.{number}~{base64url(digest[:20])}"


def line_of(number):
    kind, text = kind_of(number), text_of(number)
    line = {"sha256": hashlib.sha256(text.encode()).hexdigest(), "kind": kind, "owner": owner_of(number), "name": f"old {number}"}
    if kind == "pat":
        line["scope"] = f"reports:read part{number % 7}"
    line["created_at"] = f"2024-0{1 + number % 9}-10T12:{number % 60:02}:00Z"
    if is_revoked(number):
        line["revoked_at"] = "2024-12-01T00:00:00Z"
    if is_expired(number):
        line["expires_at"] = "2025-01-01T00:00:00Z"
    elif number % 3 == 0:
        line["expires_at"] = "2099-01-01T00:00:00Z"
    if number % 4 == 0:
        line["last_used_at"] = "2024-11-30T08:00:00Z"
    return line


def look_alikes(number):
    """Texts that differ from a token a little."""
    text = text_of(number)
    middle = len(text) // 2
    other = "A" if text[middle] != "A" else "B"
    return [text[:middle] + other + text[middle + 1 :], text + "A", text[:-1], text.swapcase(), hashlib.sha256(text.encode()).hexdigest()]


# --- asking -------------------------------------------------------------------------------------------------------


class Asker:
    def __init__(self, port, secret):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.secret = secret

    def batch(self, texts):
        """What introspection says of them."""
        headers = {"Authorization": "Bearer " + self.secret, "Content-Type": "application/json"}
        self.connection.request("POST", "/v1/introspect/batch", json.dumps({"tokens": texts}), headers)
        answer = self.connection.getresponse()
        told = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"introspect/batch: {answer.status} {told[:200]!r}")
        results = json.loads(told)["results"]
        if len(results) != len(texts):
            raise RuntimeError(f"{len(results)} results for {len(texts)} tokens")
        return results

    def get(self, path, **headers):
        self.connection.request("GET", path, headers=headers)
        answer = self.connection.getresponse()
        return answer.status, answer.headers, answer.read()


def is_right(number, result, hosts):
    """Whether introspection says of a token what it must."""
    kind, owner = kind_of(number), owner_of(number)
    if kind == "link" or not is_alive(number):
        return result == {"active": False}
    if result.get("active") is not True or result.get("kind") != kind:
        return False
    if kind == "agent":
        return result["sub_type"] == "host" and result["sub"] == hosts.get(owner)
    rights = result["scope"] == f"reports:read part{number % 7}" and result["groups"] == []
    return result["sub_type"] == "user" and result["email"] == owner and rights


def ask_of(job):
    """Every token from one number to another: how many are as they must be, of each kind, and some that are not."""
    port, secret, hosts, first, end = job
    asker, right, wrong = Asker(port, secret), {}, []
    for at in range(first, end, PORTION):
        numbers = range(at, min(at + PORTION, end))
        for number, result in zip(numbers, asker.batch([text_of(number) for number in numbers])):
            if is_right(number, result, hosts):
                what = kind_of(number) if result["active"] else "inactive"
                right[what] = right.get(what, 0) + 1
            else:
                wrong.append((number, kind_of(number), result))
    return right, wrong[:5]


def follow(job):
    """Every link from one number to another is followed, and its cookie asked whose it is."""
    port, secret, _, first, end = job
    asker, admitted, refused, wrong = Asker(port, secret), 0, 0, []
    for number in range(first, end):
        if kind_of(number) != "link":
            continue
        status, headers, _ = asker.get("/portal/enter?token=" + text_of(number))
        if not is_alive(number):
            refused += status == 401
            if status != 401:
                wrong.append((number, status))
            continue
        cookie = (headers["set-cookie"] or "").split(";")[0]
        seen, _, told = asker.get("/portal/session", Cookie=cookie)
        if status == 303 and seen == 200 and json.loads(told)["client"]["slug"] == owner_of(number):
            admitted += 1
        else:
            wrong.append((number, status, seen, told[:200]))
    return {"admitted": admitted, "refused": refused}, wrong[:5]


def shared(work, port, secret, hosts):
    """The work of several askers, put together."""
    each = 20 * PORTION
    jobs = [(port, secret, hosts, first, min(first + each, TOKENS)) for first in range(0, TOKENS, each)]
    sums, wrong = {}, []
    with multiprocessing.Pool(ASKERS) as pool:
        for counted, faults in pool.imap_unordered(work, jobs):
            wrong += faults
            for what, count in counted.items():
                sums[what] = sums.get(what, 0) + count
    return sums, wrong[:5]


def expected():
    """How many of each there must be, by counting."""
    asked, followed = {}, {"admitted": 0, "refused": 0}
    for number in range(TOKENS):
        kind = kind_of(number)
        what = kind if is_alive(number) and kind != "link" else "inactive"
        asked[what] = asked.get(what, 0) + 1
        if kind == "link":
            followed["admitted" if is_alive(number) else "refused"] += 1
    return asked, followed


# --- what it costs ------------------------------------------------------------------------------------------------


class Cost:
    """Time, processor time and the highest memory of a command, and of the daemon beside it."""

    def __init__(self, daemon_pid, command):
        Path(f"/proc/{daemon_pid}/clear_refs").write_text("5")  # the highest memory from here on
        before = resident_mib(daemon_pid)
        own, daemons, began = resource.getrusage(resource.RUSAGE_CHILDREN), processor_seconds(daemon_pid), time.monotonic()
        with tempfile.TemporaryFile("w+") as out:
            process, mib = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out), 0.0
            while process.poll() is None:
                mib = max(mib, highest_mib(process.pid))
                time.sleep(0.01)
            out.seek(0)
            self.code, self.told = process.returncode, json.loads(out.read() or "{}")
        seconds = time.monotonic() - began
        daemons = processor_seconds(daemon_pid) - daemons
        now = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = now.ru_utime + now.ru_stime - own.ru_utime - own.ru_stime
        self.figures = (
            f"{seconds:.1f} s: processor time {daemons:.1f} s in the daemon and {own:.1f} s in the command, highest memory "
            f"{highest_mib(daemon_pid):.0f} MiB ({before:.0f} before) and {mib:.0f} MiB"
        )


def processor_seconds(pid):
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def highest_mib(pid):
    told = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(told.group(1)) / 1024 if told else 0.0  # one that has just ended has none


# --- the whole ----------------------------------------------------------------------------------------------------


def hosts_by_name(daemon):
    hosts, cursor = {}, ""
    while cursor is not None:
        page = daemon.json("GET", "/v1/hosts?limit=500" + cursor, bearer=daemon.session)
        hosts.update((host["hostname"], host["id"]) for host in page["items"])
        cursor = page["next_cursor"] and "&cursor=" + page["next_cursor"]
    return hosts


def tokens_held(daemon, socket):
    command = [os.environ["BEARERD_BIN"], "status", "--json", "--socket", socket]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["tokens"]


def newest_entry(daemon):
    return daemon.json("GET", "/v1/audit?limit=1", bearer=daemon.session)["items"][0]["seq"]


def verify_all(what, port, secret, hosts):
    asked, followed = expected()
    began = time.monotonic()
    sums, wrong = shared(ask_of, port, secret, hosts)
    took = time.monotonic() - began
    check(f"imports: {what} every token is active with its owner, kind and scope, or inactive where it was dead", (sums, wrong), (asked, []))
    told = ", ".join(f"{count} {kind}" for kind, count in sorted(sums.items()))
    ok(f"imports: {what} {TOKENS} verified by {PORTION} in {took:.1f} s: {told}")
    began = time.monotonic()
    sums, wrong = shared(follow, port, secret, hosts)
    check(f"imports: {what} every link admits to its client's portal, or to none where it was dead", (sums, wrong), (followed, []))
    ok(f"imports: {what} {sums['admitted']} links admitted, {sums['refused']} refused, in {time.monotonic() - began:.1f} s")


def main():
    with Daemon() as daemon:
        socket, file = str(daemon.folder / "data" / "admin.sock"), daemon.folder / "old.jsonl"
        with file.open("w") as lines:
            for number in range(TOKENS):
                lines.write(json.dumps(line_of(number)) + "\n")
        owners = len({owner_of(number) for number in range(TOKENS)})
        counted = {"tokens": TOKENS, "owners": owners, "duplicates": []}
        run = lambda *arguments: Cost(daemon.process.pid, [os.environ["BEARERD_BIN"], *arguments, "--json", "--socket", socket])

        before = (tokens_held(daemon, socket), newest_entry(daemon))
        dry = run("import", "--dry-run", str(file))
        check("imports: a dry run says what would come of it", (dry.code, dry.told), (0, {**counted, "dry_run": True}))
        check("imports: a dry run changes nothing", (tokens_held(daemon, socket), newest_entry(daemon)), before)
        ok(f"imports: a dry run of {TOKENS} lines took {dry.figures}")

        taken = run("import", str(file))
        check("imports: every line is taken in", (taken.code, taken.told), (0, {**counted, "dry_run": False}))
        size = (daemon.folder / "data" / "bearerd.redb").stat().st_size
        ok(f"imports: {TOKENS} tokens and {owners} owners took {taken.figures}; {size / TOKENS:.0f} bytes of file for a token")

        hosts = hosts_by_name(daemon)
        verify_all("after the import", daemon.port, daemon.secret, hosts)
        asker, active, asked = Asker(daemon.port, daemon.secret), [], 0
        for first in range(0, LOOK_ALIKES, PORTION):
            step = TOKENS // LOOK_ALIKES
            numbers = range(first * step, min(first + PORTION, LOOK_ALIKES) * step, 5 * step)
            texts = [text for number in numbers for text in look_alikes(number)]
            active += [text for text, result in zip(texts, asker.batch(texts)) if result != {"active": False}]
            asked += len(texts)
        check(f"imports: {asked} texts that differ from a token a little are inactive", active[:5], [])

        again = daemon.folder / "again.jsonl"
        again.write_text("".join(json.dumps(line_of(TOKENS - 1 - number)) + "\n" for number in range(AGAIN)))
        twice = run("import", str(again))
        known = {"tokens": 0, "owners": 0, "duplicates": list(range(1, AGAIN + 1)), "dry_run": False}
        check("imports: what is imported twice is known, and taken in once", (twice.code, twice.told), (0, known))

        backup = daemon.folder / "backup"
        copied = run("backup", str(backup), "--config", str(daemon.folder / "bearerd.toml"), "--data", str(daemon.folder / "data"))
        check("imports: the backup is made and found whole", (copied.code, copied.told.get("checked")), (0, True))
        ok(f"imports: a backup of {backup.stat().st_size / (1 << 20):.0f} MiB took {copied.figures}")
        daemon.process.send_signal(signal.SIGTERM)
        check("imports: a clean stop", daemon.process.wait(60), 0)
        open_backup(daemon, backup, hosts)


def open_backup(daemon, backup, hosts):
    """The backup as the store of a daemon of its own, with the keyring that was copied apart."""
    elsewhere = daemon.folder / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    shutil.copy2(daemon.folder / "data" / "keyring", elsewhere / "keyring")
    place = ["--config", str(daemon.folder / "bearerd.toml"), "--data", str(elsewhere)]
    for command in (["restore", str(backup), "--accept-revived", "--yes"], ["check"]):
        began = time.monotonic()
        done = subprocess.run([os.environ["BEARERD_BIN"], *command, *place], capture_output=True, text=True, timeout=PATIENCE)
        took = time.monotonic() - began
        if done.returncode:
            fail(f"imports: {command[0]} of the backup", f"{done.returncode} {done.stderr[-1000:]}")
            return
        ok(f"imports: {command[0]} of the backup is content, in {took:.1f} s")
    serve = [os.environ["BEARERD_BIN"], "serve", *place]
    with open(daemon.folder / "second.log", "wb") as log:
        began = time.monotonic()
        second = subprocess.Popen(serve, stdout=log, stderr=log)
        try:
            wait_for("the second daemon", lambda: listens(daemon.port) and request(daemon.port, "GET", "/readyz")[0] == 200)
            ok(f"imports: a daemon on the backup serves after {time.monotonic() - began:.2f} s")
            verify_all("from the backup", daemon.port, daemon.secret, hosts)
        finally:
            second.terminate()
            second.wait(60)


main()
