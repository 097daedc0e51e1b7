"""OAuth client libraries as they come: discovery, introspection (RFC 7662) and revocation (RFC 7009)."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE))
from workbench import Daemon, check, fail, need, skip

need("authlib", "requests")

from authlib.integrations.requests_client import OAuth2Session

LIBRARIES = ["oauth4webapi@3.8.8", "openid-client@6.8.9"]


def authlib(daemon):
    issuer = f"http://127.0.0.1:{daemon.port}"
    for method in ("client_secret_basic", "client_secret_post"):
        token = daemon.pat()["token"]
        session = OAuth2Session("proxy", daemon.secret, token_endpoint_auth_method=method,
                                revocation_endpoint_auth_method=method)
        found = session.introspect_token(issuer + "/v1/introspect", token=token).json()
        check(f"authlib: introspects by {method}", (found["active"], found["iss"]), (True, issuer))
        answer = session.revoke_token(issuer + "/v1/revoke", token=token, token_type_hint="access_token")
        check(f"authlib: revokes by {method}", answer.status_code, 200)
        check(f"authlib: and it is gone, by {method}", session.introspect_token(issuer + "/v1/introspect", token=token).json(), {"active": False})
    wrong = OAuth2Session("proxy", "wrong", token_endpoint_auth_method="client_secret_basic")
    answer = wrong.introspect_token(issuer + "/v1/introspect", token="x")
    check("authlib: a wrong secret", (answer.status_code, answer.json()["error"]), (401, "invalid_client"))


def node(daemon):
    if not (shutil.which("node") and shutil.which("npm")):
        return skip("oauth4webapi and openid-client", "node or npm is not installed")
    with tempfile.TemporaryDirectory() as folder:
        installed = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent", *LIBRARIES], cwd=folder)
        if installed.returncode:
            return skip("oauth4webapi and openid-client", "they could not be installed")
        shutil.copy(HERE / "oauth_clients.mjs", folder)
        tokens = [daemon.pat()["token"], daemon.pat()["token"]]
        command = ["node", "oauth_clients.mjs", f"http://127.0.0.1:{daemon.port}", "proxy", daemon.secret, *tokens]
        ran = subprocess.run(command, cwd=folder)
        if ran.returncode:
            fail("oauth4webapi and openid-client", f"ended with status {ran.returncode}")


with Daemon() as daemon:
    authlib(daemon)
    node(daemon)
