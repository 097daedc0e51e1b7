"""What the daemon reads, held against what h11 and llhttp read in the same bytes of the same connection.

Every request by hand of tests/http_strict.rs, those below, and mutated ones with others behind them on the same
connection. A reader's difference from the daemon counts as judged if it stands in the table of docs/http.md, with
why it does no harm; any other fails, and so does a row of the table that no request by hand leads to any more.

Nothing is a 5xx, nothing hangs, and the daemon's memory does not grow. A failure tells the number of its request;
`BEARERD_RAW_SEED=… BEARERD_RAW_ONLY=NUMBER tests/thorough/run differences` sends that one alone.
"""

import collections
import json
import os
import queue
import random
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from workbench import ROOT, Daemon, check, fail, need, ok, request, resident_mib, skip

QUICK = bool(os.environ.get("THOROUGH_QUICK"))
MUTATIONS = int(os.environ.get("BEARERD_RAW_MUTATIONS", "4000" if QUICK else "100000"))
SEED = os.environ.get("BEARERD_RAW_SEED", "bearerd")
ONLY = os.environ.get("BEARERD_RAW_ONLY")
SENDERS = 8
PATIENCE = 20.0
GROWTH_MIB_MAX = 10
SHOWN_MAX = int(os.environ.get("BEARERD_RAW_SHOWN", "12"))

FORM = "Content-Type: application/x-www-form-urlencoded\r\n"
PROBE = "GET /healthz HTTP/1.1\r\nHost: probe\r\nX-Request-Id: probe-{}\r\nConnection: close\r\n\r\n"
SHARP = b"\r\n\0\t :;,_-%\"@/\x0b\x7f\xff0aA"


def introspections(secret):
    """The same question in every spelling of its body; `active` tells which bytes were taken for the body."""
    ask = f"POST /v1/introspect HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {secret}\r\n{FORM}"
    form = f"token={secret}"
    chunks = "".join(f"{len(piece):x}\r\n{piece}\r\n" for piece in re.findall(".{1,7}", form))
    chunked = "Transfer-Encoding: chunked\r\n\r\n"
    return [
        ask + f"Content-Length: {len(form)}\r\n\r\n{form}",
        ask + f"Content-Length: {len(form) + 2}\r\n\r\n\r\n{form}",
        ask + f"Content-Length: {len(form) - 1}\r\n\r\n{form}",
        ask + f"Content-Length: {len(form) + 1}\r\n\r\n{form}",
        ask + chunked + chunks + "0\r\n\r\n",
        ask + chunked + chunks.upper().replace(secret.upper(), secret) + "000\r\n\r\n",
        ask + chunked + f"{len(form):x}\r\n{form}\r\n0\r\n\r\n",
        ask + chunked + f"{len(form):x};x=y\r\n{form}\r\n0\r\n\r\n",
        ask + chunked + f"{len(form):x}\r\n{form}\r\n0\r\nX-Trailer: y\r\n\r\n",
        ask + chunked + f"{len(form):x} \r\n{form}\r\n0\r\n\r\n",
        ask + chunked + f"{len(form):x}\r\n{form}\n0\r\n\r\n",
        ask + f"Content-Length: {len(form)}\r\n" + chunked + chunks + "0\r\n\r\n",
        ask + f"Expect: 100-continue\r\nContent-Length: {len(form)}\r\n\r\n{form}",
    ]


BY_HAND = [
    # Kept open or not, by either version.
    "GET /healthz HTTP/1.0\r\nHost: h\r\n\r\n",
    "GET /healthz HTTP/1.0\r\nHost: h\r\nConnection: keep-alive\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close, X-Real-IP\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: X-Real-IP, close\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: keep-alive, close\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\nConnection: close\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: closed\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection:\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close;q=1\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: \"close\"\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: h\r\nProxy-Connection: close\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: h\r\nKeep-Alive: timeout=0\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\r\n",
    "POST /v1/revoke HTTP/1.1\r\nHost: h\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n" + FORM + "Content-Length: 7\r\n\r\ntoken=x",
    # Bodies where nobody expects one, and none where one is expected.
    "DELETE /v1/tokens/x HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
    "HEAD /healthz HTTP/1.1\r\nHost: h\r\n\r\n",
    "HEAD /healthz HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
    "GET /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    "POST /v1/revoke HTTP/1.1\r\nHost: h\r\n" + FORM + "\r\n",
    "POST /v1/revoke HTTP/1.1\r\nHost: h\r\n" + FORM + "Content-Length: 40\r\n\r\ntoken=x",
    "POST /v1/revoke HTTP/1.1\r\nHost: h\r\n" + FORM + "Transfer-Encoding: chunked\r\n\r\n7\r\ntok",
    "POST /v1/revoke HTTP/1.1\r\nHost: h\r\n" + FORM + "Transfer-Encoding: chunked\r\n\r\n7\r\ntoken=x\r\n",
    # White space around a value is not part of it.
    "POST /v1/revoke HTTP/1.1\r\nHost: h\r\n" + FORM + "Transfer-Encoding: chunked\t\r\n\r\n7\r\ntoken=x\r\n0\r\n\r\n",
    "POST /v1/revoke HTTP/1.1\r\nHost: h\r\n" + FORM + "Transfer-Encoding: \t chunked \r\n\r\n7\r\ntoken=x\r\n0\r\n\r\n",
    "POST /v1/revoke HTTP/1.1\r\nHost: h\r\n" + FORM + "Content-Length:7\t\r\n\r\ntoken=x",
    "POST /v1/revoke HTTP/1.1\r\nHost: h\r\n" + FORM + "Content-Length: \t7 \r\n\r\ntoken=x",
    "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\t\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: h\r\nConnection:\tclose , x\r\n\r\n",
    # Cut short, and garbage that a reader may tell early.
    "GET /healthz HTT",
    "GET /healthz HTTP/1.1\r\nHost: h\r\n",
    "G@T",
    "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\nGETA /healthz HTTP/1.1\r\nHost: h\r\n\r\n",
    "\x7fELF",
    "GET /healthz HTTP/1.1\r\nX@",
    "\r\nGET /healthz HTTP/1.1\r\nHost: h\r\n\r\n",
    "\r\n\r\nGET /healthz HTTP/1.1\r\nHost: h\r\n\r\n",
    "\r\nGET /healthz HTT",
    "\rGET /healthz HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n\r",
    "GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n\n",
    # Bytes that are no UTF-8.
    b"GET /healthz HTTP/1.1\r\nHost: \xff\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer \xff\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: h\r\nExpect: \xff\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: \xffchunked\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\nHost: h\r\nCookie: \xff\r\nUser-Agent: \xe9\r\n\r\n",
    b"GET /\xff HTTP/1.1\r\nHost: h\r\n\r\n",
    # Methods of other protocols, and of none.
    "BASELINE-CONTROL / HTTP/1.1\r\nHost: h\r\n\r\n",
    "M-SEARCH * HTTP/1.1\r\nHost: h\r\n\r\n",
    "DESCRIBE rtsp://h/ RTSP/1.0\r\nHost: h\r\n\r\n",
    "QUERY /healthz HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET_X /healthz HTTP/1.1\r\nHost: h\r\n\r\n",
    # Targets.
    "GET /healthz?a=\\ HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /a|b HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET http://h HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET https://h/healthz HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET http://h?x HTTP/1.1\r\nHost: h\r\n\r\n",
    "OPTIONS http://h HTTP/1.1\r\nHost: h\r\n\r\n",
]


def written_by_the_tests():
    """The requests by hand of tests/http_strict.rs."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "requests"
        command = ["cargo", "test", "--quiet", "--test", "http_strict", "--", "--ignored", "--exact",
                   "the_requests_are_written_for_other_readers"]
        subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL,
                       env={**os.environ, "BEARERD_REQUESTS": str(file)})
        return [json.loads(line) for line in file.read_text().splitlines()]


def mutated(number, by_hand, tame):
    """One to three small changes to a request by hand, often with another one and the probe behind it; mostly to
    requests that are fine, so that something is accepted often enough."""
    dice = random.Random(f"{SEED}:{number}")
    some = tame if dice.random() < 0.7 else by_hand
    data = bytearray(dice.choice(some))
    if dice.random() < 0.5:
        data += dice.choice(some)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(len(data)) if data else 0
        end = min(at + dice.randint(1, 12), len(data))
        kind = dice.randrange(5)
        if kind == 0 and data:
            data[at] = dice.choice(SHARP)
        elif kind == 1:
            data.insert(at, dice.choice(SHARP))
        elif kind == 2:
            del data[at:end]
        elif kind == 3:
            data[at:at] = data[at:end]
        else:
            other = dice.choice(by_hand)
            start = dice.randrange(len(other))
            data[at:at] = other[start:start + dice.randint(0, 40)]
    # How it arrives: in one piece, or cut where it pleases.
    cuts = sorted(dice.sample(range(1, len(data)), min(2, len(data) - 1))) if len(data) > 1 and dice.random() < 0.25 else []
    probe = PROBE.format(number).encode() if dice.random() < 0.9 else b""
    return bytes(data) + probe, cuts


def send(port, data, cuts):
    """Everything that comes back until the daemon ends the connection; None if it does not."""
    end = time.monotonic() + PATIENCE
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        received = bytearray()
        try:
            for start, stop in zip([0, *cuts], [*cuts, len(data)]):
                connection.sendall(data[start:stop])
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # Refused meanwhile: what was said is there to be read.
        try:
            while part := connection.recv(65536):
                received += part
                if time.monotonic() > end:
                    return None
        except TimeoutError:
            return None
        except ConnectionResetError:
            pass
        return bytes(received)


Answer = collections.namedtuple("Answer", "status headers body")


def answers(received):
    """The final answers in these bytes. The body of one to HEAD is not there, whatever its length says."""
    found, rest = [], received
    while rest:
        head, separator, rest = rest.partition(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").split("\r\n")
        if not separator or not re.match(r"HTTP/1\.[01] \d{3}( |$)", first):
            return found, "not an answer: " + repr(head[:80])
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = int(headers.get("content-length", "0"))
        if not rest or rest.startswith(b"HTTP/1."):
            length = 0
        status = int(first[9:12])
        if len(rest) < length and not headers.get("connection") == "close":
            return found, "an answer cut short"
        if status >= 200:
            found.append(Answer(status, headers, rest[:length]))
        rest = rest[length:]
    return found, None


class Seen:
    """What the daemon's log says that it read: method and route, by request id."""

    def __init__(self, log):
        self.lines = collections.defaultdict(list)
        with open(log, "rb") as lines:
            for line in lines:
                if b'"answered"' in line:
                    event = json.loads(line)
                    event = event.get("fields", event)
                    self.lines[event["request"]].append((event["method"], event["route"]))

    def of(self, answer):
        """None where another request had the same id, which a mutation may give it."""
        read = set(self.lines.get(answer.headers["x-request-id"], ()))
        return read.pop() if len(read) == 1 else None


class Routes:
    """The route of a path, by the paths of the daemon's own description."""

    def __init__(self, port):
        described = json.loads(request(port, "GET", "/openapi.json")[2])["paths"]
        self.known = []
        for path, operations in described.items():
            pattern = re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path))
            self.known.append((re.compile(pattern), path, {verb.upper() for verb in operations}))
        self.known.sort(key=lambda known: known[1].count("{"))

    def of(self, method, target):
        if not target.startswith("/"):
            target = re.sub(r"^[a-zA-Z]+://[^/?]*", "", target)
        path = target.split("?")[0] or "/"
        if path.startswith("/v1/authorize/"):
            return "/v1/authorize/{policy...}"
        for pattern, name, verbs in self.known:
            if pattern.fullmatch(path) and (method in verbs or (method == "HEAD" and "GET" in verbs) or name == "/v1/authorize"):
                return name
        return ""


class Table:
    """The judged differences: the rows of the table in docs/http.md."""

    def __init__(self):
        self.rows, self.met = [], set()
        text = (ROOT / "docs" / "http.md").read_text().split("<!-- judged differences -->", 1)[1]
        for line in text.splitlines():
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            if len(cells) == 4 and not set(cells[0]) <= set("-") and cells[0] != "bearerd":
                ours, h11, llhttp, why = cells
                words = {"h11": self.words(h11), "llhttp": self.words(llhttp)}
                self.rows.append((ours.replace("`", ""), words, why))

    @staticmethod
    def words(cell):
        return [] if cell == "=" else [word.strip().replace("`", "") for word in cell.split(";")]

    def judges(self, ours, reader, theirs, by_hand):
        for number, (known, words, _) in enumerate(self.rows):
            if known == ours:
                for word in words[reader]:
                    if theirs.replace("`", "") == word:
                        if by_hand:
                            self.met.add((number, reader, word))
                        return True
        return False

    def unmet(self):
        rows = enumerate(self.rows)
        return [(self.rows[number][0], reader, word) for number, (_, words, _) in rows
                for reader in words for word in words[reader] if (number, reader, word) not in self.met]


def told(reading):
    return f"refuses: {reading.words}" if reading.end == "refuses" else reading.end


def refusal_of(answer):
    """How a request was refused before any route saw it, in the daemon's own words."""
    problem = json.loads(answer.body) if answer.body else {}
    return f"{answer.status} {problem.get('detail', '')}".strip()


def differences(given, seen, routes, secret, reading):
    """How one reader's reading differs from the daemon's: pairs of what either does."""
    accepted = [answer for answer in given if "x-request-id" in answer.headers]
    refused = [answer for answer in given if "x-request-id" not in answer.headers]
    theirs = reading.requests
    for answer, what, other in zip(accepted, seen, theirs):
        if what is None:
            continue
        method, target = other.method.decode("latin-1"), other.target.decode("latin-1")
        if what != (method, routes.of(method, target)):
            yield f"reads {what}", f"reads {(method, target)}"
        ids = [value for value in other.header(b"x-request-id") if re.fullmatch(rb"[A-Za-z0-9._-]{1,64}", value)]
        if ids[:1] and answer.headers["x-request-id"] != ids[0].decode():
            yield "reads one request id", "reads another"
        if what[1] == "/v1/introspect" and answer.status == 200 and other.whole:
            active = json.loads(answer.body)["active"]
            form = urllib.parse.parse_qs(other.body.decode("latin-1"), keep_blank_values=True)
            if active != (form.get("token") == [secret]):
                yield "reads one body", "reads another"
    closed = bool(given) and given[-1].headers.get("connection") == "close"
    if reading.end in ("closes", "upgrades"):
        # What they leave alone, whatever came of it here.
        if len(accepted) > len(theirs) or (len(accepted) == len(theirs) and refused):
            yield "reads on", reading.end
            return
    if len(accepted) > len(theirs):
        yield "answers", told(reading)
        return
    if refused and reading.end == "refuses" and len(accepted) + 1 == len(theirs) and not theirs[-1].whole:
        return  # They saw its head, and refuse it as well.
    if len(accepted) < len(theirs):
        yield (refusal_of(refused[-1]) if refused else "answers and closes" if closed else "goes away"), "goes on"
        return
    if refused and reading.end != "refuses":
        yield refusal_of(refused[-1]), "goes on"
    if not refused and reading.end == "refuses":
        if theirs and not theirs[-1].whole:
            # A body that they refuse: it must not have been used, and nothing may be looked for behind it.
            if accepted[-1].status < 400:
                yield ("answers without the body", "refuses the body") if closed else ("answers", told(reading))
        elif not closed:
            yield "waits", "refuses"


def kept_open(port, data, behind=b""):
    """The answers to these bytes on a connection that the client keeps open, and sends more on once it was answered;
    None if the daemon does not close it."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as connection:
        received = b""
        try:
            connection.sendall(data)
            while part := connection.recv(65536):
                received += part
                if behind and b"\r\n\r\n" in received:
                    connection.sendall(behind)
                    behind = b""
        except TimeoutError:
            return None
        except OSError:
            pass  # Closed on what was still being sent.
        return [answer.status for answer in answers(received)[0]]


def on_a_kept_connection(port):
    head = "POST /v1/revoke HTTP/1.1\r\nHost: h\r\n" + FORM
    probe = b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n"
    for lines in ("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n"):
        data = (head + lines + "\r\n7\r\ntoken=x\r\n0\r\n\r\n").encode()
        check("differences: a length beside a coding closes the connection", kept_open(port, data, probe), [400])
    # A million chunks of one byte are far over the limit of a body: 413, and no more is read than that takes.
    data = (head + "Transfer-Encoding: chunked\r\n\r\n").encode() + b"1\r\nx\r\n" * 1_000_000 + b"0\r\n\r\n"
    check("differences: a million chunks are too large", kept_open(port, data) in ([413], []), True)


def main():
    need("h11==0.16.0", "httptools==0.9.0")
    from readers import READERS

    with Daemon(variables={"BEARERD_LOG": "bearerd::http=debug"}) as daemon:
        texts = [*written_by_the_tests(), *BY_HAND, *introspections(daemon.secret)]
        by_hand = [text if isinstance(text, bytes) else text.encode() for text in texts]
        check("differences: at least 250 requests by hand", len(by_hand) >= 250, True)
        routes = Routes(daemon.port)
        table = Table()

        tame = [data for data in by_hand if all(read(data).end == "ends" for read in READERS.values())]
        # Each by hand with the probe behind it, and alone.
        hand = len(by_hand) * 2

        def one(number):
            if number >= hand:
                return mutated(number, by_hand, tame)
            half, number = divmod(number, len(by_hand))
            return by_hand[number] + (b"" if half else PROBE.format(number).encode()), []

        numbers = range(hand + MUTATIONS) if ONLY is None else [int(ONLY)]
        results, todo = {}, queue.SimpleQueue()
        for _ in range(3):  # Warm: memory that the first requests take is not growth.
            for data in by_hand:
                send(daemon.port, data, [])
        before = resident_mib(daemon.process.pid)
        for number in numbers:
            todo.put(number)

        def work():
            while True:
                try:
                    number = todo.get_nowait()
                except queue.Empty:
                    return
                data, cuts = one(number)
                results[number] = send(daemon.port, data, cuts)

        began = time.monotonic()
        workers = [threading.Thread(target=work) for _ in range(SENDERS)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        took = time.monotonic() - began
        on_a_kept_connection(daemon.port)
        after = resident_mib(daemon.process.pid)
        alive = request(daemon.port, "GET", "/healthz")[0]
        secret = daemon.secret
        log = daemon.end_and_keep_log()

    check("differences: the daemon serves afterwards", alive, 200)
    print(f"seed {SEED}: {len(results)} connections in {took:.0f} s, memory {before:.1f} MiB before, {after:.1f} MiB after")
    check(f"differences: memory grows by less than {GROWTH_MIB_MAX} MiB", after - before < GROWTH_MIB_MAX, True)
    hung = [number for number, received in results.items() if received is None]
    check("differences: nothing hangs", hung[:SHOWN_MAX], [])

    seen = Seen(log)
    Path(log).unlink()
    wrong, found, unknown, answered = [], collections.Counter(), 0, 0
    statuses = collections.Counter()
    for number in sorted(results):
        received = results[number]
        if received is None:
            continue
        data, _ = one(number)
        given, fault = answers(received)
        statuses.update(answer.status for answer in given)
        if fault or any(answer.status >= 500 for answer in given):
            wrong.append((number, "daemon", fault or [answer.status for answer in given], ""))
        what = [seen.of(answer) for answer in given if "x-request-id" in answer.headers]
        unknown += what.count(None)
        answered += len(what)
        for name, read in READERS.items():
            for ours, theirs in differences(given, what, routes, secret, read(data)):
                found[(ours, name, theirs)] += 1
                if not table.judges(ours, name, theirs, number < hand):
                    wrong.append((number, name, ours, theirs))

    print("answers by status: " + ", ".join(f"{status} {count}" for status, count in sorted(statuses.items())))
    check("differences: nothing is a 5xx", [status for status in statuses if status >= 500], [])
    check("differences: the log tells what was read", unknown <= answered // 100, True)
    if os.environ.get("BEARERD_RAW_VERBOSE"):
        for (ours, name, theirs), count in sorted(found.items()):
            print(f"{count:7} {ours} | {name} | {theirs}")
    kinds = collections.defaultdict(list)
    for number, name, ours, theirs in wrong:
        kinds[(name, str(ours), theirs)].append(number)
    for (name, ours, theirs), where in list(kinds.items())[:SHOWN_MAX]:
        data = one(where[0])[0]
        print(f"  not judged, {len(where)} times: bearerd {ours}; {name} {theirs}; first, request {where[0]}: {data[:400]!r}")
    what = f"differences: {sum(found.values())} of {len(found)} kinds in {len(results)} connections, each of them judged"
    (ok if not kinds else lambda line: fail(line, f"{len(kinds)} kinds are not"))(what)
    if ONLY is None:
        check("differences: no row of the table without a request by hand", table.unmet(), [])


main()
