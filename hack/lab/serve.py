"""`python -m lab serve` and `up`: a data centre with its operator that outlives the command that asked for it.

It writes `<folder>/state.json` when everything runs:
    pid, started (epoch, s), own (false: on somebody's cluster), subnet, vip, kubeconfig
    parts       {name: {pid, control, url, log}}, the operator and the control plane among them (control "" where they have none)
    monitoring  the ready record of the monitoring host
    jenkins     {url, authorization, ca}: the lab's own, for looking
and ends, everything with it, on SIGTERM and SIGINT.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from lab import borrowed, resources
from lab.controlplane import Cluster, existing_cluster
from lab.datacentre import DataCentre
from lab.home import Home
from lab.kubectl import KubectlError
from lab.process import Json, PartError

Ready = Callable[[], Awaitable[None]] | None


def say(text: str) -> None:
    """A line for people; nobody reads it any more when the demo that started us has left."""
    with contextlib.suppress(BrokenPipeError):
        print(text, flush=True)


async def serve(
    home: Home, *, kubeconfig: Path | None = None, context: str | None = None, samples: bool = False, ready: Ready = None
) -> None:
    """Start everything in `home`, until SIGTERM or SIGINT. `samples` applies Site, template and policy too; `ready` is called then.

    `kubeconfig` and `context` name an existing cluster to use instead of our own. Raises PartError, GoError, KubectlError.
    """
    home.hold()
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        loop.add_signal_handler(sig, stop.set)
    given: Cluster | None = None
    dc: DataCentre | None = None
    try:
        if kubeconfig is not None and context is not None:
            given = await existing_cluster(kubeconfig, context, home.folder)
            await borrowed.refuse_used(given)
        dc = DataCentre(home.folder, cluster=given, say=say)
        await _unless(stop, _start(home, dc, samples=samples))
        if ready is not None:
            await ready()
        await stop.wait()
        say("stopping")
    except _Stopped:
        say("stopped while it was starting")
    finally:
        if dc is not None:
            if given is not None:
                with contextlib.suppress(KubectlError, TimeoutError):
                    await borrowed.clean(given, say)
            await dc.stop()
        home.release()


class _Stopped(Exception):
    """A signal came before everything ran."""


async def _unless(stop: asyncio.Event, work: Any) -> None:
    task, stopped = asyncio.ensure_future(work), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([task, stopped], return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise _Stopped
        await task
    finally:
        for one in (task, stopped):
            one.cancel()
        await asyncio.gather(task, stopped, return_exceptions=True)


async def _start(home: Home, dc: DataCentre, *, samples: bool) -> None:
    await dc.start()
    await asyncio.to_thread(_keep, home, dc)
    await dc.start_operator()
    home.write(_state(home, dc))
    if samples:
        await dc.apply_site()
        await dc.apply_policy()
    say("ready")


def _keep(home: Home, dc: DataCentre) -> None:
    """What people and the demo want to find: the kubeconfig, what people wrote, the rendered samples."""
    fresh = home.kubeconfig
    fresh.touch(mode=0o600)
    fresh.write_bytes(dc.cluster.kubeconfig.read_bytes())
    home.people.mkdir()
    monitoring = dc.parts["monitoring"].record
    for part in ("prometheus", "alertmanager"):
        shutil.copy2(monitoring[part]["configFile"], home.people)
    home.manifests.mkdir()
    if dc.run is None:
        raise PartError("the data centre was not started")
    yaml = YAML()
    yaml.default_flow_style = False
    rendered = {
        "1-site.yaml": resources.site(dc.run),
        "2-vmtemplate.yaml": resources.template(),
        "3-autoscalingpolicy.yaml": resources.policy(dc.run),
    }
    for name, document in rendered.items():
        with (home.manifests / name).open("w") as file:
            yaml.dump(document, file)


def _state(home: Home, dc: DataCentre) -> Json:
    def entry(pid: int, log: Path, control: str = "", url: str = "") -> Json:
        return {"pid": pid, "control": control.rstrip("/"), "url": url, "log": str(log)}

    parts: dict[str, Json] = {}
    if dc.control_plane is not None:
        part = dc.control_plane.part
        parts["kubernetes"] = entry(part.pid, part.log, url=dc.cluster.server)
    for name, part in dc.parts.items():
        url = part.record.get("url", "")
        parts[name] = entry(part.pid, part.log, part.record.get("control", ""), url)
    if (operator := dc.operator) is not None:
        parts["operator"] = entry(operator.pid, operator.log, url=operator.gateway) | {"health": operator.health}
    return {
        "pid": os.getpid(),
        "started": time.time(),  # noqa: TID251 - for people's eyes
        "own": dc.control_plane is not None,
        "server": dc.cluster.server,
        "subnet": dc.subnet.network,
        "vip": dc.vip_url,
        "kubeconfig": str(home.kubeconfig),
        "parts": parts,
        "monitoring": dc.parts["monitoring"].record,
        "jenkins": {"url": dc.parts["jenkins"].record["url"], "headers": dc.jenkins_login(), "ca": dc.ca.pem},
    }
