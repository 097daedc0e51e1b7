"""What the thorough parts share: a daemon of their own, an application behind a proxy, and one line for each
thing that was looked at. Standard library only."""

import http.client
import http.server
import importlib.metadata
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
PATIENCE = 20.0


def ok(what):
    print("ok " + what, flush=True)


def fail(what, why):
    print(f"FAIL {what}: {why}", flush=True)


def skip(what, why):
    print(f"skip {what}: {why}", flush=True)


def need(*packages):
    """Goes on in an environment of Python with these packages of PyPI (`NAME==VERSION`), made where there is none yet.
    To be called before anything else was done: what was done until then is done again."""
    home = TARGET / "thorough-python"
    python = home / "bin" / "python"
    if Path(sys.prefix).resolve() != home.resolve():
        if not python.exists():
            venv.create(home, with_pip=True)
        sys.stdout.flush()
        os.execv(python, [str(python), *sys.argv])

    if not install(*packages):
        skip(Path(sys.argv[0]).stem, "could not be installed: " + ", ".join(packages))
        sys.exit()


def install(*packages):
    """Whether these packages of PyPI are in the environment of `need`, or could be put there."""
    def there(package):
        name, _, version = package.partition("==")
        try:
            return version in ("", importlib.metadata.version(name))
        except importlib.metadata.PackageNotFoundError:
            return False

    missing = [package for package in packages if not there(package)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *missing]
    return not missing or subprocess.run(command, stdout=subprocess.DEVNULL).returncode == 0


def need_program(name, *packages):
    """Where a program is, installed with Debian's packages of those names if it is not there; None if it cannot be."""
    if not program(name) and shutil.which("apt-get") and os.geteuid() == 0:
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
        install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *packages]
        if subprocess.run(install, **quiet).returncode:
            subprocess.run(["apt-get", "update", "--quiet"], **quiet)
            subprocess.run(install, **quiet)
    return program(name)


def resident_mib(pid):
    """The memory of a process that is in use, in MiB."""
    with open(f"/proc/{pid}/status") as status:
        return int(re.search(r"VmRSS:\s+(\d+) kB", status.read()).group(1)) / 1024


def check(what, got, wanted):
    """One line: whether what came is what was wanted."""
    if got == wanted:
        ok(what)
    else:
        fail(what, f"wanted {wanted!r}, got {got!r}")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait_for(what, ask):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        answer = ask()
        if answer:
            return answer
        time.sleep(0.05)
    raise TimeoutError(what)


def listens(port):
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
        return True
    except OSError:
        return False


def request(port, method, path, headers=(), body=None):
    """Status, headers (names in small letters) and body of an answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for name, value in headers:
            connection.putheader(name, value)
        if body is not None:
            connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        return answer.status, {n.lower(): v for n, v in answer.getheaders()}, answer.read()
    finally:
        connection.close()


class Daemon:
    """A daemon with an admin, a service `proxy` in `operator`, and the policy `reports`."""

    CONFIG = """
[server]
listen = ["127.0.0.1:{port}"]
public_url = "http://127.0.0.1:{port}"
trusted_proxies = ["127.0.0.1"]
[services.proxy]
secret_file = "proxy.secret"
groups = ["operator"]
[authorize.reports]
kinds = ["session", "pat"]
scopes = ["reports:read"]
[authorize.portal]
kinds = ["portal"]
"""

    def __init__(self, config="", variables=None):
        self.folder = Path(tempfile.mkdtemp(prefix="bearerd-thorough-"))
        self.port = free_port()
        self.secret = secrets.token_urlsafe(32)
        secret_file = self.folder / "proxy.secret"
        secret_file.write_text(self.secret)
        secret_file.chmod(0o600)
        config_file = self.folder / "bearerd.toml"
        config_file.write_text(self.CONFIG.format(port=self.port) + config)
        self.stdout = open(self.folder / "stdout", "w+b")
        self.stderr = open(self.folder / "stderr", "w+b")
        command = [os.environ["BEARERD_BIN"], "serve", "--config", str(config_file), "--data", str(self.folder / "data")]
        self.process = subprocess.Popen(command, stdout=self.stdout, stderr=self.stderr,
                                        env={**os.environ, **(variables or {})})
        try:
            wait_for("the daemon", lambda: b"listening on" in (self.folder / "stdout").read_bytes())
            token = re.search(rb"bdr_ist_\w+", (self.folder / "stdout").read_bytes()).group().decode()
            wish = {"install_token": token, "email": "ada@example.com", "password": "correct horse battery"}
            made = self.json("POST", "/v1/setup", wish)
        except BaseException:
            print((self.folder / "stderr").read_text(), file=sys.stderr)
            self.stop()
            raise
        self.user = made["user"]["id"]
        self.session = made["session"]["token"]

    def json(self, method, path, body=None, bearer=None):
        headers = [("Content-Type", "application/json")] if body is not None else []
        if bearer:
            headers.append(("Authorization", "Bearer " + bearer))
        text = None if body is None else json.dumps(body).encode()
        status, _, answer = request(self.port, method, path, headers, text)
        if status >= 300:
            raise RuntimeError(f"{method} {path}: {status} {answer!r}")
        return json.loads(answer) if answer else None

    def pat(self, **wish):
        wish.setdefault("name", "thorough")
        return self.json("POST", "/v1/tokens", wish, self.session)

    def cookie(self):
        """`NAME=VALUE` of a portal session."""
        client = self.json("POST", "/v1/clients", {"slug": "c" + secrets.token_hex(4), "name": "C"}, self.session)
        link = self.json("POST", f"/v1/clients/{client['id']}/links", {}, self.session)
        _, headers, _ = request(self.port, "GET", "/portal/enter?token=" + link["token"])
        return headers["set-cookie"].split(";")[0]

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE)
        shutil.rmtree(self.folder, ignore_errors=True)

    def end_and_keep_log(self):
        """Ends it, and moves what it logged to a file that the caller has to remove."""
        self.process.terminate()
        self.process.wait(PATIENCE)
        handle, log = tempfile.mkstemp(prefix="bearerd-log-")
        os.close(handle)
        shutil.move(self.folder / "stderr", log)
        return log

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


class Application:
    """The application behind a proxy: answers with the request as it sees it."""

    def __init__(self):
        application = self
        self.seen = 0

        class Echo(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self):
                try:
                    super().handle_one_request()
                except ConnectionError:
                    self.close_connection = True

            def answer(self):
                application.seen += 1
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                text = json.dumps({
                    "method": self.command,
                    "path": self.path,
                    "headers": [[n.lower(), v] for n, v in self.headers.items()],
                    "body": body.decode("latin-1"),
                }).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(text)

            def __getattr__(self, name):
                if name.startswith("do_"):
                    return self.answer
                raise AttributeError(name)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self):
        self.server.shutdown()


def snippet(document, language, heading=None):
    """The first block of that language, below that heading, of a page in docs/."""
    text = (ROOT / "docs" / document).read_text()
    if heading:
        text = text.split(f"\n## {heading}\n", 1)[1]
    return re.search(rf"```{language}\n(.*?)```", text, re.S).group(1)


def program(name):
    """Where a program is, also where daemons are, and what came with a package of PyPI."""
    return shutil.which(name) or shutil.which(name, path=f"/usr/sbin:/usr/local/sbin:/sbin:{sys.prefix}/bin")
