"""The lab's vCenter: govmomi's simulator in a Go main of our own (hack/vcenter), as a part.

`await vcenter(config, folder=...)` builds it and gives a `lab.process.Part` to start. Called by `lab.datacentre` and the
contract tests; `Control` is the client of its control port, also for `lab.guests`.

Config (JSON; only the first four are required)
    username, password           what Login takes; anything else is InvalidLogin
    certificate, privateKey      PEM text or the path of a PEM file, leaf first: what the lab's CA signed
    address, port                where it serves, in 127.0.0.0/8; default 127.0.0.1 and a free port
    tempFolder                   where the simulator keeps its datastores' files; removed at the end; default $TMPDIR
    datacenter, cluster, hosts   names and a number; default DC0, C0, 2
    datastores                   [{name, capacityGiB, freeGiB}]; default one, datastore1, half of 4096 GiB free
    networks                     [{name, distributed}]: port groups; "VM Network" is always there
    folders                      VM folders as paths below /<datacenter>/vm, as vmscaler/acme
    resourcePools                names below the cluster's root pool
    templates, vms               [{name, folder, resourcePool, datastore, network, guestId, cpus, memoryMiB, diskGiB,
                                 annotation, extraConfig, address, hostName, poweredOff}]; vms are the hand-made ones
    guests                       {external, bootSeconds}: external is true where lab.guests plays the guests; otherwise the
                                 vCenter itself reports each guest as booted (tools, address, host name) after bootSeconds

Ready record
    url (https://.../sdk), host, port, username, password, control, inventory {inventory path: moRef}

What a guest is: a customization's fixed address and host name (of the clone spec or CustomizeVM_Task), or a hand-made VM's
`address`, are kept on the guest's "disk" (the extraConfig key lab.guest, a JSON text) and appear in vm.guest when the guest has
booted, not before; at power-off the tools' report goes. The simulator's own CustomizationSucceeded comes at power-on already.

Faults (PUT /faults, the whole set)
    down         true: connections are refused, open ones closed
    latency      seconds before each call
    calls        rules for SOAP calls, the first that hits counts: {method (or "*"), entity, effect, seconds, fault, message,
                 skip, count}. entity is a glob on the called object's name or a clone's new name. effect: delay (seconds), hang
                 (for ever; on healing the connection closes, nothing was done), drop (connection closed, nothing done), lose
                 (done, but the answer never comes), fault (any fault type of the API by name, as InsufficientResourcesFault)
    tasks        the same for what the call began: effect fault (after `seconds`; nothing was done), hang (until healed, then
                 it is done) or late (done at once, but over only when healed); for CloneVM_Task, PowerOnVM_Task, PowerOffVM_Task, Destroy_Task, ReconfigVM_Task,
                 CustomizeVM_Task
    taskSeconds  {method: seconds} that such tasks take
    neverBoot    globs of VMs whose guests do not come up (with guests.external: see lab.guests instead)
GET /faults shows the set, each rule with its `hits`.

Control port beside that
    GET /status                  {up, url, calls {method: how often}}
    GET /vms?since=V&wait=S      {version, vms}: at once, or when something changed since version V, at the latest after S
                                 seconds. A VM: moRef, name, folder, template, powerState, boot (another number after each
                                 power-on), address, hostName (of its disk), cpus, memoryMiB, instanceUuid, extraConfig, guest
    PUT /vms/<moRef>/guest       what the guest's tools report: {ipAddress, hostName, toolsRunningStatus, toolsStatus,
                                 guestState}, each optional; 409 when it is not powered on
    PUT /certificate             {certificate, privateKey}: served from now on
    POST /sessions/expire        every session ends: NotAuthenticated for each client's next call
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import aiohttp

from lab.gobuild import build
from lab.process import Json, Part

SOURCE = Path(__file__).resolve().parent.parent / "vcenter"


async def vcenter(config: Json, *, folder: Path, deadline: float = 60.0) -> Part:
    """The part, not yet started. Raises lab.gotoolchain.GoError when it cannot be built."""
    binary = await build(SOURCE, name="vcenter")
    return Part("vcenter", config, folder=folder, argv=[str(binary)], deadline=deadline)


def inventory(vms: Sequence[tuple[str, str]], *, network: str = "vlan-web") -> Json:
    """The lab's usual inventory (README.md "Names and addresses"): `vms` are the hand-made ones, (name, address)."""
    return {
        "datacenter": "DC0",
        "cluster": "C0",
        "datastores": [{"name": "datastore1"}],
        "networks": [{"name": network, "distributed": True}],
        "folders": ["vmscaler/acme"],
        "resourcePools": ["vmscaler"],
        "templates": [
            {
                "name": "tmpl-web",
                "folder": "templates",
                "guestId": "ubuntu64Guest",
                "cpus": 2,
                "memoryMiB": 2048,
                "diskGiB": 20,
                "network": network,
                "annotation": "Web front end, made by hand",
            }
        ],
        "vms": [
            {"name": name, "folder": "acme", "cpus": 2, "memoryMiB": 2048, "network": network, "address": address} for name, address in vms
        ],
    }


class ControlError(RuntimeError):
    """The control port refused; the message is its answer."""


class Control:
    """A client of the control port. Use as an async context manager."""

    def __init__(self, url: str) -> None:
        """`url` is the ready record's `control`."""
        self._url = url
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))

    async def close(self) -> None:
        """Close its connections."""
        await self._http.close()

    async def __aenter__(self) -> Control:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    async def status(self) -> Json:
        """Whether it is up, and how often each method was called."""
        return await self._call("GET", "/status")

    async def put_faults(self, faults: Json) -> Json:
        """Replace the set of faults; `{}` heals. Raises ControlError for an unknown one."""
        return await self._call("PUT", "/faults", faults)

    async def vms(self, *, since: int = -1, wait: float = 0.0) -> tuple[int, list[Json]]:
        """Version and VMs, at once or when something changed since `since`, at the latest after `wait` seconds."""
        answer = await self._call("GET", f"/vms?since={since}&wait={wait}")
        return int(answer["version"]), answer["vms"]

    async def vm(self, name: str) -> Json | None:
        """The VM of that name, or None."""
        _, vms = await self.vms()
        return next((vm for vm in vms if vm["name"] == name), None)

    async def set_guest(self, moref: str, **state: str) -> None:
        """What the guest's tools report. Raises ControlError when the VM is not there or not powered on."""
        await self._call("PUT", f"/vms/{moref}/guest", state)

    async def present(self, certificate: str, private_key: str) -> None:
        """Serve another certificate from now on."""
        await self._call("PUT", "/certificate", {"certificate": certificate, "privateKey": private_key})

    async def expire_sessions(self) -> int:
        """End every session; returns how many."""
        return int((await self._call("POST", "/sessions/expire"))["expired"])

    async def _call(self, method: str, path: str, body: Json | None = None) -> Json:
        async with self._http.request(method, self._url + path, json=body) as response:
            if response.status != 200:
                raise ControlError(f"{method} {path}: {response.status} {(await response.text()).strip()}")
            answer: Json = await response.json()
            return answer
