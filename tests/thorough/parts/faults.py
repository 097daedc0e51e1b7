"""What surrounds the daemon fails, and is mended again: the disk (full, read-only, failing, slow), descriptors, memory,
threads, the processor, the clock, whoever reads the log, the process itself (stopped and continued), and files that are
half written. Through all of it verification goes on, nothing acknowledged is lost, nothing that ended lives again, and
service is back by itself.

`faults.py NAME…` looks at these only. Mounts, traces and control groups need root; what cannot be had is skipped.
"""
# seconds: 3600

import json
import os
import random
import resource
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from crash import (
    BINARY, PASSWORD, QUICK, SCRATCH, Attached, Broken, DidNotStart, Home, Ledger, Shim, UnixConnection, chain_holds,
    check_holds, counted, counting, injecting, insist, percentile, strace,
)
from workbench import fail, ok, program, skip

BACK_SECONDS = 5
VERIFY_P99_SECONDS = 0.010
SEED = os.environ.get("BEARERD_SEED") or secrets.token_hex(4)
CHANCE = random.Random(SEED)


class Cannot(Exception):
    """This machine does not allow it."""


class Town:
    """A home with an admin, tokens, and a ledger of them."""

    def __init__(self, parent=None, config="", variables=None, preexec=None):
        self.home, self.facts = Home(config, parent), Ledger()
        self.variables, self.preexec = variables, preexec
        self.daemon = self.home.start(variables=variables)
        wish = {"install_token": self.daemon.install_token, "email": "ada@example.org", "password": PASSWORD}
        made = self.daemon.must(201, "POST", "/v1/setup", wish)
        self.user, self.session = made["user"]["id"], made["session"]["token"]
        self.alive, self.dead = self.minted(), self.minted()
        self.daemon.root(204, "DELETE", "/v1/tokens/" + self.dead["id"])
        self.facts.alive.remove(self.dead["token"])
        self.facts.dead.append(self.dead["token"])

    def mint(self, asker=None, **wish):
        """Status and answer of minting; what was acknowledged is noted."""
        wish.setdefault("name", "t")
        status, made = (asker or self.daemon).ask("POST", "/v1/tokens", wish, bearer=self.session)
        if status == 201:
            self.facts.alive.append(made["token"])
            self.facts.created.append(made["id"])
        return status, made

    def minted(self, **wish):
        status, made = self.mint(**wish)
        insist(status == 201, "minting:", status, made)
        return made

    def verifies(self):
        """Verification answers, and rightly; but for the moment in which the store is opened again."""
        end = time.monotonic() + 1.0
        while (status := self.daemon.ask("GET", "/v1/authorize", bearer=self.alive["token"])[0]) == 503:
            insist(time.monotonic() < end, "verification has stood still for a second")
            time.sleep(0.02)
        insist(status == 200, "a good token:", status)
        status = self.daemon.ask("GET", "/v1/authorize", bearer=self.dead["token"])[0]
        insist(status in (401, 503), "a revoked token:", status)

    def is_back(self):
        """Seconds until changes are taken again."""
        began = time.monotonic()
        while (status := self.mint()[0]) != 201:
            insist(status in (503, 507), "while it is not back:", status)
            insist(time.monotonic() - began < 30, "changes are not taken again")
            time.sleep(0.02)
        return time.monotonic() - began

    def again(self, kill=False, **how):
        """The same after a stop, or a kill, and a start."""
        self.daemon.kill() if kill else insist(self.daemon.stop() == 0, "a clean stop")
        self.daemon = self.home.start(variables=self.variables, **how)

    def holds(self):
        """Everything that was acknowledged, now and after a restart; and the file is whole."""
        self.facts.hold(self.daemon)
        self.again(kill=True)
        self.facts.hold(self.daemon)
        self.facts.entries_hold(self.daemon)
        insist(self.daemon.stop() == 0, "a clean stop")
        check_holds(self.home)
        insist("panicked" not in self.home.told(), "something panicked:", self.home.told()[-1500:])

    def close(self):
        if self.daemon.process.poll() is None:
            self.daemon.kill()
        self.home.remove()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@contextmanager
def small_disk(size="6m"):
    """A file system of its own."""
    folder = tempfile.mkdtemp(prefix="bearerd-disk-", dir=SCRATCH)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", folder], capture_output=True)
    if mounted.returncode != 0:
        os.rmdir(folder)
        raise Cannot("a file system cannot be mounted")
    try:
        yield Path(folder)
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        os.rmdir(folder)


def fill(disk):
    """Takes what space is left; gives a function that frees it."""
    filler = disk / "filler"
    with open(filler, "ab", buffering=0) as file:
        for piece in (64 * 1024, 4096, 1):
            try:
                while file.write(bytes(piece)) == piece:
                    pass
            except OSError:
                pass
    return filler.unlink


def needs_strace():
    if why := strace():
        raise Cannot(why)


def needs_shim(folder):
    if why := Shim.missing():
        raise Cannot(why)
    return Shim(folder)


# --- the disk -------------------------------------------------------------------------------------------------------


def full_disk():
    """A disk that is filled and freed, again and again."""
    cycles = 5 if QUICK else 50
    took, refused = [], 0
    with small_disk() as disk, Town(disk) as town:
        for cycle in range(cycles):
            free = fill(disk)
            for _ in range(2000):  # pages that were freed before are used up first
                status, told = town.mint()
                if status != 201:
                    break
            insist(status in (503, 507), "a full disk:", status, told)
            for _ in range(5):
                town.verifies()
                status, told = town.mint()
                insist(status == 507 and told["code"] == "storage_full", "a full disk:", status, told)
                refused += 1
            insist(town.daemon.ask("GET", "/healthz")[0] == 200, "healthy")
            if cycle % 10 == 9:  # it opens where there is no space to write
                if cycle % 20 == 9:
                    town.daemon.kill()
                else:  # what was noted does not reach the disk, which the log says
                    insist(town.daemon.stop() == 0, "the exit code of a stop on a full disk")
                town.daemon = town.home.start()
                town.verifies()
            free()
            took.append(town.is_back())
        town.holds()
    insist(max(took) <= BACK_SECONDS, "service was back after", max(took))
    ok(
        f"faults full disk: filled and freed {cycles} times: {refused} changes refused with 507, verification went on, back after "
        f"at most {max(took):.2f} s, p50 {percentile(took, 50):.2f} s, nothing lost"
    )


def full_disk_at_first_start():
    """No space for a store: a clear end, and the next start is a first one."""
    with small_disk("1m") as disk:
        home, free = Home(parent=disk), fill(disk)
        try:
            home.start().kill()
            raise Broken("it serves on a full disk")
        except DidNotStart as ended:
            insist(ended.code == 1, "exit code", ended.code)
            insist("panicked" not in ended.told and "No space left" in ended.told, "it says:", ended.told)
            insist(not ended.banner.count("bdr_ist_"), "a token of no store")
        free()
        subprocess.run(["mount", "-o", "remount,size=8m", disk], check=True)
        daemon = home.start()
        insist(daemon.install_token, "no install token at the first start")
        insist(daemon.stop() == 0, "a clean stop")
    ok("faults full disk at the first start: a clear end, and a first start when there is space")


def full_disk_in_a_backup():
    """No space for the copy in the data directory, and none where the command writes."""
    with small_disk() as disk, Town(disk) as town, Home() as elsewhere:
        target = elsewhere.folder / "backup"
        free = fill(disk)
        backed_up = town.home.cli("backup", str(target))
        insist(backed_up.returncode == 1, "exit code", backed_up.returncode, backed_up.stderr)
        insist(not list(elsewhere.folder.glob("*backup*")), "left behind:", list(elsewhere.folder.iterdir()))
        status, told = town.daemon.ask("GET", "/v1/admin/backup", admin=True)
        insist(status == 507 and told["code"] == "storage_full", "a backup on a full disk:", status, told)
        town.verifies()
        free()
        took = town.is_back()
        insist(took <= BACK_SECONDS, "service was back after", took)
        backed_up = town.home.cli("backup", str(target))
        insist(backed_up.returncode == 0, "a backup when there is space:", backed_up.stderr)
        with small_disk("512k") as small:
            target = small / "backup"
            backed_up = town.home.cli("backup", str(target))
            insist(backed_up.returncode == 1 and "No space left" in backed_up.stderr, "it says:", backed_up.stderr)
            insist(not list(small.iterdir()), "left behind:", list(small.iterdir()))
        town.minted()
        town.holds()
    ok("faults full disk in a backup: 507 where the daemon has no space, exit code 1 and nothing left behind where the command has none")


def read_only_disk():
    """A file system that is read-only at the start, and one that becomes so while the daemon runs."""
    with small_disk() as disk:
        with Town(disk) as town:
            insist(town.daemon.stop() == 0, "a clean stop")
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            try:
                town.home.start().kill()
                raise Broken("it serves from a read-only file system")
            except DidNotStart as ended:
                insist(ended.code == 1 and "Read-only file system" in ended.told, ended.code, ended.told)
                insist("panicked" not in ended.told, ended.told)
            finally:
                subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
            town.daemon = town.home.start()
            town.holds()
    ok("faults read-only: a clear end at the start, and a start when it is mounted for writing")
    needs_strace()
    # A file system under an open store cannot be remounted; the kernel turns it read-only by itself, after an error.
    writes = "pwrite64,fdatasync,fsync,ftruncate,openat"
    injecting_errors("read-only while it runs", [f"{call}:error=EROFS" for call in writes.split(",")[:4]], 503)


def failing_disk():
    """Errors of single calls, once and for good."""
    needs_strace()
    points = [f"{call}:error=EIO:when={number}" for call in ("pwrite64", "fdatasync") for number in range(1, 12)]
    points += [f"ftruncate:error=EIO:when={number}" for number in (1, 2)]
    injecting_errors("EIO once", points[:4] if QUICK else points, 503, once=True)
    injecting_errors("EIO for good", ["pwrite64:error=EIO", "fdatasync:error=EIO", "pwrite64:error=EIO:when=3+"], 503)
    injecting_errors("ENOSPC for good", ["pwrite64:error=ENOSPC", "pwrite64:error=EDQUOT", "pwrite64:error=EFBIG:when=2+"], 507)
    interrupted = [f"{call}:error=EINTR:when=1+2" for call in ("pwrite64", "fdatasync", "pread64", "ftruncate")]
    injecting_errors("EINTR at every second call", interrupted, None)


def injecting_errors(name, injections, status_wanted, once=False):
    """For each injection: changes are refused with this status while it lasts (with none: nothing is), verification goes
    on, service comes back by itself, and nothing acknowledged is lost."""
    took, refused = [], 0
    with Town() as town:
        for inject in injections:
            town.daemon.settle()
            with Attached(town.daemon, inject):
                statuses = []
                for _ in range(3 if once else 5):
                    statuses.append(town.mint()[0])
                    town.verifies()
                allowed = {201, status_wanted} - {None}
                insist(set(statuses) <= allowed, f"{inject}: {statuses}")
                refused += len([status for status in statuses if status != 201])
                if once:
                    took.append(town.is_back())
            took.append(town.is_back())
            insist(town.daemon.process.poll() is None, f"{inject}: the daemon has ended")
        insist(refused or status_wanted is None, "nothing was refused")
        town.holds()
    insist(max(took) <= BACK_SECONDS, "service was back after", max(took))
    ok(
        f"faults {name}: {len(injections)} injections, {refused} changes refused"
        + (f" with {status_wanted}" if status_wanted else "")
        + f", verification went on, back after at most {max(took):.2f} s, nothing lost"
    )


def unreadable_disk():
    """Each read of a start fails, one after the other, and all of them from some point on: a clear end, or service in
    which no answer is better than a wrong one."""
    needs_strace()
    right = none = 0
    ended, served = [], []
    with Town() as town, tempfile.NamedTemporaryFile() as trace:
        alive = [town.minted(name=f"r{number}")["token"] for number in range(400)]
        insist(town.daemon.stop() == 0, "a clean stop")
        town.daemon = town.home.start(wrap=counting(["pread64"], trace.name))
        town.verifies()
        town.daemon.kill()
        reads = counted(trace.name)["pread64"]
        step = max(1, reads // 6) if QUICK else 1
        for inject in [f"pread64:error=EIO:when={n}{more}" for n in range(1, reads + 1, step) for more in ("", "+")]:
            try:
                town.daemon = town.home.start(wrap=injecting(inject))
            except DidNotStart as stopped:
                if "loading shared libraries" in stopped.told.splitlines()[-1]:
                    continue  # that was not we
                insist(stopped.code == 1, f"{inject}: exit code", stopped.code, stopped.told[-800:])
                ended.append(inject)
                continue
            served.append(inject)
            asker = town.daemon.asker()
            for token in alive[:: 1 if QUICK else 7]:
                status, _ = asker.ask("GET", "/v1/authorize", bearer=token)
                insist(status in (200, 503), f"{inject}: a good token:", status)
                right, none = right + (status == 200), none + (status == 503)
            status, _ = asker.ask("GET", "/v1/authorize", bearer=town.dead["token"])
            insist(status in (401, 503), f"{inject}: a revoked token:", status)
            asker.close()
            town.daemon.kill()
        insist("panicked" not in town.home.told(), town.home.told()[-1500:])
        town.daemon = town.home.start()
        town.holds()
    ok(
        f"faults reads that fail: each of the {reads} reads of a start, once and for good: {len(ended)} clear ends, {len(served)} "
        f"times service, with {right} right answers, {none} times 503, none wrong"
    )


def slow_disk():
    """Each sync takes half a second longer, while changes queue up."""
    with tempfile.TemporaryDirectory(prefix="bearerd-shim-") as folder:
        shim = needs_shim(folder)
        seconds = 3 if QUICK else 15
        with Town(variables=shim.variables) as town:
            quiet = verification_times(town, seconds / 3, 0)
            shim.slow_down(0.5)
            slow = verification_times(town, seconds, 16)
            shim.slow_down(0)
            insist(town.is_back() <= BACK_SECONDS, "service is back late")
            town.holds()
    told = (
        f"faults slow disk: while each sync takes 500 ms and 16 clients mint, {len(slow)} verifications: p50 "
        f"{percentile(slow, 50) * 1000:.2f} ms, p99 {percentile(slow, 99) * 1000:.2f} ms, at most {max(slow) * 1000:.1f} ms "
        f"(before: p50 {percentile(quiet, 50) * 1000:.2f} ms, p99 {percentile(quiet, 99) * 1000:.2f} ms)"
    )
    if percentile(slow, 99) <= VERIFY_P99_SECONDS:
        ok(told)
    else:
        fail(told, "p99 of 10 ms is wanted")


def verification_times(town, seconds, minters):
    """How long single verifications take for that long, beside so many who mint."""
    end, took, wrong = time.monotonic() + seconds, [], []

    def mints():
        asker = town.daemon.asker()
        while time.monotonic() < end:
            status, _ = town.mint(asker)
            if status not in (201, 429):
                wrong.append(status)
        asker.close()

    threads = [threading.Thread(target=mints) for _ in range(minters)]
    for thread in threads:
        thread.start()
    asker = town.daemon.asker()
    while time.monotonic() < end:
        began = time.monotonic()
        status, _ = asker.ask("GET", "/v1/authorize", bearer=town.alive["token"])
        took.append(time.monotonic() - began)
        insist(status == 200, "verification:", status)
    asker.close()
    for thread in threads:
        thread.join(30)
        insist(not thread.is_alive(), "a writer hangs")
    insist(not wrong, "minting on a slow disk:", wrong[:5])
    return took


# --- descriptors, memory, threads, the processor --------------------------------------------------------------------


def few_descriptors():
    """64 descriptors, and more clients than that."""

    def limit():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    with Town() as town:
        town.again(preexec=limit)
        daemon = town.daemon
        early = daemon.asker()
        insist(early.ask("GET", "/v1/me", bearer=town.session)[0] == 200, "an early client")
        crowd, served = [], 0
        for _ in range(200):
            client = daemon.asker(timeout=2)
            status, _ = client.ask("GET", "/v1/authorize", bearer=town.alive["token"])
            insist(status in (0, 200, 503), "one of a crowd:", status)
            served += status == 200
            crowd.append(client)
        cpu, lines, began = seconds_of_cpu(daemon.id), len(town.home.told().splitlines()), time.monotonic()
        silent = []
        for _ in range(100):
            try:
                silent.append(socket.create_connection(("127.0.0.1", daemon.port), 1))
            except OSError:
                pass
        time.sleep(3)
        spent = (seconds_of_cpu(daemon.id) - cpu) / (time.monotonic() - began)
        told = len(town.home.told().splitlines()) - lines
        insist(spent < 0.5, "the processor is busy with refusing:", spent)
        insist(told < 40, "lines of the log in 3 seconds:", told)
        # The store is opened again also when every descriptor is taken.
        if strace() is None:
            with Attached(daemon, "fdatasync:error=EIO"):
                status = daemon.ask("POST", "/v1/users", {"email": "x@example.org"}, admin=True)[0]
                insist(status in (0, 503), "a change that fails:", status)
        for connection in silent:
            connection.close()
        for client in crowd:
            client.close()
        early.close()
        took = town.is_back()
        insist(took <= BACK_SECONDS, "service was back after", took)
        town.verifies()
        town.holds()
    ok(f"faults descriptors: with 64 of them, {served} of 200 clients were served, {told} lines of log in 3 s, back after {took:.2f} s")


def seconds_of_cpu(process):
    fields = Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def control_group(controller, limits):
    """A control group with these limits (file: value), of either version; gives what puts a process into it."""
    name = f"bearerd-{os.getpid()}"
    one, two = Path("/sys/fs/cgroup") / controller / name, Path("/sys/fs/cgroup") / name
    group = one if one.parent.is_dir() else two
    try:
        group.mkdir()
    except OSError as error:
        raise Cannot(f"no control group can be made: {error}") from error
    try:
        try:
            for file, value in limits[1 if group == one else 2].items():
                (group / file).write_text(str(value))
        except OSError as error:
            raise Cannot(f"no control group with a limit can be made: {error}") from error

        def enter():
            (group / "cgroup.procs").write_text(str(os.getpid()))

        yield enter, group
    finally:
        end = time.monotonic() + 10
        while group.exists() and time.monotonic() < end:
            try:
                group.rmdir()
            except OSError:
                time.sleep(0.1)


def little_memory():
    """64 MiB, and 10,000 connections with half a head each, then 10,000 idle ones."""
    bytes_max, wanted = 64 << 20, 1000 if QUICK else 10_000
    limits = {1: {"memory.limit_in_bytes": bytes_max}, 2: {"memory.max": bytes_max, "memory.swap.max": 0}}
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, wanted + 4096), hard))
    told = []
    with control_group("memory", limits) as (enter, group), Town() as town:
        for name, head in (
            ("half a head", b"GET /healthz HTTP/1.1\r\nHost: x\r\nX: " + b"a" * 4096),
            ("idle", b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"),
        ):
            town.again(preexec=enter)
            process, crowd, most = town.daemon.id, [], 0
            for number in range(wanted):
                try:
                    connection = socket.create_connection(("127.0.0.1", town.daemon.port), 5)
                    connection.setblocking(False)
                    connection.send(head)
                    crowd.append(connection)
                except OSError:
                    pass
                if number % 250 == 0:
                    insist(town.daemon.process.poll() is None, f"ended by {town.daemon.process.returncode} at {number} connections, {most >> 20} MiB")
                    most = max(most, resident(process))
            insist(town.daemon.process.poll() is None, f"ended by {town.daemon.process.returncode}, {most >> 20} MiB")
            most = max(most, resident(process))
            open_now = len(list(Path(f"/proc/{process}/fd").iterdir()))
            town.verifies()
            for connection in crowd:
                connection.close()
            insist(town.is_back() <= BACK_SECONDS, "service is back late")
            told.append(f"{wanted} connections with {name}: at most {most >> 20} MiB, {open_now} descriptors")
        kills = out_of_memory_kills(group)
        insist(kills == 0, "killed for lack of memory", kills, "times")
        town.holds()
    ok("faults memory: in 64 MiB, " + "; ".join(told) + "; never killed, verification went on")


def resident(process):
    return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def out_of_memory_kills(group):
    for name in ("memory.oom_control", "memory.events"):
        if (group / name).exists():
            for line in (group / name).read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


def few_threads():
    """Too few for all that is wanted: a clear end, or service."""
    served, ended = [], []
    with Town() as town:
        insist(town.daemon.stop() == 0, "a clean stop")
        for most in range(1, 16):
            limits = {1: {"pids.max": most}, 2: {"pids.max": most}}
            with control_group("pids", limits) as (enter, _):
                try:
                    town.daemon = town.home.start(preexec=enter)
                except DidNotStart as stopped:
                    insist(stopped.code == 1, f"with {most} threads: exit code", stopped.code, stopped.told)
                    ended.append(most)
                    continue
                town.verifies()
                town.minted()
                insist(town.daemon.stop() == 0, "a clean stop")
                served.append(most)
        insist("panicked" not in town.home.told(), town.home.told()[-1500:])
        town.daemon = town.home.start()
        town.holds()
    insist(served, "it never served")
    ok(f"faults threads: with up to {max(ended)} a clear end, from {min(served)} on service")


def little_processor():
    """A twentieth of one core."""
    limits = {1: {"cpu.cfs_period_us": 100_000, "cpu.cfs_quota_us": 5_000}, 2: {"cpu.max": "5000 100000"}}
    with control_group("cpu", limits) as (enter, _), Town() as town:
        town.again(preexec=enter)
        for _ in range(40):
            town.verifies()
        insist(town.is_back() <= BACK_SECONDS, "a change is late")
        town.holds()
    ok("faults processor: with a twentieth of a core everything is answered, and nothing expires falsely")


# --- the clock ------------------------------------------------------------------------------------------------------


def clock():
    """Random schedules of a clock that jumps both ways, with stops and kills in between: nothing that was once refused
    is ever accepted again."""
    steps = 60 if QUICK else 1500
    with tempfile.TemporaryDirectory(prefix="bearerd-shim-") as folder:
        shim = needs_shim(folder)
        now = time.time()
        with Town(variables=shim.variables) as town:
            # Tokens of all spans, the times at which they were made by the true clock, and those that were refused.
            tokens, refused, jumps, restarts = [], set(), 0, 0
            known = [town.alive["token"]]  # lives for 90 days
            for step in range(steps):
                deed = CHANCE.choice(["mint", "mint", "jump", "jump", "look", "look", "stop", "kill"])
                if deed == "mint":
                    span = CHANCE.choice([1, 2, 60, 3600, 86400, 10 * 365 * 86400])
                    status, made = town.daemon.ask("POST", f"/v1/users/{town.user}/tokens", {"name": "c", "ttl_seconds": span}, admin=True)
                    insist(status == 201, "minting at any time:", status, made)
                    tokens.append(made["token"])
                elif deed == "jump":
                    far = CHANCE.choice([1, 60, 3600, 86400, 366 * 86400, 11 * 366 * 86400, int(now)])
                    shim.move_clock(max(-int(now) + 5, min(4 * 10**9, shim.seconds + CHANCE.choice([-1, 1]) * CHANCE.randint(0, far))))
                    jumps += 1
                elif deed in ("stop", "kill"):
                    town.daemon.settle()  # what was refused as expired is written soon after
                    town.again(kill=deed == "kill")
                    restarts += 1
                asked = CHANCE.sample(tokens, min(len(tokens), 60)) + known
                for token, active in zip(asked, town.daemon.active(asked)):
                    insist(not (active and token in refused), f"step {step} of seed {SEED}: a token lives again at {shim.seconds} s")
                    if not active:
                        refused.add(token)
            insist("panicked" not in town.home.told(), town.home.told()[-1500:])
            town.daemon.root(200, "GET", "/v1/admin/status")
            chain_holds(town.daemon)
    ok(f"faults clock: {steps} steps, {jumps} jumps, {restarts} restarts, seed {SEED}: of {len(tokens)} tokens {len(refused - set(known))} expired, none lived again")


def clock_behind():
    """A clock that was ahead: what it expired stays so across restarts, status says so, and a reset ends it."""
    with tempfile.TemporaryDirectory(prefix="bearerd-shim-") as folder:
        shim = needs_shim(folder)
        with Town(variables=shim.variables) as town:
            token = town.minted(ttl_seconds=3600)["token"]
            town.facts.alive.remove(token)
            shim.move_clock(7200)
            insist(town.daemon.active([token]) == [False], "past its end")
            town.daemon.settle()
            for kill in (True, False):
                shim.move_clock(0)
                insist(town.daemon.active([token]) == [False], "the clock is back")
                town.again(kill=kill)
                insist(town.daemon.active([token]) == [False], "the clock is back, across a restart")
                behind = town.daemon.root(200, "GET", "/v1/admin/status")["clock_behind_seconds"]
                insist(7100 <= behind <= 7200, "behind by", behind)
            # As early as a kernel lets a clock be set; and before that, where there are no times to be told.
            shim.move_clock(-int(time.time()) + 5)
            town.again(kill=True)
            town.verifies()
            made = town.daemon.root(201, "POST", f"/v1/users/{town.user}/tokens", {"name": "at the epoch"})
            town.facts.alive.append(made["token"])
            insist(town.daemon.active([token]) == [False], "at the epoch")
            insist(town.daemon.stop() == 0, "a clean stop")
            shim.move_clock(-int(time.time()) - 600)
            try:
                town.home.start(variables=town.variables).kill()
                raise Broken("it serves before the epoch")
            except DidNotStart as ended:
                insist(ended.code == 1 and "before the year 1970" in ended.told, ended.code, ended.told)
            shim.move_clock(-int(time.time()) + 5)
            town.daemon = town.home.start(variables=town.variables)
            shim.move_clock(0)
            reset = town.home.cli("clock", "reset", "--yes")
            insist(reset.returncode == 0, "clock reset:", reset.stderr)
            insist(town.daemon.active([token]) == [True], "what only the wrong time had expired")
            town.holds()
    ok("faults clock ahead and back: stays expired across a kill, a stop and a clock at the epoch; told; ended by a reset. Before the epoch: a clear end")


# --- the log, the process, half-written files -----------------------------------------------------------------------


def stalled_log():
    """Nobody reads standard error, and its pipe is full."""
    reader, writer = os.pipe()
    try:
        os.set_blocking(writer, False)
        try:
            while os.write(writer, b"x" * 4096):
                pass
        except BlockingIOError:
            pass
        os.set_blocking(writer, True)
        with Town(variables={"BEARERD_LOG": "trace"}) as town:
            town.again(stderr=writer)
            os.close(writer)
            writer = None
            asker, took = town.daemon.asker(), []
            for number in range(6000 if QUICK else 8000):
                began = time.monotonic()
                status, _ = asker.ask("GET", "/v1/authorize", bearer=town.alive["token"] if number % 2 else town.dead["token"])
                took.append(time.monotonic() - began)
                insist(status == (200 if number % 2 else 401), "verification:", status)
            asker.close()
            town.minted()
            town.daemon.signal(signal.SIGHUP)
            began = time.monotonic()
            insist(town.daemon.stop() == 0, "the exit code of a stop")
            stopping = time.monotonic() - began
            insist(stopping <= 5, "a stop takes", stopping)
            # A reader that goes on, and one that goes away.
            reader_told = bytearray()
            while piece := os.read(reader, 65536):
                reader_told += piece
            town.daemon = town.home.start(variables=town.variables)
            town.holds()
        other_reader, other = os.pipe()
        os.close(other_reader)
        with Town() as town:
            town.again(stderr=other)
            os.close(other)
            for _ in range(50):
                town.verifies()
            town.holds()
    finally:
        os.close(reader)
        if writer is not None:
            os.close(writer)
    ok(
        f"faults log that nobody reads: {len(took)} verifications, p99 {percentile(took, 99) * 1000:.2f} ms, at most "
        f"{max(took) * 1000:.0f} ms; stopped in {stopping:.2f} s; the same where the reader is gone"
    )


def stopped_process():
    """SIGSTOP in the middle of a transaction, then SIGCONT; whoever gave up waiting asks again."""
    needs_strace()
    pause = 2 if QUICK else 30
    calls = ("pwrite64:signal=STOP:when=2", "fdatasync:signal=STOP:when=1", "pwrite64:signal=STOP:when=6", "fdatasync:signal=STOP:when=2")
    if not QUICK:
        calls = calls[:3]
    with Town() as town:
        for number, inject in enumerate(calls):
            enrolment = town.daemon.root(201, "POST", "/v1/enrollments", {})["token"]
            wish = {"token": enrolment, "hostname": f"h{number}", "os": "linux", "arch": "x86_64", "attempt": secrets.token_urlsafe(24)}
            town.daemon.settle()
            with Attached(town.daemon, inject):
                status, _ = town.daemon.ask("POST", "/v1/enroll", wish, timeout=1)
                insist(status == 0, "an answer of a stopped process:", status)
                insist(is_stopped(town.daemon.process.pid), "it was not stopped")
                waiting = town.daemon.asker()
                time.sleep(pause)
                town.daemon.signal(signal.SIGCONT)
                end = time.monotonic() + 10
                while (status := town.daemon.ask("POST", "/v1/enroll", wish)[0]) in (0, 503) and time.monotonic() < end:
                    time.sleep(0.05)
                insist(status == 201, "the same attempt again:", status)
                insist(waiting.ask("GET", "/healthz")[0] == 200, "a client that came meanwhile")
                waiting.close()
            hosts = [host for host in town.daemon.all("/v1/hosts") if host["hostname"] == f"h{number}"]
            insist(len(hosts) == 1, "hosts of one enrolment:", len(hosts))
            town.facts.spent.append(enrolment)
            town.verifies()
        town.holds()
    ok(f"faults stopped process: {len(calls)} times for {pause} s in the middle of a transaction; one host each, with the reply repeated")


def is_stopped(process):
    end = time.monotonic() + 5
    while time.monotonic() < end:
        states = {Path(f"{task}/stat").read_text().rsplit(")", 1)[1].split()[0] for task in Path(f"/proc/{process}/task").iterdir()}
        if states <= {"T", "t"}:
            return True
        time.sleep(0.02)
    return False


def half_written_secret():
    """A secret that is written in place, half by half, while reloads read it."""
    rounds = 60 if QUICK else 500
    config = '[services.proxy]\nsecret_file = "proxy.secret"\ngroups = ["operator"]\n'
    with Town(config=config) as town:
        file = town.home.folder / "proxy.secret"
        town.home.file("proxy.secret", secrets.token_hex(64))
        root, asker = town.daemon.asker(admin=True), town.daemon.asker()
        taken = refused = late = 0
        for _ in range(rounds):
            whole = secrets.token_hex(64)
            half, outcome = whole[:64], []
            reload = threading.Thread(target=lambda: outcome.append(root.ask("POST", "/v1/admin/reload", {})[0]))
            reload.start()
            time.sleep(CHANCE.random() * 0.015)
            # As an editor does that truncates and writes on: each half is long enough to be a secret.
            began = time.monotonic()
            with open(file, "r+b", buffering=0) as writing:
                writing.truncate(0)
                writing.write(half.encode())
                time.sleep(CHANCE.random() * 0.004)
                writing.write(whole[64:].encode())
            in_time = time.monotonic() - began < 0.009
            reload.join(30)
            insist(outcome and outcome[0] in (200, 422), "a reload:", outcome)
            taken, refused = taken + (outcome[0] == 200), refused + (outcome[0] == 422)
            late += not in_time
            status = asker.ask("GET", "/v1/me", bearer=half)[0]
            insist(status == 401 or not in_time, "half a secret is accepted:", status)
            insist(root.ask("POST", "/v1/admin/reload", {})[0] == 200, "a reload of what is whole")
            insist(asker.ask("GET", "/v1/me", bearer=whole)[0] == 200, "the whole secret")
            insist(asker.ask("GET", "/v1/me", bearer=half)[0] == 401, "half a secret")
        root.close()
        asker.close()
        if rounds - late < rounds / 10:
            raise Cannot("this machine is too busy to write two halves within 9 ms")
        town.holds()
    ok(f"faults half-written secret: {rounds} rounds ({late} too slow to judge), {taken} reloads took a whole secret, {refused} refused one that kept changing, never half of one")


def watchdog():
    """A disk so slow that the watchdog's span passes: it goes on being fed, since the writer is at work."""
    with tempfile.TemporaryDirectory(prefix="bearerd-shim-") as folder:
        shim = needs_shim(folder)
        manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        manager.bind(f"{folder}/notify")
        manager.settimeout(5)
        with Town(variables=shim.variables) as town:
            variables = {**shim.variables, "NOTIFY_SOCKET": f"{folder}/notify", "WATCHDOG_USEC": "400000"}
            insist(town.daemon.stop() == 0, "a clean stop")
            town.daemon = town.home.start(variables=variables)
            shim.slow_down(2)
            minting = threading.Thread(target=town.mint)
            minting.start()
            fed, end, last, longest = 0, time.monotonic() + 3.5, time.monotonic(), 0.0
            while time.monotonic() < end:
                if b"WATCHDOG=1" in manager.recv(4096):
                    fed, longest, last = fed + 1, max(longest, time.monotonic() - last), time.monotonic()
            minting.join(30)
            shim.slow_down(0)
            insist(longest <= 0.4, "the watchdog waited for", longest)
            town.holds()
        manager.close()
    ok(f"faults watchdog: fed {fed} times while a commit took 4 s, at most {longest * 1000:.0f} ms apart")


PARTS = [
    full_disk, full_disk_at_first_start, full_disk_in_a_backup, read_only_disk, failing_disk, unreadable_disk, slow_disk,
    few_descriptors, little_memory, few_threads, little_processor, clock, clock_behind, stalled_log, stopped_process,
    half_written_secret, watchdog,
]


def main():
    for part in PARTS:
        if sys.argv[1:] and part.__name__ not in sys.argv[1:]:
            continue
        try:
            part()
        except Cannot as why:
            skip(f"faults {part.__name__.replace('_', ' ')}", why)
        except (Broken, OSError, subprocess.SubprocessError) as wrong:
            fail(f"faults {part.__name__.replace('_', ' ')}", wrong)


main()
