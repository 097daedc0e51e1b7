"""What the crash and fault parts share: daemons that are killed, starved and started again on the same data, system
calls that fail or kill on order (strace), and a ledger of what was acknowledged. Standard library only."""

import http.client
import json
import os
import random
import re
import select
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

from workbench import ROOT, program

BINARY = os.environ.get("BEARERD_BIN") or str(
    Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug" / "bearerd"
)
QUICK = bool(os.environ.get("THOROUGH_QUICK"))
PATIENCE = 30.0
PASSWORD = "correct horse battery staple"
KILLED = -signal.SIGKILL
SCRATCH = Path(os.environ.get("THOROUGH_SCRATCH") or tempfile.gettempdir())


class Broken(AssertionError):
    """What was promised does not hold."""


def insist(holds, *what):
    """Raises with what is wrong, unless it holds."""
    if not holds:
        raise Broken(" ".join(str(word) for word in what))


def percentile(values, percent):
    """The value below which `percent` of them lie, by the nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path, timeout=PATIENCE):
        super().__init__("localhost", timeout=timeout)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self.path))


class Asker:
    """One kept connection. A request whose connection breaks is answered (0, None): whether it was carried out is not
    known."""

    def __init__(self, connect):
        self.connect, self.connection = connect, None

    def ask(self, method, path, body=None, bearer=None, form=None, headers=()):
        headers = dict(headers)
        if form is not None:
            body, headers["Content-Type"] = urlencode(form), "application/x-www-form-urlencoded"
        elif body is not None and not isinstance(body, (str, bytes)):
            body, headers["Content-Type"] = json.dumps(body), "application/json"
        if bearer:
            headers["Authorization"] = "Bearer " + bearer
        try:
            if self.connection is None:
                self.connection = self.connect()
            self.connection.request(method, path, body, headers)
            answer = self.connection.getresponse()
            text = answer.read()
            if answer.will_close:
                self.close()
        except (OSError, http.client.HTTPException):
            self.close()
            return 0, None
        try:
            return answer.status, json.loads(text) if text else None
        except ValueError:
            return answer.status, text

    def close(self):
        if self.connection is not None:
            self.connection.close()
            self.connection = None


class Home:
    """A folder with a configuration, a data directory and a log, in which daemons come and go."""

    def __init__(self, config="", parent=None):
        self.folder = Path(tempfile.mkdtemp(prefix="bearerd-crash-", dir=parent or SCRATCH))
        self.data = self.folder / "data"
        self.config = self.folder / "bearerd.toml"
        self.log = self.folder / "log"
        if parent:  # which may be full, or read-only
            file, path = tempfile.mkstemp(prefix="bearerd-log-", dir=SCRATCH)
            os.close(file)
            self.log = Path(path)
        self.config.write_text(config)

    def file(self, name, text):
        """A file for its owner alone, exchanged whole."""
        new = self.folder / (name + ".new")
        new.write_text(text)
        new.chmod(0o600)
        new.rename(self.folder / name)

    def copy(self):
        """Another home with the same files: the daemon in this one must be stopped."""
        other = Home()
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.copytree(path, other.folder / path.name, ignore=sockets)
            elif path.name != "log":
                shutil.copy2(path, other.folder / path.name)
        return other

    def remove(self):
        self.log.unlink(missing_ok=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    def command(self, *arguments):
        return [BINARY, *arguments, "--config", str(self.config), "--data", str(self.data)]

    def start(self, wrap=(), variables=None, wait=True, stderr=None, preexec=None):
        """Starts a daemon, below `wrap` if there is one; it has answered that it is ready."""
        return Daemon(self, wrap, variables, wait, stderr, preexec)

    def cli(self, *arguments, wrap=(), stdin=None, timeout=PATIENCE, variables=None):
        """Runs a command to its end."""
        command = [*wrap, *self.command(*arguments)]
        environment = {**os.environ, **(variables or {})}
        return subprocess.run(
            command, input=stdin, capture_output=True, text=True, timeout=timeout, env=environment,
            stdin=None if stdin is not None else subprocess.DEVNULL,
        )

    def told(self):
        """The log so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.remove()


def sockets(folder, names):
    """What is not copied: the sockets of daemons that were killed."""
    return [name for name in names if (Path(folder) / name).is_socket()]


class DidNotStart(Broken):
    """The daemon ended before it served."""

    def __init__(self, code, told, banner):
        super().__init__(f"the daemon ended with {code} before it served: {told[-2000:]}")
        self.banner = banner
        self.code, self.told = code, told


class Daemon:
    """A daemon that was started."""

    def __init__(self, home, wrap, variables, wait, stderr, preexec):
        self.home, self.port, self.banner, self.traced = home, None, "", bool(wrap)
        command = [*wrap, *home.command("serve"), "--listen", "127.0.0.1:0"]
        began = time.monotonic()
        log = stderr if stderr is not None else open(home.log, "ab")
        self.process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
            env={**os.environ, **(variables or {})}, preexec_fn=preexec,
        )
        if stderr is None:
            log.close()
        self.ready_seconds = None
        if wait:
            try:
                self.wait_until_listening()
            except BaseException:
                if self.process.poll() is None:
                    self.kill()
                self.process.stdout.close()
                raise
            self.ready_seconds = time.monotonic() - began

    def wait_until_listening(self):
        """Reads standard output up to the line that says where it serves."""
        end = time.monotonic() + PATIENCE
        said = b""
        while not (found := re.search(rb"listening on http://127\.0\.0\.1:(\d+)\n", said)):
            readable, _, _ = select.select([self.process.stdout], [], [], max(0, end - time.monotonic()))
            piece = os.read(self.process.stdout.fileno(), 65536) if readable else b""
            said += piece
            self.banner = said.decode(errors="replace")
            if not piece:
                insist(readable, "the daemon did not serve within", PATIENCE, "seconds")
                raise DidNotStart(self.wait(), self.home.told(), self.banner)
        self.port = int(found.group(1))

    @property
    def id(self):
        """The process of the daemon itself."""
        if not self.traced:
            return self.process.pid
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for child in children:
            if os.readlink(f"/proc/{child}/exe") == os.path.realpath(BINARY):
                return int(child)
        raise Broken("the daemon below its wrapper is not to be found")

    @property
    def install_token(self):
        """The token of the banner; none where none was printed."""
        found = re.search(r"bdr_ist_\w+", self.banner)
        return found and found.group()

    def asker(self, admin=False, timeout=PATIENCE):
        """A kept connection to it."""
        if admin:
            return Asker(lambda: UnixConnection(self.home.data / "admin.sock", timeout))
        return Asker(lambda: http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout))

    def ask(self, method, path, body=None, bearer=None, admin=False, form=None, headers=(), timeout=PATIENCE):
        """Status and answer of one request; (0, None) where the connection broke."""
        asker = self.asker(admin, timeout)
        try:
            return asker.ask(method, path, body, bearer, form, headers)
        finally:
            asker.close()

    def must(self, wanted, method, path, body=None, **how):
        """The answer of a request that has to have this status."""
        status, answer = self.ask(method, path, body, **how)
        insist(status == wanted, f"{method} {path}: {status} instead of {wanted}: {answer}")
        return answer

    def root(self, wanted, method, path, body=None, **how):
        """The same over the admin socket."""
        return self.must(wanted, method, path, body, admin=True, **how)

    def all(self, path):
        """Every item of a list, over the admin socket."""
        items, cursor = [], None
        while True:
            query = ("&" if "?" in path else "?") + "limit=500" + (f"&cursor={cursor}" if cursor else "")
            page = self.root(200, "GET", path + query)
            items += page["items"]
            cursor = page["next_cursor"]
            if cursor is None:
                return items

    def row(self, token):
        """The row of a token, by its text."""
        return self.root(200, "POST", "/v1/admin/tokens/lookup", {"token": token})

    def active(self, tokens):
        """Which of the tokens are active, in their order."""
        told = []
        for first in range(0, len(tokens), 1000):
            batch = {"tokens": tokens[first : first + 1000]}
            told += [one["active"] for one in self.root(200, "POST", "/v1/introspect/batch", batch)["results"]]
        return told

    def commits(self):
        """How many commits it has made."""
        _, text = self.ask("GET", "/metrics")
        return int(re.search(rb"^bearerd_store_commits\S* (\d+)", text, re.M).group(1))

    def settle(self):
        """Waits until the writer is done with what belongs to a start."""
        before = None
        while (now := self.commits()) != before:
            before = now
            time.sleep(0.06)

    def signal(self, number):
        os.kill(self.id, number)

    def wait(self, timeout=PATIENCE):
        return self.process.wait(timeout)

    def is_killed_within(self, seconds):
        """Whether it dies by SIGKILL that soon."""
        try:
            return self.process.wait(seconds) in (KILLED, 128 + signal.SIGKILL)
        except subprocess.TimeoutExpired:
            return False

    def kill(self):
        """SIGKILL, and gone."""
        if self.process.poll() is None:
            try:
                self.signal(signal.SIGKILL)
            except (ProcessLookupError, FileNotFoundError):
                pass
        try:
            self.process.wait(PATIENCE)
        finally:
            self.process.stdout.close()

    def stop(self):
        """SIGTERM; its exit code."""
        self.signal(signal.SIGTERM)
        try:
            return self.wait()
        finally:
            self.process.stdout.close()


# --- system calls that kill, fail or dawdle -------------------------------------------------------------------------


def strace():
    """Whether processes can be traced here; if not, why."""
    if program("strace") is None:
        return "strace is not installed"
    looked = subprocess.run(["strace", "-qq", "-o", "/dev/null", "true"], capture_output=True, text=True)
    return None if looked.returncode == 0 else "tracing is not allowed: " + looked.stderr.strip()


def injecting(what, output="/dev/null"):
    """A wrapper that starts a program with an injection, such as `fdatasync:signal=KILL:when=2`."""
    calls = what.split(":", 1)[0]
    return ["strace", "-f", "-qq", "-o", str(output), "-e", f"trace={calls}", "-e", "inject=" + what]


def counting(calls, output):
    """A wrapper that starts a program and writes down its system calls."""
    return ["strace", "-f", "-qq", "-o", str(output), "-e", "trace=" + ",".join(calls)]


class Attached:
    """strace, attached to every thread of a running daemon, with an injection or (without) as a writer of what it
    sees."""

    def __init__(self, daemon, inject=None, calls=(), output="/dev/null"):
        calls = inject.split(":", 1)[0] if inject else ",".join(calls)
        command = ["strace", "-f", "-qq", "-o", str(output), "-e", "trace=" + calls]
        command += ["-e", "inject=" + inject] if inject else []
        command += ["-p", str(daemon.process.pid)]
        end = time.monotonic() + PATIENCE
        self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        while not self.is_on_all(daemon.process.pid):
            if daemon.process.poll() is not None:
                return  # killed by a call that nobody asked for
            insist(time.monotonic() < end, "strace did not attach")
            if self.process.poll() is not None and daemon.process.poll() is None:  # a thread ended just then
                self.process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
            time.sleep(0.005)

    def is_on_all(self, daemon):
        """Whether each thread of the daemon has this tracer."""
        for task in Path(f"/proc/{daemon}/task").iterdir():
            try:
                if f"TracerPid:\t{self.process.pid}\n" not in (task / "status").read_text():
                    return False
            except OSError:  # it ended just then
                pass
        return True

    def detach(self):
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.detach()


def counted(trace):
    """How often the busiest thread made each call, by what strace wrote down: it counts `when` for each thread."""
    counts = {}
    for line in Path(trace).read_text(errors="replace").splitlines():
        found = re.match(r"(\d+)\s+(\w+)\(", line)
        if found:
            counts[found.groups()] = counts.get(found.groups(), 0) + 1
    most = {}
    for (_, call), count in counts.items():
        most[call] = max(most.get(call, 0), count)
    return most


# --- a clock and a disk of one's own --------------------------------------------------------------------------------

SHIM = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* $SHIM holds two numbers of eight bytes: by how many seconds the wall clock is moved, and for how many microseconds
   each sync to the disk dawdles. */
static volatile const long long *shim;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SHIM");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *seen = mmap(NULL, 2 * sizeof *shim, PROT_READ, MAP_SHARED, file, 0);
    if (seen != MAP_FAILED) shim = seen;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *time) {
    long outcome = syscall(SYS_clock_gettime, clock, time);
    if (outcome == 0 && clock == CLOCK_REALTIME && shim) time->tv_sec += shim[0];
    return (int)outcome;
}

static void dawdle(void) {
    if (shim && shim[1] > 0) usleep((useconds_t)shim[1]);
}

int fdatasync(int file) {
    dawdle();
    return (int)syscall(SYS_fdatasync, file);
}

int fsync(int file) {
    dawdle();
    return (int)syscall(SYS_fsync, file);
}
"""


class Shim:
    """A wall clock and a disk for daemons, changed at will while they run. Only for programs that ask the C library."""

    def __init__(self, folder):
        source, library = Path(folder) / "shim.c", Path(folder) / "shim.so"
        self.file, self.seconds, self.micros = Path(folder) / "shim", 0, 0
        self.file.write_bytes(bytes(16))
        source.write_text(SHIM)
        subprocess.run(["cc", "-O1", "-shared", "-fPIC", "-o", library, source], check=True)
        self.variables = {"LD_PRELOAD": str(library), "SHIM": str(self.file)}

    @staticmethod
    def missing():
        """Why there can be none here; nothing where there can."""
        if program("cc") is None:
            return "there is no C compiler"
        with open(BINARY, "rb") as binary:
            if b"/ld-linux" not in binary.read(64 * 1024):
                return "the binary is static, and asks the kernel for the time itself"
        return None

    def move_clock(self, seconds):
        """Moves the clock to `seconds` from the true time."""
        self.seconds = int(seconds)
        self.write()

    def slow_down(self, seconds):
        """Has each sync take that much longer."""
        self.micros = int(seconds * 1_000_000)
        self.write()

    def write(self):
        with open(self.file, "r+b", buffering=0) as file:
            file.write(b"".join(value.to_bytes(8, "little", signed=True) for value in (self.seconds, self.micros)))


# --- what was acknowledged ------------------------------------------------------------------------------------------


class Ledger:
    """What the daemon has acknowledged, kept outside of it."""

    def __init__(self):
        self.alive, self.dead, self.spent, self.unknown = [], [], [], []
        self.uses = {}
        self.created = []

    def copy(self):
        other = Ledger()
        for name in ("alive", "dead", "spent", "unknown", "created"):
            setattr(other, name, list(getattr(self, name)))
        other.uses = dict(self.uses)
        return other

    def hold(self, daemon, newest=None, others=0):
        """Insists that it all holds: of each list the newest, and some of the others at random."""

        def pick(facts):
            if newest is None or len(facts) <= newest + others:
                return facts
            return facts[-newest:] + random.sample(facts[:-newest], others)

        alive, dead = pick(self.alive), pick(self.dead)
        for token, active in zip(alive, daemon.active(alive)):
            insist(active, "an acknowledged token is lost:", daemon.ask("POST", "/v1/admin/tokens/lookup", {"token": token}, admin=True))
        for token, active in zip(dead, daemon.active(dead)):
            insist(not active, "a token that was ended lives again:", token[:40])
        for token in pick(self.spent):
            state = daemon.row(token)["state"]
            insist(state == "consumed", "a consumed token is", state)
        for token, (least, most) in pick(list(self.uses.items())):
            uses = daemon.row(token)["uses"]
            insist(least <= uses <= most, f"{uses} uses are counted where {least} to {most} were granted")

    def entries_hold(self, daemon):
        """Insists that each token that was acknowledged has its one entry in the log, and that the chain holds."""
        entries = {}
        for entry in daemon.all("/v1/audit?action=token.create"):
            entries[entry["resource"]] = entries.get(entry["resource"], 0) + 1
        for id in self.created:
            insist(entries.get(id) == 1, f"{id} has {entries.get(id, 0)} entries in the log")
        insist(all(count == 1 for count in entries.values()), "a token has two entries")
        chain_holds(daemon)


def chain_holds(daemon):
    chain = daemon.root(200, "GET", "/v1/admin/audit/verify")
    insist(chain["holds"], "the audit chain does not hold:", chain)


def check_holds(home):
    """Insists that `check` finds nothing wrong with a stopped store."""
    checked = home.cli("check", timeout=120)
    insist(checked.returncode == 0, "check:", checked.stdout, checked.stderr)
