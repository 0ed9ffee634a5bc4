"""The golden files of tests/golden/monitoring as the programs themselves see them, on every version at hand: promtool and amtool."""

from __future__ import annotations

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.fakes.policies import policy

from lab.programs import MonitoringPrograms, monitoring_programs
from vmscaler.decide import names
from vmscaler.decide.promql import cpu_expression, memory_expression
from vmscaler.decide.rules import rule_document
from vmscaler.decide.yaml_text import text

pytestmark = pytest.mark.lab

WANT = Path(__file__).resolve().parent.parent / "golden" / "monitoring" / "want"


@pytest.fixture(scope="module")
def programs() -> list[MonitoringPrograms]:
    """The oldest and the newest."""
    with asyncio.Runner() as runner:
        found = runner.run(monitoring_programs())
    return [found[0], *found[1:][-1:]]


def ran(*argv: str) -> tuple[int, str]:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("path", sorted(WANT.glob("*.alertmanager.yml")), ids=lambda path: path.name)
def test_amtool_accepts_the_file_and_routes_our_alert(path: Path, programs: list[MonitoringPrograms]) -> None:
    for one in programs:
        status, printed = ran(one.amtool, "check-config", str(path))
        assert status == 0, printed
        route = [one.amtool, "config", "routes", "test", f"--config.file={path}"]
        status, printed = ran(*route, "vmscaler_policy=acme/web", "vmscaler_site=default", "customer=acme")
        assert status == 0
        # Beside people's own where one of theirs matches; their default receiver is for what no route matches.
        also = {"two-teams.alertmanager.yml": ["acme-oncall"], "windows-editor.alertmanager.yml": ["default"]}.get(path.name, [])
        assert printed.splitlines()[0].split(",") == [names.receiver("acme", "web"), *also]
        # Another policy's, and what people's rules say of a VM of ours: its series have the policy's label.
        for other in (["vmscaler_policy=acme/web2", "vmscaler_site=default"], ["vmscaler_policy=acme/web", "alertname=MachineDown"]):
            status, printed = ran(*route, *other, "customer=acme")
            assert "vmscaler/" not in printed


@pytest.mark.parametrize("path", sorted(WANT.glob("*.prometheus.yml")), ids=lambda path: path.name)
def test_promtool_accepts_the_file(path: Path, programs: list[MonitoringPrograms]) -> None:
    for one in programs:
        status, printed = ran(one.promtool, "check", "config", "--syntax-only", str(path))
        assert status == 0, printed


@pytest.mark.parametrize("path", sorted(WANT.glob("rules-*.yml")), ids=lambda path: path.name)
def test_promtool_accepts_the_rules(path: Path, programs: list[MonitoringPrograms]) -> None:
    for one in programs:
        status, printed = ran(one.promtool, "check", "rules", str(path))
        assert status == 0, printed
        assert "SUCCESS" in printed


def test_promtool_reads_the_targets(programs: list[MonitoringPrograms], tmp_path: Path) -> None:
    config = tmp_path / "prometheus.yml"
    job = {"job_name": "vmscaler-instances", "file_sd_configs": [{"files": [str(WANT / "targets.json")]}]}
    config.write_text(json.dumps({"scrape_configs": [job]}))
    for one in programs:
        status, printed = ran(one.promtool, "check", "config", str(config))
        assert status == 0, printed


def series(metric: str, labels: str, values: str) -> dict[str, str]:
    return {"series": f'{metric}{{job="acme-web",{labels}}}', "values": values}


def cpu(instance: str, busy_percent: int, *, metric: str = "node_cpu_seconds_total", more: str = "") -> list[dict[str, str]]:
    """15 minutes of one CPU, a sample every 15 s."""
    idle = 15 * (100 - busy_percent) / 100
    return [
        series(metric, f'instance="{instance}",cpu="0",mode="idle"{more}', f"0+{idle}x60"),
        series(metric, f'instance="{instance}",cpu="0",mode="user"{more}', f"0+{15 - idle}x60"),
    ]


def judged(programs: list[MonitoringPrograms], tmp_path: Path, document: dict[str, Any], test: dict[str, Any]) -> None:
    """`promtool test rules`."""
    (tmp_path / "rules.yml").write_text(text(document))
    tests = {"rule_files": ["rules.yml"], "evaluation_interval": "15s", "tests": [{"interval": "15s", **test}]}
    (tmp_path / "test.yml").write_text(json.dumps(tests, ensure_ascii=False))
    for one in programs:
        status, printed = ran(one.promtool, "test", "rules", str(tmp_path / "test.yml"))
        assert status == 0, printed


def expected(document: dict[str, Any], value: str) -> list[dict[str, Any]]:
    """The alert of the document's first rule, with this value in its annotations."""
    rule = document["groups"][0]["rules"][0]
    template = '{{ $value | printf "%.1f" }}'
    annotations = {name: words.replace(template, value) for name, words in rule["annotations"].items()}
    return [{"exp_labels": rule["labels"], "exp_annotations": annotations}]


def alerts(at: str, expectation: list[dict[str, Any]], alert: str = "VmscalerHighCpu") -> dict[str, Any]:
    return {"eval_time": at, "alertname": alert, "exp_alerts": expectation}


def test_the_average_of_the_service_counts_and_it_must_last(programs: list[MonitoringPrograms], tmp_path: Path) -> None:
    document = rule_document(policy(cpuThreshold=80), site_name="default")
    fires = expected(document, "85.0")
    test = {"input_series": [*cpu("a:9100", 95), *cpu("b:9100", 75)], "alert_rule_test": [alerts("4m", []), alerts("7m", fires)]}
    judged(programs, tmp_path, document, test)
    calm = {"input_series": [*cpu("a:9100", 95), *cpu("b:9100", 60)], "alert_rule_test": [alerts("12m", [])]}
    judged(programs, tmp_path, document, calm)


def test_the_default_window_fits_prometheus_default_scrape_interval(programs: list[MonitoringPrograms], tmp_path: Path) -> None:
    """A sample a minute: rate() over a minute would hold one of them, and so no figure, for ever."""
    document = rule_document(policy(cpuThreshold=80), site_name="default")
    given = [series("node_cpu_seconds_total", 'instance="a:9100",cpu="0",mode="idle"', "0+6x20")]
    looks = [alerts("4m", []), *(alerts(f"12m{second}s", expected(document, "90.0")) for second in (0, 15, 45))]
    judged(programs, tmp_path, document, {"interval": "1m", "input_series": given, "alert_rule_test": looks})


def test_missing_data_and_other_services_never_fire(programs: list[MonitoringPrograms], tmp_path: Path) -> None:
    document = rule_document(policy(matchLabels={"env": "production"}, memoryThreshold=1), site_name="default")
    others = cpu("a:9100", 99, more=',env="staging"')
    for given in (
        [],
        others,
        [{**one, "values": one["values"].replace("x60", "x8") + " stale"} for one in cpu("a:9100", 99, more=',env="production"')],
    ):
        looks = [alerts("12m", []), alerts("12m", [], "VmscalerHighMemory")]
        judged(programs, tmp_path, document, {"input_series": given, "alert_rule_test": looks})


def test_vms_that_another_tenants_policy_made_under_this_job_do_not_count(programs: list[MonitoringPrograms], tmp_path: Path) -> None:
    document = rule_document(policy(), site_name="default")
    for foreign, own, fires in ((99, 10, []), (1, 90, expected(document, "90.0"))):
        given = [
            *cpu("people:9100", own),
            *cpu("ours:9100", own, more=',vmscaler_policy="acme/web"'),
            *cpu("theirs:9100", foreign, more=',vmscaler_policy="evil/web"'),
            *cpu("theirs-too:9100", foreign, more=',vmscaler_policy="xacme/web"'),
        ]
        judged(programs, tmp_path, document, {"input_series": given, "alert_rule_test": [alerts("7m", fires)]})


def test_memory_and_windows(programs: list[MonitoringPrograms], tmp_path: Path) -> None:
    node = policy(cpuThreshold=None, memoryThreshold=70)
    memory = [
        *(series("node_memory_MemTotal_bytes", f'instance="{name}"', "1000x60") for name in ("a", "b")),
        series("node_memory_MemAvailable_bytes", 'instance="a"', "100x60"),
        series("node_memory_MemAvailable_bytes", 'instance="b"', "300x60"),
    ]
    document = rule_document(node, site_name="default")
    judged(
        programs,
        tmp_path,
        document,
        {
            "input_series": memory,
            "alert_rule_test": [alerts("7m", expected(document, "80.0"), "VmscalerHighMemory")],
            "promql_expr_test": [
                {"expr": memory_expression(node.spec.monitoring, "acme"), "eval_time": "7m", "exp_samples": [{"labels": "{}", "value": 80}]}
            ],
        },
    )
    windows = policy(exporter="Windows")
    document = rule_document(windows, site_name="default")
    test = {"input_series": cpu("a", 100, metric="windows_cpu_time_total"), "alert_rule_test": [alerts("7m", expected(document, "100.0"))]}
    judged(programs, tmp_path, document, test)


def test_hostile_labels_select_what_they_say_and_nothing_else(programs: list[MonitoringPrograms], tmp_path: Path) -> None:
    hostile = {"a": 'x"} or vector(1) #', "b": "back\\slash\\", "c": ".*", "d": '{{ query "up" }}', "e": "é🙂"}
    shown = {"name": "web", "displayName": '{{ query "up" }} {{{ $labels }}'}
    subject = policy(service=shown, past_the_api=hostile)
    document = rule_document(subject, site_name="default")
    labels = ",".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in hostile.items())
    value = [{"labels": "{}", "value": 90}]
    fires = expected(document, "90.0")
    fires[0]["exp_annotations"]["summary"] = '{{ query "up" }} {{{ $labels }}: CPU in use is 90.0%, above 80% for 300s'
    test = {
        "input_series": [*cpu("a", 90, more="," + labels), *cpu("b", 10, more=',a="x",b="back",c="anything"')],
        "alert_rule_test": [alerts("7m", fires)],
        "promql_expr_test": [{"expr": cpu_expression(subject.spec.monitoring, "acme"), "eval_time": "7m", "exp_samples": value}],
    }
    judged(programs, tmp_path, document, test)
