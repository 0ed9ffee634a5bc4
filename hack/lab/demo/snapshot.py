"""What the demo saw of every system at one moment, as values. Made by `lab.demo.watch`; read by hops, summary and the views."""

from __future__ import annotations

from dataclasses import dataclass, field

from lab.process import Json

IN_SERVICE = ("monitor-enabled", "up")


@dataclass(frozen=True)
class Vm:
    """A VM as its guest and the pool show it; `cpu` is 0-1, `served` counts users' requests, `session` and `state` the pool's words."""

    name: str
    address: str
    phase: str
    cpu: float
    served: int
    session: str = ""
    state: str = ""

    @property
    def in_service(self) -> bool:
        """Whether the BIG-IP sends it users."""
        return (self.session, self.state) == IN_SERVICE

    @property
    def membership(self) -> str:
        """The pool's view in a word or two."""
        if not self.session:
            return "not in pool"
        if self.in_service:
            return "in service"
        return f"disabled, {self.state}" if self.session == "user-disabled" else self.state


@dataclass(frozen=True)
class Rule:
    """The policy's rule at Prometheus: state is inactive, pending or firing; `since` (epoch, s) is when its condition became true."""

    state: str = "inactive"
    since: float | None = None
    value: float | None = None


@dataclass(frozen=True)
class Build:
    """A build of the service's job; `result` is None while it runs; `started` epoch, s."""

    number: int
    started: float
    result: str | None
    stage: str
    description: str


@dataclass(frozen=True)
class Snapshot:
    """Everything. `seconds` are the load's of `lab.load.Load.seconds`, oldest first; `alert_since` is Alertmanager's start of the
    active alert (epoch, s), None while none is active; `event` is the newest ScaleOutEvent, `instances` the VmInstances.
    """

    at: float
    rate: float = 0.0
    seconds: tuple[Json, ...] = ()
    vms: tuple[Vm, ...] = ()
    rule: Rule = field(default_factory=Rule)
    alert_since: float | None = None
    builds: tuple[Build, ...] = ()
    event: Json | None = None
    instances: tuple[Json, ...] = ()
    trouble: tuple[str, ...] = ()

    @property
    def phase(self) -> str:
        """The event's."""
        return str((self.event or {}).get("status", {}).get("phase", ""))

    @property
    def new_vm(self) -> Vm | None:
        """The VM that the event is about, once there is one."""
        names = (self.event or {}).get("spec", {}).get("instances", [])
        made = {i["metadata"]["name"]: i["spec"]["vmName"] for i in self.instances}
        wanted = {made.get(name, name) for name in names}
        return next((vm for vm in self.vms if vm.name in wanted), None)
