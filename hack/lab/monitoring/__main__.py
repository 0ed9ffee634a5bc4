"""The part: `python -m lab.monitoring --config FILE`.

Config: `folder` (the run's folder, absolute; the host's root is `<folder>/monitoring`), `vms` (the two hand-made VMs' addresses);
optional: `address` (127.0.0.1), `prometheusVersion` (the newest at hand), `scrapeInterval`, `evaluationInterval`,
`groupWait`, `groupInterval` (1s, 1s, 1s, 5s).

Ready record: ssh {host, port, user, hostKeys, privateKeyPath, kind}, prometheus {url, reloadUrl, configFile, rulesDir,
targetsDir, promtool}, alertmanager {url, reloadUrl, configFile, tokensDir, amtool}, versions, control.

Control port: GET /status, GET and PUT /faults (names and values: `lab.monitoring.host.FAULTS`), POST /restart {name},
POST /people-edit {file, comment} (a person appends a comment), GET /notifications?since=N (what reached people).
"""

from __future__ import annotations

from pathlib import Path

from lab.control import Faults, control_port
from lab.monitoring.host import FAULTS, Host, Settings
from lab.monitoring.sink import Sink
from lab.process import Json, PartError, Serving, serve_part
from lab.programs import MonitoringPrograms, monitoring_programs

_OPTIONAL = {
    "scrapeInterval": "scrape_interval",
    "evaluationInterval": "evaluation_interval",
    "groupWait": "group_wait",
    "groupInterval": "group_interval",
    "address": "address",
}


async def _main(config: Json, serving: Serving) -> None:
    optional = {name: config[key] for key, name in _OPTIONAL.items() if key in config}
    first, second = config["vms"]
    settings = Settings(Path(config["folder"]) / "monitoring", (first, second), **optional)
    sink = Sink()
    host = Host(settings, _chosen(await monitoring_programs(), config.get("prometheusVersion")), sink)
    try:
        async with sink.serve(settings.address) as sink_url:
            await host.start(sink_url)
            faults = Faults({name: " | ".join(values) for name, values in FAULTS.items()}, host.apply)
            async with control_port(host.status, faults, host.routes()) as control:
                serving.ready({**host.record(), "control": control})
                await serving.until_stopped()
    finally:
        await host.stop()


def _chosen(found: list[MonitoringPrograms], version: str | None) -> MonitoringPrograms:
    if version is None:
        return found[-1]
    for one in found:
        if one.prometheus_version == version:
            return one
    raise PartError(f"no Prometheus {version} here; there is {', '.join(one.prometheus_version for one in found)}")


if __name__ == "__main__":
    serve_part(_main)
