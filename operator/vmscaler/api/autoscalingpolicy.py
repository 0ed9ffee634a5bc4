"""AutoscalingPolicy: what one service needs."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from vmscaler.api.meta import (
    Cidr,
    Condition,
    DnsLabel,
    DnsName,
    Duration,
    InventoryName,
    InventoryPath,
    IpV4,
    LabelName,
    LongText,
    Model,
    NameRef,
    Percent,
    PoolName,
    Port,
    PrinterColumn,
    Resource,
    Text,
)

ServiceName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=40)]


class Mode(StrEnum):
    """Active acts; Observe decides and records but acts not; Off takes the wiring down and keeps the instances."""

    ACTIVE = "Active"
    OBSERVE = "Observe"
    OFF = "Off"


class DeletionPolicy(StrEnum):
    """What becomes of the instances when the policy is deleted."""

    RETAIN = "Retain"
    DESTROY = "Destroy"


class Exporter(StrEnum):
    """Which exporter the VMs run."""

    NODE = "Node"
    WINDOWS = "Windows"


class Service(Model):
    """The service's name (in job, rules and VM names) and the one that people read. Default: the policy's name."""

    name: ServiceName
    display_name: Text = ""


class TemplateRef(Model):
    """A VmTemplate; the namespace defaults to the policy's."""

    name: DnsName
    namespace: DnsLabel | None = None


class Trigger(Model):
    """A PromQL expression of the tenant's own (needs the site's grant). Not acted on yet: refused with a condition."""

    name: DnsLabel
    expr: LongText
    duration: Duration = "5m"


class Monitoring(Model):
    """Which series are the service's and when they call for another VM."""

    prometheus_job: Text = Field(min_length=1, description="The job label that the existing VMs' series have.")
    match_labels: Annotated[dict[LabelName, Text], Field(max_length=16)] = Field(
        default={}, description="More labels that select the service where one job covers a fleet."
    )
    metrics_port: Port = 9100
    exporter: Exporter = Exporter.NODE
    cpu_threshold: Percent | None = Field(default=80, description="Percent of CPU in use, averaged over the service.")
    memory_threshold: Percent | None = Field(default=None, description="Percent of memory in use; none by default.")
    window: Duration = Field(default="1m", description="The window of rate() under the CPU figure.")
    duration: Duration = Field(default="5m", description="How long a threshold must be exceeded.")
    triggers: Annotated[list[Trigger], Field(max_length=8)] = []


class Scaling(Model):
    """Bounds and pace."""

    min_instances: Annotated[int, Field(ge=0, le=1000)] = 1
    max_instances: Annotated[int, Field(ge=1, le=1000)]
    scale_out_step: Annotated[int, Field(ge=1, le=20)] = 1
    scale_in_step: Annotated[int, Field(ge=1, le=20)] = 1
    cooldown_period: Duration = "300s"


class F5(Model):
    """The pool that new VMs join."""

    pool_name: PoolName = Field(description="Full path, or a name in /Common.")
    vip: IpV4 | None = Field(default=None, description="Checked against the virtual servers that use the pool.")
    vip_port: Port | None = None
    member_port: Port | None = Field(default=None, description="Default: the port that the pool's members share.")
    health_check_path: Annotated[str, StringConstraints(pattern=r"^/[A-Za-z0-9._~/\-?=&%]*$", max_length=256)] = "/"


class IpPool(Model):
    """The range that addresses are taken from; both ends belong to it."""

    start: IpV4
    end: IpV4
    subnet: Cidr


class PolicyNetwork(Model):
    """Which of the site's networks, and the service's range in it."""

    name: DnsLabel | None = Field(default=None, description="Default: the site's network that contains the range.")
    ip_pool: IpPool
    vlan: Annotated[int, Field(ge=0, le=4094)] | None = None
    gateway: IpV4 | None = None


class Placement(Model):
    """Where new VMs live in vCenter. Defaults: the template's folder's neighbour, pool and datastore."""

    resource_pool: InventoryPath | None = None
    datastore: InventoryName | None = None
    folder: InventoryPath | None = None
    customization: InventoryName | None = Field(
        default=None, description="Name of a customization specification; default: Linux with a fixed address."
    )


class Timeouts(Model):
    """How long each action may take."""

    clone: Duration = "30m"
    boot: Duration = "10m"
    health: Duration = "5m"
    member: Duration = "5m"
    drain: Duration = "5m"


class PolicyJenkins(Model):
    """The job's name; default autoscale-{customer}-{service}."""

    job_name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=120)] | None = None


class AutoscalingPolicySpec(Model):
    """What one service needs. The customer is the namespace."""

    site_ref: NameRef = NameRef(name="default")
    service: Service | None = None
    template_ref: TemplateRef
    mode: Mode = Mode.ACTIVE
    monitoring: Monitoring
    scaling: Scaling
    f5: F5 = Field(alias="f5")
    network: PolicyNetwork
    placement: Placement = Placement()
    timeouts: Timeouts = Timeouts()
    jenkins: PolicyJenkins = PolicyJenkins()
    deletion_policy: DeletionPolicy = DeletionPolicy.RETAIN


class BuildRef(Model):
    """A build's identity: job, generation of the job (a job made anew counts from 1 again), number (facts/jenkins.md 3)."""

    job: str
    generation: str
    number: int
    url: str = ""


class Cause(Model):
    """Why: the alert as Alertmanager showed it at the claim, or who asked."""

    alert: str = ""
    value: str = ""
    summary: str = ""
    starts_at: datetime | None = None
    fingerprint: str = ""
    requested_by: str = "Alertmanager"


class ActiveEvent(Model):
    """The scale event that holds the policy; set and cleared by compare-and-swap only."""

    event: str
    kind: str
    build: BuildRef
    since: datetime
    from_instances: int = 0
    cause: Cause = Cause()


class Decision(Model):
    """What a claim was answered, and why. A repeated "no" is written when its reason changes; `count` tells how often."""

    time: datetime
    last_time: datetime
    count: int = 1
    accepted: bool
    reason: str
    message: str
    build: BuildRef
    event: str | None = None


class ClaimStatus(Model):
    """The claim's fields: written by compare-and-swap on resourceVersion, by the claim and the settling of an event."""

    active: ActiveEvent | None = None
    sequence: int = 0
    cooldown_until: datetime | None = None
    cooldown_reason: str | None = None
    failures: int = 0
    last_event: str | None = None
    decisions: list[Decision] = []


class Resolved(Model):
    """What the names in the spec stand for."""

    template_mo_ref: str | None = None
    pool: str | None = None
    member_port: int | None = None
    virtual_servers: list[str] = []
    network: str | None = None
    baseline_members: list[str] = []


class Provisioned(Model):
    """What was made outside, written before it is made: what a removal has to look for."""

    job: str | None = None
    job_generation: str | None = None
    job_hash: str | None = None
    receiver: str | None = None
    rule_file: str | None = None
    targets_file: str | None = None
    token_file: str | None = None


class Instances(Model):
    """How many serve: members of the pool that people made, and ours."""

    baseline: int = 0
    ours: int = 0
    total: int = 0
    names: list[str] = []


class AutoscalingPolicyStatus(Model):
    """One writer for each field: `claim` by compare-and-swap, all else by the reconcile."""

    observed_generation: int | None = None
    conditions: list[Condition] = []
    resolved: Resolved | None = None
    provisioned: Provisioned | None = None
    instances: Instances | None = None
    claim: ClaimStatus | None = None


class AutoscalingPolicy(Resource[AutoscalingPolicySpec, AutoscalingPolicyStatus]):
    """What one service needs to be scaled: template, thresholds, bounds, pool, addresses."""

    KIND: ClassVar[str] = "AutoscalingPolicy"
    PLURAL: ClassVar[str] = "autoscalingpolicies"
    SHORT: ClassVar[str] = "asp"
    NAMESPACED: ClassVar[bool] = True
    COLUMNS: ClassVar[list[PrinterColumn]] = [
        PrinterColumn(name="Mode", json_path=".spec.mode"),
        PrinterColumn(name="Ready", json_path='.status.conditions[?(@.type=="Ready")].status'),
        PrinterColumn(name="Base", type="integer", json_path=".status.instances.baseline"),
        PrinterColumn(name="Ours", type="integer", json_path=".status.instances.ours"),
        PrinterColumn(name="Max", type="integer", json_path=".spec.scaling.maxInstances"),
        PrinterColumn(name="Active", json_path=".status.claim.active.event"),
        PrinterColumn(name="Reason", json_path='.status.conditions[?(@.type=="Ready")].reason'),
        PrinterColumn(name="Age", type="date", json_path=".metadata.creationTimestamp"),
    ]

    @property
    def service_name(self) -> str:
        """The service's name: the spec's, or the policy's."""
        return self.spec.service.name if self.spec.service else self.metadata.name

    @property
    def customer(self) -> str:
        """The customer: the namespace."""
        return self.metadata.namespace or ""
