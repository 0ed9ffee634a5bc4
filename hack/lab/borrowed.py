"""A cluster that is not ours: the lab takes it only when nothing of vmscaler is there, and leaves it as it was.

Called by `lab.serve`. Whatever bears our names afterwards was therefore made by this run, and goes.
"""

from __future__ import annotations

from collections.abc import Callable

from lab.controlplane import Cluster
from lab.kubectl import KubectlError
from lab.process import PartError
from lab.resources import CUSTOMER, OPERATOR_NAMESPACE

_WAIT = "--timeout=120s"


async def refuse_used(cluster: Cluster) -> None:
    """Raises PartError when kinds of vmscaler, or a namespace of the samples, are there already."""
    kinds = await cluster.kubectl("get", "crd", "-o", "name")
    if any(line.endswith(".vmscaler.io") for line in kinds.splitlines()):
        raise PartError(f"{cluster.server} has vmscaler's kinds already: the demo would meddle with what they are used for")
    found = await cluster.kubectl("get", "namespace", CUSTOMER, OPERATOR_NAMESPACE, "-o", "name", "--ignore-not-found")
    if found.strip():
        raise PartError(f"{cluster.server} has {' and '.join(found.split())} already: the demo needs names of its own")


async def clean(cluster: Cluster, say: Callable[[str], None]) -> None:
    """Remove all of it, the operator still running: it lets its finalizers go. What is left is said, never forced."""
    say(f"removing what the demo made in {cluster.server}")
    steps = (
        ("delete", "asp", "--all", "-n", CUSTOMER, "--ignore-not-found", _WAIT),
        ("delete", "vmi", "--all", "-n", CUSTOMER, "--ignore-not-found", _WAIT),
        ("delete", "soe,vmt", "--all", "-n", CUSTOMER, "--ignore-not-found", _WAIT),
        ("delete", "ipl", "--all", "--ignore-not-found", _WAIT),
        ("delete", "site", "default", "--ignore-not-found", _WAIT),
        ("delete", "namespace", CUSTOMER, OPERATOR_NAMESPACE, "--ignore-not-found", _WAIT),
    )
    for step in steps:
        try:
            await cluster.kubectl(*step, timeout=150.0)
        except (KubectlError, TimeoutError) as error:
            say(f"left there: {error}")
            return
    kinds = await cluster.kubectl("get", "crd,clusterrole,clusterrolebinding", "-o", "name")
    ours = [line for line in kinds.splitlines() if line.endswith(".vmscaler.io") or line.split("/")[-1].startswith("vmscaler-")]
    if ours:
        await cluster.kubectl("delete", *ours, "--ignore-not-found", _WAIT, timeout=150.0)
