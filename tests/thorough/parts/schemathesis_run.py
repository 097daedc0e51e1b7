"""schemathesis over the whole description: no undocumented status, no undocumented body, no 5xx."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from workbench import TARGET, Daemon, check, fail, need, request

need("schemathesis==4.32.5")

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
EXAMPLES = "8" if os.environ.get("THOROUGH_QUICK") else "60"

# This operation ends the session that asks: it gets one of its own.
OWN_SESSION = "/v1/sessions/current"


def run(daemon, session, *more):
    command = [str(TARGET / "thorough-python" / "bin" / "schemathesis"), "run", "openapi.json",
               "--url", f"http://127.0.0.1:{daemon.port}", "--checks", CHECKS, "--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", "1",
               "--header", "Authorization: Bearer " + session, "--suppress-health-check", "all", *more]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=daemon.folder,
                         env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"})
    if ran.returncode:
        print(ran.stdout[-6000:].replace(session, "SESSION"))
        fail("schemathesis", f"ended with status {ran.returncode}")
    tested = re.search(r"Tested:\s+(\d+)", ran.stdout)
    return int(tested.group(1)) if tested else 0


with Daemon() as daemon:
    # From a file: where the description was fetched, schemathesis does not ask again.
    text = request(daemon.port, "GET", "/openapi.json")[2]
    (daemon.folder / "openapi.json").write_bytes(text)
    described = json.loads(text)["paths"]
    operations = sum(len(item.keys() & {"get", "head", "post", "put", "patch", "delete", "options"}) for item in described.values())
    alone = daemon.json("POST", "/v1/sessions", {"email": "ada@example.com", "password": "correct horse battery"})["token"]
    tested = run(daemon, alone, "--include-path", OWN_SESSION) + run(daemon, daemon.session, "--exclude-path", OWN_SESSION)
    check("schemathesis: every operation was asked, and answered as it is described", (tested, tested > 50), (operations, True))
    ended = request(daemon.port, "GET", "/v1/me", [("Authorization", "Bearer " + alone)])[0]
    check("schemathesis: the session that was to end has ended", ended, 401)
