"""What the systems of a `World` hold, kept and put back: for tests that end a run at each of its writes."""

from __future__ import annotations

import copy
from collections.abc import Callable

from tests.fakes.world import World


def snapshot(world: World) -> Callable[[], None]:
    """Everything that the systems hold now; call what it gives to have it back (while no operator runs)."""
    kept = copy.deepcopy(
        (
            (world.kube.objects, world.kube.secrets, world.kube.events),
            (world.jenkins.jobs, world.jenkins.credentials),
            (world.bigip.pools, world.bigip.nodes, world.bigip.health, world.bigip.connections, world.bigip.unsaved),
            (world.hosts.files, world.hosts.loaded),
            (world.vsphere.vms, world.vsphere.tasks, world.vsphere.folders, world.vsphere.orders),
            (world.probe.pings, world.probe.open),
        )
    )

    def restore() -> None:
        assert world.operator is None
        kube, jenkins, bigip, hosts, vsphere, probe = copy.deepcopy(kept)
        world.kube.objects, world.kube.secrets, world.kube.events = kube
        world.jenkins.jobs, world.jenkins.credentials = jenkins
        world.bigip.pools, world.bigip.nodes, world.bigip.health, world.bigip.connections, world.bigip.unsaved = bigip
        world.hosts.files, world.hosts.loaded = hosts
        world.vsphere.vms, world.vsphere.tasks, world.vsphere.folders, world.vsphere.orders = vsphere
        world.probe.pings, world.probe.open = probe
        world.effects.calls.clear()
        world.effects.crash_at = None
        world.crashes = 0

    return restore
