"""What Prometheus and Alertmanager have really loaded, and telling them to load again. Facts: facts/monitoring.md.

Called by `prometheus_host` and `alertmanager_host`. A 200 to a reload is not believed: the content itself is looked for.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Mapping
from typing import Any

from vmscaler.adapters.monitoring_http import MonitoringHttp, data_of
from vmscaler.api import duration
from vmscaler.decide.words import plain
from vmscaler.ports.errors import Rejected, Retryable
from vmscaler.ports.monitoring import SYSTEM


def config_hash(content: bytes) -> int:
    """Alertmanager's alertmanager_config_hash: the first 6 bytes of the file's MD5 as a little-endian number."""
    return int.from_bytes(hashlib.md5(content, usedforsecurity=False).digest()[:6], "little")


async def reload(http: MonitoringHttp) -> None:
    """Raises Retryable(ReloadFailed) with the program's words, Rejected(NotAccessible) where reloads are switched off."""
    status, text = await http.call("POST", "/-/reload")
    where = f"{http.endpoint.name} at {http.endpoint.url}"
    if status == 200:
        return
    if status in (401, 403, 404, 405):
        raise Rejected(
            SYSTEM,
            "NotAccessible",
            f"{where} answers {status} to POST /-/reload: start it with --web.enable-lifecycle, or let the operator pass",
        )
    raise Retryable(SYSTEM, "ReloadFailed", f"{where} refused its configuration: {plain(text, 500) or 'it gave no reason'}", after=30.0)


async def metric(http: MonitoringHttp, name: str) -> float:
    """The value of a metric without labels. Raises Retryable(UnexpectedAnswer)."""
    text = await http.get_text("/metrics")
    if match := re.search(rf"^{name} (\S+)$", text, re.MULTILINE):
        return float(match.group(1))
    raise Retryable(SYSTEM, "UnexpectedAnswer", f"{http.endpoint.name} at {http.endpoint.url} shows no metric {name}")


async def alertmanager_has(http: MonitoringHttp, content: bytes) -> bool:
    """Whether these very bytes are loaded."""
    return int(await metric(http, "alertmanager_config_hash")) == config_hash(content)


async def last_reload(http: MonitoringHttp) -> tuple[bool, float]:
    """Whether Prometheus' last reload was successful, and when its last successful one was (its clock, seconds)."""
    successful = await metric(http, "prometheus_config_last_reload_successful") == 1
    return successful, await metric(http, "prometheus_config_last_reload_success_timestamp_seconds")


async def has_entries(http: MonitoringHttp, job: str, *globs: str) -> bool:
    """Whether the loaded prometheus.yml has this scrape job and these patterns, and its load was a success.

    The page alone is no proof: it shows a file whose rules were refused. /api/v1/scrape_pools knows no pool without a target file.
    """
    if await metric(http, "prometheus_config_last_reload_successful") != 1:
        return False
    return {f"job_name: {job}", *globs} <= await _lines(http)


async def has_no_entries(http: MonitoringHttp, job: str, *globs: str) -> bool:
    """Whether the loaded prometheus.yml has neither this scrape job nor any of these patterns, and its load was a success."""
    if await metric(http, "prometheus_config_last_reload_successful") != 1:
        return False
    return not {f"job_name: {job}", *globs} & await _lines(http)


async def _lines(http: MonitoringHttp) -> set[str]:
    loaded = str(data_of(await http.get_json("/api/v1/status/config")).get("yaml", ""))
    return {line.strip().removeprefix("- ").replace('"', "").replace("'", "") for line in loaded.splitlines()}


async def has_rules(http: MonitoringHttp, file_name: str, document: Mapping[str, Any] | None) -> bool:
    """Whether Prometheus' groups of this file are the document's (None: there are none of this file).

    Compared: names, labels, annotations (with the content's hash, decide.rules) and durations, not the expressions, which
    Prometheus prints in its own way.
    """
    found = data_of(await http.get_json("/api/v1/rules")).get("groups") or []
    loaded = {group["name"]: _loaded(group) for group in found if posixpath.basename(group["file"]) == file_name}
    wanted = {group["name"]: _wanted(group) for group in (document or {}).get("groups", []) if group["rules"]}
    return loaded == wanted or {name: rules for name, rules in loaded.items() if rules} == wanted


def _loaded(group: Mapping[str, Any]) -> list[object]:
    return [(rule["name"], rule.get("duration"), rule.get("labels") or {}, rule.get("annotations") or {}) for rule in group["rules"]]


def _wanted(group: Mapping[str, Any]) -> list[object]:
    def seconds(rule: Mapping[str, Any]) -> float:
        return duration.parse(rule.get("for", "0s")).total_seconds()

    return [(rule["alert"], seconds(rule), dict(rule.get("labels", {})), dict(rule.get("annotations", {}))) for rule in group["rules"]]
