"""Adding our route to a large alertmanager.yml that people wrote: our splice, a ruamel round trip, PyYAML's load and dump.

`python -m bench.splice [--routes N] [--repeat N] [--json]`. Each arm adds the same receiver and route; the product's arm also does
what the product does: it parses its result again and compares.
"""

from __future__ import annotations

import io
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import yaml as pyyaml
from ruamel.yaml import YAML

from bench.report import Report, arguments
from vmscaler.decide.monitoring_files import with_route, without_route
from vmscaler.decide.routes import policy_matchers, receiver_document, route_document
from vmscaler.decide.splice import MARKER, YamlFile

NAME = "vmscaler/acme/web"
RECEIVER = receiver_document(
    NAME, url="https://jenkins.example.org/generic-webhook-trigger/invoke", token_file="/etc/alertmanager/web.token", ca_file=None
)
ROUTE = route_document(
    NAME, matchers=policy_matchers("acme", "web", "default"), group_wait="10s", group_interval="1m", repeat_interval="5m"
)
HEAD = """\
# Alertmanager of the platform team. Ask before you change the default receiver!
global:
    resolve_timeout: 5m
    smtp_smarthost: 'mail.example.org:25'   # the relay in rack 4
    smtp_from: alertmanager@example.org

route:
    receiver: platform
    group_by: [alertname, cluster]
    routes:
"""
ROUTE_TEXT = """\
    # {team}: CHG-{number}
    - matchers: [ 'team = "{team}"', severity =~ "warning|critical" ]
      receiver: "{team}"
      group_wait:   30s
      continue: true
"""
MIDDLE = """
receivers:
- name: platform
  email_configs:
  - to: platform@example.org
"""
RECEIVER_TEXT = """\
- name: {team}   # on call: +1 555 {number:04d}
  webhook_configs:
  - {{ url: 'http://hooks.example.org/{team}', send_resolved: false }}
"""


def people_file(routes: int) -> bytes:
    """As people write one: comments, two indentations, three ways to quote."""
    numbers = range(routes)
    return "".join(
        [
            HEAD,
            *(ROUTE_TEXT.format(team=f"team-{n:04d}", number=n) for n in numbers),
            MIDDLE,
            *(RECEIVER_TEXT.format(team=f"team-{n:04d}", number=n) for n in numbers),
        ]
    ).encode()


def splice(content: bytes) -> bytes:
    """The product's way."""
    return with_route(YamlFile(content), RECEIVER, ROUTE).content


def ruamel(content: bytes) -> bytes:
    """What somebody would write who wants to keep the comments."""
    yaml = YAML()
    yaml.preserve_quotes = True
    yaml.width = 4096
    return _edited(yaml.load(content), lambda document, out: yaml.dump(document, out))


def pyyaml_round(content: bytes) -> bytes:
    """What somebody would write who does not."""
    return _edited(pyyaml.safe_load(content), lambda document, out: pyyaml.safe_dump(document, out, encoding="utf-8", sort_keys=False))


def _edited(document: Any, dump: Callable[[Any, io.BytesIO], object]) -> bytes:
    document["route"]["routes"].insert(0, dict(ROUTE))
    document["receivers"].insert(0, dict(RECEIVER))
    out = io.BytesIO()
    dump(document, out)
    return out.getvalue()


def changed_lines(before: bytes, after: bytes) -> tuple[int, int]:
    """Lines of people's that are nowhere any more as they were, and lines that are new (moved lines count as neither)."""
    old, new = Counter(before.splitlines()), Counter(after.splitlines())
    return (old - new).total(), (new - old).total()


ARMS: dict[str, Callable[[bytes], bytes]] = {"splice": splice, "ruamel round trip": ruamel, "PyYAML load, dump": pyyaml_round}


def main() -> int:
    """Run it."""
    options = arguments(__doc__, routes=(1000, "people's routes in the file"), repeat=(3, "repetitions")).parse_args()
    content = people_file(options.routes)
    report = Report("splice", base="splice", ratios=("CPU s",), options=options)
    wanted = pyyaml.load(pyyaml_round(content), pyyaml.CSafeLoader)
    for _ in range(options.repeat):
        for arm, edit in ARMS.items():
            began = time.process_time()
            after = edit(content)
            seconds = time.process_time() - began
            lost, added = changed_lines(content, after)
            gone = content.count(b"#") - after.replace(MARKER.encode(), b"").count(b"#")
            report.add(arm, {"CPU s": seconds, "people's lines changed": lost, "lines added": added, "comments lost": gone})
            report.must(pyyaml.load(after, pyyaml.CSafeLoader) == wanted, f"{arm}: the file does not mean what it should")
    undone = without_route(YamlFile(splice(content)), NAME).content
    report.must(undone == content, "taking our route out again does not give the bytes from before")
    report.notes.append(f"the file: {options.routes} routes, {len(content.splitlines())} lines, {len(content) / 1e6:.2f} MB")
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
