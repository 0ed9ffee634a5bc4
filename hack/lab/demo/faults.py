"""Stories in which a scale-out fails: what is broken, and what must then be seen. Chosen by `make demo FAULT=health`; told by `lab.demo.play`."""

from __future__ import annotations

from dataclasses import dataclass

from lab.attached import Attached
from lab.process import Json

NEW_VMS = "web-*-*-*"
"""What the autoscaler's VMs are called, and people's are not."""


@dataclass(frozen=True)
class Fault:
    """`faults` for the control port of `part`; `says` what that means; the last hop that is reached, and how the event then ends."""

    part: str
    faults: Json
    says: str
    last_hop: str
    stage: str
    reason: str


FAULTS = {
    "clone": Fault(
        "vcenter",
        {"tasks": [{"method": "CloneVM_Task", "effect": "fault", "fault": "InsufficientResourcesFault"}]},
        "vCenter has no room for a clone",
        "address",
        "clone",
        "CloneFailed",
    ),
    "boot": Fault("guests", {"neverBoot": [NEW_VMS]}, "new VMs never boot", "VM cloned", "verify", "NeverBooted"),
    "health": Fault("guests", {"healthFails": [NEW_VMS]}, "new VMs fail their health check", "VM cloned", "verify", "Unhealthy"),
}


async def left_over(lab: Attached, event: Json, pool: str) -> list[str]:
    """What is still there of the event in each system, in words. Raises PartError, KubectlError."""
    names = set(event["spec"]["instances"])
    addresses = {action["address"] for action in event.get("status", {}).get("actions", []) if action.get("address")}
    guests = await lab.control("guests", "GET", "/status")
    bigip = await lab.control("bigip", "GET", "/status")
    objects = await lab.objects("vminstances", event["metadata"]["namespace"])
    leases: list[Json] = (await lab.cluster.get("ipleases"))["items"]
    members = bigip["pools"].get(pool, {}).get("members", {})
    return [
        *(f"VM {vm['name']}" for vm in guests["vms"] if vm["name"] in names),
        *(f"member {path}" for path, member in members.items() if member["address"] in addresses),
        *(f"node {path}" for path, node in bigip["nodes"].items() if node["address"] in addresses),
        *(f"VmInstance {one['metadata']['name']}" for one in objects if one["metadata"]["name"] in names),
        *(
            f"lease {lease['metadata']['name']} is {lease.get('status', {}).get('phase', 'of no phase')}"
            for lease in leases
            if lease["spec"]["holder"]["name"] in names and lease.get("status", {}).get("phase") != "Quarantined"
        ),
    ]
