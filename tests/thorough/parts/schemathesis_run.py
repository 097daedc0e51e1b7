"""schemathesis over the whole description: no undocumented status, no undocumented body, no 5xx."""

import os
import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from workbench import Daemon, check, fail, program, skip

CHECKS = "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance"
EXAMPLES = "8" if os.environ.get("THOROUGH_QUICK") else "60"

if not program("schemathesis"):
    skip("schemathesis", "it is not installed")
    sys.exit()

with Daemon() as daemon:
    command = ["schemathesis", "run", f"http://127.0.0.1:{daemon.port}/openapi.json", "--checks", CHECKS,
               "--phases", "examples,coverage,fuzzing", "--max-examples", EXAMPLES, "--seed", "1",
               "--header", "Authorization: Bearer " + daemon.session,
               "--suppress-health-check", "all",
               # Its own session has to live to the end.
               "--exclude-path", "/v1/sessions/current"]
    ran = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=daemon.folder,
                         env={**os.environ, "NO_COLOR": "1", "COLUMNS": "200"})
    tested = re.search(r"Tested:\s+(\d+)", ran.stdout)
    if ran.returncode == 0:
        check("schemathesis: every operation was asked", bool(tested) and int(tested.group(1)) > 50, True)
    else:
        print(ran.stdout[-6000:].replace(daemon.session, "SESSION"))
        fail("schemathesis", f"ended with status {ran.returncode}")
