"""All fakes joined, with a Site, a VmTemplate and an AutoscalingPolicy like deploy/samples, and the operator's flows over them.

    world = await World.make()          the fakes and the three objects
    await world.start()                 an operator: work queue, step runner, "watches" (each write to Kubernetes wakes its object)
    await world.ready()                 the policy is provisioned (`World.provisioned()`: all three)
    world.fires()                       Alertmanager shows the alert
    await world.build(1)                one build: the stages one after the other as Jenkinsfile.autoscale has them, rollback on failure
    await world.quiet()                 until nothing is written any more

A crash (`world.effects.crash_at`) ends the operator at a write, before or after it took effect; `build` then starts another one, as a
Deployment does, and asks the step again, as the step client does. Tests run on virtual time (pytest.mark.looptime).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator
from itertools import count
from typing import Any, TypeVar

import structlog
from tests.fakes.bigip import FakeBigIp
from tests.fakes.flow_vsphere import FlowVm, FlowVSphere
from tests.fakes.jenkins import FakeJenkins
from tests.fakes.job_inputs import JENKINS, PEM
from tests.fakes.kube import FakeKube
from tests.fakes.monitoring_api import FakeAlertmanagerApi, FakePrometheusApi, alert
from tests.fakes.probe import FakeProbe
from tests.fakes.samples import sample
from tests.fakes.world_operator import RESYNC as RESYNC
from tests.fakes.world_operator import Operator, end, operate
from tests.fakes.world_seam import START as START
from tests.fakes.world_seam import Crash, Hosts, LoopClock, WorldEffects, without_crashes

from vmscaler.adapters.jenkins import load_templates
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy, BuildRef
from vmscaler.api.iplease import IpLease
from vmscaler.api.meta import Json, PolicyRef, Resource
from vmscaler.api.scaleevent import ScaleOutEvent
from vmscaler.api.site import Site
from vmscaler.api.vminstance import VmInstance
from vmscaler.api.vmtemplate import VmTemplate
from vmscaler.flows.context import Context, GatewayAddress
from vmscaler.flows.steps import Outcome
from vmscaler.ports.errors import OutsideError, Retryable
from vmscaler.ports.systems import Systems
from vmscaler.ports.vsphere import TemplateInfo

T = TypeVar("T")
POOL = "/Common/pool-web"
STAGES = ("claim", "allocate", "clone", "verify", "join", "finish")


class World:
    """See the module."""

    def __init__(self) -> None:
        # Thousands of reconciles: what they say to a log that nobody reads is half of the time.
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
        asyncio.get_running_loop().set_exception_handler(without_crashes)
        self.clock = LoopClock()
        self.effects = WorldEffects()
        self.kube = FakeKube(self.effects, self.clock.now)
        self.jenkins = FakeJenkins(self.effects)
        self.bigip = FakeBigIp(self.effects)
        self.vsphere = FlowVSphere(self.effects, booted=self._booted, destroyed=self._destroyed)
        self.hosts = Hosts(self.effects)
        self.alertmanager = FakeAlertmanagerApi()
        self.prometheus = FakePrometheusApi()
        self.probe = FakeProbe()
        self.systems_error: OutsideError | None = None
        self.healthy = True
        self.comes_up = True
        self.operator: Operator | None = None
        self.crashes = 0
        self.forgotten: list[str] = []
        """Sites whose clients were put away."""
        self.said: list[str] = []
        """What the builds' logs say."""
        self._tokens = count(1)

    @classmethod
    async def make(cls, *, policy: Callable[[Json], None] = lambda body: None, site: Callable[[Json], None] = lambda body: None) -> World:
        """The samples, changed by these functions before they are created."""
        world = cls()
        world.bigip.put_pool(POOL, members=[("192.0.2.11", 8080), ("192.0.2.12", 8080)])
        world.bigip.put_virtual("/Common/vs-web", "192.0.2.10", 443, POOL)
        path = "/DC0/vm/templates/tmpl-web"
        world.vsphere.templates[path] = TemplateInfo("vm-1", "tmpl-web", True, 2, 4096, 20, "Linux", "/DC0/vm/templates")
        for kind, file, change in (
            (Site, "site", site),
            (VmTemplate, "vmtemplate", lambda body: None),
            (AutoscalingPolicy, "autoscalingpolicy", policy),
        ):
            await world.apply(kind, sample(file, change))
        return world

    @classmethod
    async def provisioned(cls, **changes: Callable[[Json], None]) -> World:
        """A world with an operator and its policy Ready; `changes` as of `make`."""
        world = await cls.make(**changes)
        await world.start()
        await world.ready()
        return world

    async def apply(self, kind: type[Resource[Any, Any]], body: Json) -> Any:
        """Create it, as kubectl does."""
        with self._people():
            return await self.kube.create(kind.parse(body))

    async def start(self) -> Operator:
        """An operator process."""
        self.effects.dead = asyncio.Event()
        ctx = Context(
            kube=self.kube,
            systems_of=self,
            clock=self.clock,
            probe=self.probe,
            gateway=GatewayAddress("https://vmscaler.example.org:8443", PEM),
            templates=load_templates(JENKINS),
            new_token=lambda: f"{next(self._tokens):06d}-sample-token-of-some-length",
            started_at=self.clock.now(),
        )
        self.operator = operate(ctx, self.effects)
        return self.operator

    async def stop(self) -> None:
        """The process ends: nothing of it acts any more."""
        operator, self.operator = self.operator, None
        if operator is None:
            return
        await end(operator, self.effects)

    async def restart(self) -> Operator:
        """After a crash, or without one."""
        await self.stop()
        return await self.start()

    async def of(self, site: Site) -> Systems:
        """Implements SystemsOf."""
        if self.systems_error is not None:
            raise self.systems_error
        return Systems(self.vsphere, self.bigip, self.jenkins, self.prometheus, self.alertmanager, self.hosts)

    async def forget(self, site: Site) -> None:
        self.forgotten.append(site.metadata.name)

    # --- what people and systems do

    def fires(self, firing: bool = True, *, suppressed: bool = False, **texts: str) -> None:
        """Alertmanager shows the policy's alert, or does not any more."""
        labels = {"alertname": "VmscalerHighCpu", "vmscaler_policy": "acme/web", "vmscaler_site": "default"}
        notes = {"value": "93.1", "summary": "CPU in use is 93.1%", **texts}
        self.alertmanager.alerts = [alert(labels, annotations=notes, suppressed=suppressed)] if firing else []

    def _booted(self, vm: FlowVm) -> None:
        address = vm.addresses[0]
        self.probe.listens(address, 8080, answers={"/": (200, "OK") if self.healthy else (500, "Broken")})
        if self.comes_up:
            self.bigip.health[f"{address}:8080"] = "up"

    def _destroyed(self, vm: FlowVm) -> None:
        for address in vm.addresses:
            self.probe.gone(address)
            self.bigip.health.pop(f"{address}:8080", None)

    async def edit(self, change: Callable[[Json], None], kind: type[Resource[Any, Any]] = AutoscalingPolicy, name: str = "web") -> None:
        """Change the spec, as kubectl edit does."""
        obj = await self.kube.get(kind, name, "acme" if kind.NAMESPACED else None)
        spec = obj.spec.wire()
        change(spec)
        with self._people():
            await self.kube.patch(obj, {"spec": spec})

    async def delete(self, obj: Resource[Any, Any]) -> None:
        """kubectl delete."""
        with self._people():
            await self.kube.delete(obj)

    @contextlib.contextmanager
    def _people(self) -> Iterator[None]:
        self.effects.people = True
        try:
            yield
        finally:
            self.effects.people = False

    # --- builds

    async def ref(self) -> PolicyRef:
        policy = await self.policy()
        return PolicyRef(namespace="acme", name="web", uid=policy.uid)

    async def build_ref(self, number: int) -> BuildRef:
        policy = await self.policy()
        made = policy.status.provisioned
        assert made is not None and made.job is not None and made.job_generation is not None
        return BuildRef(job=made.job, generation=made.job_generation, number=number, url=f"https://jenkins.example.org/job/x/{number}/")

    async def step(self, step: str, ref: PolicyRef, build: BuildRef, *, patience: float = 14400.0) -> Outcome | OutsideError:
        """What the step client does: ask until the step is over, through every restart."""
        deadline = asyncio.get_running_loop().time() + patience
        after = 0
        while True:
            assert asyncio.get_running_loop().time() < deadline, f"{step} has not ended"
            if self.effects.dead.is_set() or self.operator is None:
                self.crashes += 1
                await self.restart()
            assert self.operator is not None
            poll = asyncio.ensure_future(self.operator.runner.poll(step, ref, build, after=after, wait=20.0))
            dying = asyncio.ensure_future(self.effects.dead.wait())
            await asyncio.wait([poll, dying], return_when=asyncio.FIRST_COMPLETED)
            if dying.done():
                poll.cancel()
                with contextlib.suppress(asyncio.CancelledError, Crash):
                    await poll
                continue
            dying.cancel()
            run, lines, after = await poll
            self.said += [text for _, text in lines]
            if isinstance(run.outcome, Retryable):
                await asyncio.sleep(1.0)
            elif run.outcome is not None:
                return run.outcome

    async def build(self, number: int, *, stop_before: str | None = None) -> list[Outcome | OutsideError]:
        """The pipeline. The answers of its steps, in order."""
        ref, build = await self.ref(), await self.build_ref(number)
        answers: list[Outcome | OutsideError] = []
        for stage in STAGES:
            if stage == stop_before:
                return answers
            answers.append(await self.step(stage, ref, build))
            last = answers[-1]
            if isinstance(last, Outcome) and last.state == "succeeded":
                continue
            if not (isinstance(last, Outcome) and last.state == "refused"):
                answers.append(await self.step("rollback", ref, build))
            break
        return answers

    # --- looking

    async def policy(self, name: str = "web") -> AutoscalingPolicy:
        return await self.kube.get(AutoscalingPolicy, name, "acme")

    async def events(self) -> list[ScaleOutEvent]:
        return await self.kube.list_objects(ScaleOutEvent)

    async def instances(self) -> list[VmInstance]:
        return await self.kube.list_objects(VmInstance)

    async def leases(self) -> list[IpLease]:
        return await self.kube.list_objects(IpLease)

    def members(self) -> list[str]:
        """The pool's members that people did not make."""
        return [name for name in self.bigip.pools[POOL].members if name not in ("192.0.2.11:8080", "192.0.2.12:8080")]

    def nodes(self) -> set[str]:
        return {node for node in self.bigip.nodes if node not in ("/Common/192.0.2.11", "/Common/192.0.2.12")}

    async def condition(self, type_: str) -> tuple[str, str]:
        policy = await self.policy()
        return next(((c.status.value, c.reason) for c in policy.status.conditions if c.type == type_), ("", ""))

    async def until(self, what: str, look: Callable[[], Awaitable[object]], seconds: float = 600.0, *, pause: float = 0.25) -> None:
        """Wait for a condition, looking each `pause` seconds; a crashed operator is started anew."""
        deadline = asyncio.get_running_loop().time() + seconds
        while not await look():
            assert asyncio.get_running_loop().time() < deadline, f"{what}: not within {seconds} s"
            if self.effects.dead.is_set():
                self.crashes += 1
                await self.restart()
            await asyncio.sleep(pause)

    async def ready(self) -> None:
        """The policy is provisioned."""

        async def look() -> bool:
            return (await self.condition("Ready"))[0] == "True"

        await self.until("the policy is Ready", look)
        await self.quiet()

    async def quiet(self, seconds: float = RESYNC + 1) -> None:
        """Until nothing is written for `seconds`, a resync among them."""
        seen = -1
        for _ in range(100):
            if len(self.effects.calls) == seen:
                return
            seen = len(self.effects.calls)
            await asyncio.sleep(seconds)
        raise AssertionError(f"writes never end: {self.effects.calls[-10:]}")
