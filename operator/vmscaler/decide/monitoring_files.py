"""What is ours in people's alertmanager.yml and prometheus.yml: the places, the names, and the edits.

Called by adapters/monitoring_host in a worker thread (parsing takes seconds on large files). See `decide.splice`.
"""

from __future__ import annotations

from collections.abc import Mapping

from vmscaler.decide.routes import PREFIX
from vmscaler.decide.splice import Change, Place, YamlFile

ROUTES = Place(("route", "routes"), "receiver", ahead_of=PREFIX)
RECEIVERS = Place(("receivers",), "name")
RULE_FILES = Place(("rule_files",), None)
SCRAPE_CONFIGS = Place(("scrape_configs",), "job_name")

SCRAPE_JOB = "vmscaler-instances"


def with_route(file: YamlFile, receiver: Mapping[str, object], route: Mapping[str, object]) -> YamlFile:
    """alertmanager.yml with this receiver and this route (`decide.routes`). Raises StyleNotSupported."""
    name = str(receiver["name"])
    return file.edit([Change(ROUTES, name, route), Change(RECEIVERS, name, receiver)])


def without_route(file: YamlFile, name: str) -> YamlFile:
    """alertmanager.yml without the receiver and the route of this name. Raises StyleNotSupported."""
    return file.edit([Change(ROUTES, name, None), Change(RECEIVERS, name, None)])


def with_entries(file: YamlFile, rules_glob: str, targets_glob: str) -> YamlFile:
    """prometheus.yml with our one entry in rule_files and our one scrape job. Raises StyleNotSupported."""
    return file.edit(
        [
            Change(RULE_FILES, rules_glob, rules_glob),
            Change(SCRAPE_CONFIGS, SCRAPE_JOB, scrape_job(targets_glob)),
        ]
    )


def without_entries(file: YamlFile, rules_glob: str) -> YamlFile:
    """prometheus.yml without them. Raises StyleNotSupported."""
    return file.edit([Change(RULE_FILES, rules_glob, None), Change(SCRAPE_CONFIGS, SCRAPE_JOB, None)])


def scrape_job(targets_glob: str) -> dict[str, object]:
    """One job for all our VMs; each target file's labels set the job label that is stored.

    Prometheus sees a changed file at once; the interval is for file systems that tell of no changes.
    """
    files = {"files": [targets_glob], "refresh_interval": "30s"}
    return {"job_name": SCRAPE_JOB, "file_sd_configs": [files]}
