"""What the demo must have shown for exit 0: pure. Called by `lab.demo.play` with what was seen."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lab.demo.snapshot import Vm
from lab.process import Json
from vmscaler.decide.monitoring_files import without_entries, without_route
from vmscaler.decide.splice import StyleNotSupported, YamlFile


@dataclass(frozen=True)
class Check:
    """One thing that must hold, whether it does, and what was seen."""

    name: str
    ok: bool
    said: str


def event_succeeded(event: Json | None) -> Check:
    """The ScaleOutEvent."""
    name = "the ScaleOutEvent Succeeded"
    if event is None:
        return Check(name, False, "there is none")
    status = event.get("status", {})
    said = f"{event['metadata']['name']}: {status.get('phase', 'no phase')}"
    if status.get("duration"):
        said += f" after {status['duration']}"
    if status.get("phase") != "Succeeded":
        said += (
            f", stage {status.get('failedStage') or status.get('stage')}: {status.get('reason', '')} {status.get('message', '')}".rstrip()
        )
    return Check(name, status.get("phase") == "Succeeded", said)


def event_failed(event: Json | None, stage: str, reason: str) -> Check:
    """The ScaleOutEvent of a story that is to fail: at this stage, for this reason, with its rollback recorded."""
    name = f"the ScaleOutEvent Failed at {stage} with {reason}"
    if event is None:
        return Check(name, False, "there is none")
    status = event.get("status", {})
    seen = (status.get("phase"), status.get("failedStage"), status.get("reason"))
    said = f"{event['metadata']['name']}: {status.get('phase', 'no phase')}, {status.get('failedStage', 'no stage')}, {status.get('reason', '')}"
    recorded = bool(status.get("rollback", {}).get("finishedAt"))
    return Check(name, seen == ("Failed", stage, reason) and recorded, said if recorded else f"{said}, no rollback recorded")


def nothing_left(left: Sequence[str] | None) -> Check:
    """What is still there of the event that failed; None when it could not be looked for."""
    name = "nothing of it is left: VM, member, node, instance; its address is free or rests"
    if left is None:
        return Check(name, False, "it could not be looked for")
    return Check(name, not left, ", ".join(left) or "looked for in vCenter, on the BIG-IP and in Kubernetes")


def people_serve(vms: Sequence[Vm], made: Sequence[str]) -> Check:
    """The VMs that people made serve on; `made` are the names of the autoscaler's."""
    theirs = [vm for vm in vms if vm.name not in made]
    out = [vm.name for vm in theirs if not vm.in_service]
    return Check("people's VMs are in service", bool(theirs) and not out, ", ".join(out or [vm.name for vm in theirs]) or "there is none")


def served(vm: Json | None) -> Check:
    """The new VM's own answer at /stats: {vm, served, ...}; None when it gave none."""
    name = "the new VM itself counted users' requests"
    if vm is None:
        return Check(name, False, "there is no new VM that answers")
    return Check(name, vm["served"] > 0, f"{vm['vm']} at {vm['address']}: {vm['served']} requests")


def resolved(after: float | None) -> Check:
    """`after`: seconds from the raised load to the end of the alert."""
    name = "the alert resolved"
    return Check(name, after is not None, "it is still active" if after is None else f"{after:.0f} s after the load was raised")


def people(file: str, original: bytes, current: bytes, ours: str) -> Check:
    """One of the two files: without exactly what is ours it must be, byte for byte, what people wrote.

    `file` is "prometheus.yml", where `ours` is the glob of the rule files, or "alertmanager.yml", where it is the receiver's name.
    """
    name = f"what people wrote in {file} is unchanged"
    if current == original:
        return Check(name, False, "our part is not in it: nothing was shown")
    remove = without_entries if file == "prometheus.yml" else without_route
    try:
        rest = remove(YamlFile(current), ours).content
    except StyleNotSupported as error:
        return Check(name, False, f"it cannot be read: {error}")
    added = current.count(b"\n") - original.count(b"\n")
    if rest == original and _in_order(original, current):
        return Check(name, True, f"{len(original)} bytes as they were, {added} lines of ours among them")
    line = next((n for n, (a, b) in enumerate(zip(original.split(b"\n"), rest.split(b"\n"), strict=False), 1) if a != b), 0)
    return Check(name, False, f"without our part it differs from line {line} on")


def _in_order(original: bytes, current: bytes) -> bool:
    """Whether all of people's lines are still there in their order: judged without the product's own reading of YAML."""
    lines = iter(current.split(b"\n"))
    return all(line in lines for line in original.split(b"\n"))
