"""The metrics, read by the strict parsers of the Prometheus client for Python and judged by Prometheus' own promtool;
nothing of anybody in a label."""

import re
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from workbench import Daemon, check, need, need_program, request, skip

need("prometheus-client")

from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

with Daemon() as daemon:
    pat = daemon.pat(max_uses=1)
    form = f"token={pat['token']}".encode()
    asking = [("Authorization", "Bearer " + daemon.session), ("Content-Type", "application/x-www-form-urlencoded")]
    for _ in range(2):
        request(daemon.port, "POST", "/v1/introspect", asking, form)
    request(daemon.port, "GET", "/v1/authorize", [("Authorization", "Bearer nonsense")])
    request(daemon.port, "GET", "/v1/tokens/" + pat["id"], asking)
    request(daemon.port, "GET", "/no/such/" + pat["id"])
    _, headers, plain = request(daemon.port, "GET", "/metrics")
    check("metrics: the text format of old unless asked otherwise", headers["content-type"].split(";")[0], "text/plain")
    families = {family.name: family for family in prometheus(plain.decode())}
    _, headers, strict = request(daemon.port, "GET", "/metrics", [("Accept", "application/openmetrics-text;version=1.0.0")])
    check("metrics: OpenMetrics where it is asked for", headers["content-type"].split(";")[0], "application/openmetrics-text")
    check("metrics: both formats have the same families", {f.name for f in open_metrics(strict.decode())}, set(families))
    samples = {(s.name, tuple(sorted(s.labels.items()))): s.value for f in families.values() for s in f.samples}

    def value(name, **labels):
        return samples.get((name, tuple(sorted(labels.items()))))

    check("metrics: verifications by kind and result", value("bearerd_verifications_total", kind="pat", result="exhausted"), 1.0)
    check("metrics: good ones too", value("bearerd_verifications_total", kind="pat", result="ok"), 1.0)
    check("metrics: requests by route, method and status", value("bearerd_http_requests_total", route="/v1/introspect", method="POST", status="200"), 2.0)
    check("metrics: unknown paths under one name", value("bearerd_http_requests_total", route="none", method="GET", status="404"), 1.0)
    check("metrics: failed authentications", value("bearerd_failed_authentications_total", means="bearer"), 1.0)
    check("metrics: stored tokens by kind", value("bearerd_stored_tokens", kind="pat"), 1.0)
    check("metrics: the store has a size", value("bearerd_store_size_bytes") > 0, True)
    check("metrics: names and units are conventional", [n for n in families if not re.fullmatch(r"bearerd_[a-z_]+", n)], [])
    secrets = [pat["token"], pat["id"], daemon.session, daemon.user, "ada@example.com", daemon.secret]
    check("metrics: nothing of anybody", [s for s in secrets if s in plain.decode()], [])
    promtool = need_program("promtool", "prometheus")
    if promtool:
        judged = subprocess.run([promtool, "check", "metrics"], input=plain, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        check("metrics: promtool has nothing to say", (judged.returncode, judged.stdout.decode()), (0, ""))
    else:
        skip("metrics: promtool", "Debian's package prometheus could not be installed")
