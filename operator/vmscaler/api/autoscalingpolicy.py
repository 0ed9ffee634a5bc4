"""AutoscalingPolicy: what one service needs."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, StringConstraints, field_validator

from vmscaler.api.cel import ListKey, Rule, Says, if_ipv4, if_subnet, immutable, ipv4_number, rules
from vmscaler.api.meta import (
    Cidr,
    DnsLabel,
    DnsName,
    Duration,
    InventoryName,
    InventoryPath,
    IpV4,
    Labels,
    LongText,
    Model,
    NameRef,
    Percent,
    PoolName,
    Port,
    PositiveDuration,
    PrinterColumn,
    Resource,
    Text,
)
from vmscaler.api.policystatus import ActiveEvent as ActiveEvent
from vmscaler.api.policystatus import AutoscalingPolicyStatus as AutoscalingPolicyStatus
from vmscaler.api.policystatus import BuildRef as BuildRef
from vmscaler.api.policystatus import Cause as Cause
from vmscaler.api.policystatus import ClaimStatus as ClaimStatus
from vmscaler.api.policystatus import Decision as Decision
from vmscaler.api.policystatus import Instances as Instances
from vmscaler.api.policystatus import Provisioned as Provisioned
from vmscaler.api.policystatus import Resolved as Resolved

LARGEST_RANGE = 65536
ServiceName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=40),
    Says("use lower-case letters, digits and '-', with a letter or digit at both ends: the name stands in the VMs' host names"),
]


class Mode(StrEnum):
    """Active acts; Observe decides and records but acts not; "Off" takes the wiring down and keeps the instances.

    Write "Off" in quotes: YAML reads a bare Off as false.
    """

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

    name: ServiceName = Field(description="In jobs, rules and VM names.")
    display_name: Text = Field(default="", description="For people.")


class TemplateRef(Model):
    """A VmTemplate; the namespace defaults to the policy's."""

    name: DnsName = Field(description="The VmTemplate's name.")
    namespace: DnsLabel | None = Field(default=None, description="Its namespace, where it is shared with this one; default: the policy's.")


class Trigger(Model):
    """A PromQL expression of the tenant's own (needs the site's grant). Not acted on yet: refused with a condition."""

    name: DnsLabel = Field(description="In the alert that it raises.")
    expr: Annotated[LongText, Field(min_length=1)] = Field(description="Fires while it returns anything.")
    duration: Duration = Field(default="5m", description="How long it must hold; default 5m.")


class Monitoring(Model):
    """Which series are the service's and when they call for another VM."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "self.cpuThreshold > 0 || (has(self.memoryThreshold) && self.memoryThreshold > 0) || "
                "(has(self.triggers) && size(self.triggers) > 0)",
                "nothing would ever scale this service: set cpuThreshold or memoryThreshold to 1-100, or add a trigger",
            )
        )
    )

    prometheus_job: Annotated[Text, Field(min_length=1)] = Field(description="The job label that the existing VMs' series have.")
    match_labels: Labels = Field(default={}, description="More labels that select the service where one job covers a fleet.")
    metrics_port: Port = Field(default=9100, description="The port of the exporter on the VMs.")
    exporter: Exporter = Exporter.NODE
    cpu_threshold: Percent | None = Field(default=80, description="Percent of CPU in use, averaged over the service; 0 switches it off.")
    memory_threshold: Percent | None = Field(default=None, description="Percent of memory in use; none by default, 0 is none.")
    window: PositiveDuration = Field(
        default="2m", description="The window of rate() under the CPU figure; at least twice the scrape interval, else there is no figure."
    )
    duration: Duration = Field(default="5m", description="How long a threshold must be exceeded.")
    triggers: Annotated[list[Trigger], Field(max_length=8), ListKey("name")] = Field(
        default=[], description="PromQL of your own. Not acted on yet: a policy that has one is not Ready."
    )

    @field_validator("cpu_threshold", "memory_threshold")
    @classmethod
    def _zero_is_none(cls, value: int | None) -> int | None:
        # A default cannot be taken away by leaving the field out, and kubectl apply drops nulls: 0 says "none".
        return value or None


class Scaling(Model):
    """Bounds and pace."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule("self.minInstances <= self.maxInstances", "minInstances is above maxInstances: lower minInstances or raise maxInstances")
        )
    )

    min_instances: Annotated[int, Field(ge=0, le=1000)] = Field(default=1, description="Never fewer, people's VMs counted. No effect yet.")
    max_instances: Annotated[int, Field(ge=1, le=1000)] = Field(description="Never more, people's VMs counted.")
    scale_out_step: Annotated[int, Field(ge=1, le=20), Rule("self == 1", "scaleOutStep above 1 is not supported yet: set it to 1")] = Field(
        default=1, description="VMs made by one scale-out; only 1 is taken yet."
    )
    scale_in_step: Annotated[int, Field(ge=1, le=20)] = Field(default=1, description="VMs removed by one scale-in. No effect yet.")
    cooldown_period: Duration = Field(default="300s", description="How long nothing is done after a scaling.")


class F5(Model):
    """The pool that new VMs join."""

    pool_name: PoolName = Field(description="Full path, or a name in /Common.")
    vip: IpV4 | None = Field(default=None, description="Checked against the virtual servers that use the pool.")
    vip_port: Port | None = Field(default=None, description="The port of the virtual server.")
    member_port: Port | None = Field(default=None, description="Default: the port that the pool's members share.")
    health_check_path: Annotated[
        str,
        StringConstraints(pattern=r"^/[A-Za-z0-9._~/\-?=&%]*$", max_length=256),
        Says("write a path that begins with '/', percent-encoded, e.g. /health"),
    ] = Field(default="/", description="Asked of a new VM before it joins the pool.")


class IpPool(Model):
    """The range that addresses are taken from; both ends belong to it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                if_ipv4("self.start", "self.end", then=f"{ipv4_number('self.start')} <= {ipv4_number('self.end')}"),
                "the range ends before it starts: swap start and end",
            ),
            Rule(
                if_ipv4("self.start", "self.end", then=f"{ipv4_number('self.end')} - {ipv4_number('self.start')} < {LARGEST_RANGE}"),
                f"the range is too large: at most {LARGEST_RANGE} addresses",
            ),
            Rule(
                if_subnet("self.subnet", if_ipv4("self.start", then="cidr(self.subnet).containsIP(self.start)")),
                "start lies outside subnet: correct start or subnet",
            ),
            Rule(
                if_subnet("self.subnet", if_ipv4("self.end", then="cidr(self.subnet).containsIP(self.end)")),
                "end lies outside subnet: correct end or subnet",
            ),
        )
    )

    start: IpV4 = Field(description="The first address.")
    end: IpV4 = Field(description="The last address.")
    subnet: Cidr = Field(description="The subnet that both lie in.")


class PolicyNetwork(Model):
    """Which of the site's networks, and the service's range in it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "!has(self.gateway) || "
                + if_subnet("self.ipPool.subnet", if_ipv4("self.gateway", then="cidr(self.ipPool.subnet).containsIP(self.gateway)")),
                "gateway lies outside ipPool.subnet: correct one of them",
            )
        )
    )

    name: DnsLabel | None = Field(default=None, description="Default: the site's network that contains the range.")
    ip_pool: IpPool
    vlan: Annotated[int, Field(ge=0, le=4094)] | None = Field(default=None, description="Compared with the network's.")
    gateway: IpV4 | None = Field(default=None, description="Compared with the network's.")


class Placement(Model):
    """Where new VMs live in vCenter."""

    resource_pool: InventoryPath | None = Field(default=None, description="Its path; default: the root pool of the template's cluster.")
    datastore: InventoryName | None = Field(default=None, description="Name of a datastore; default: the template's.")
    folder: InventoryPath | None = Field(default=None, description="Made if missing; default: /DATACENTER/vm/vmscaler/NAMESPACE/SERVICE.")
    customization: InventoryName | None = Field(
        default=None, description="Name of a customization specification; default: Linux with a fixed address."
    )


class Timeouts(Model):
    """How long each action may take."""

    clone: PositiveDuration = Field(default="30m", description="From the order to the finished clone.")
    boot: PositiveDuration = Field(default="10m", description="From power-on to an address.")
    health: PositiveDuration = Field(default="5m", description="Until the health check answers well.")
    member: PositiveDuration = Field(default="5m", description="Until the BIG-IP sees the member up.")
    drain: Duration = Field(default="5m", description="For connections to end before a VM is removed.")


JobName = Annotated[
    str,
    StringConstraints(pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", max_length=120),
    Says("use lower-case letters, digits and '-', with a letter or digit at both ends"),
]


class PolicyJenkins(Model):
    """The job's name; default autoscale-{customer}-{service}."""

    job_name: JobName | None = Field(default=None, description="A name of your own; must begin with what the site grants.")


class AutoscalingPolicySpec(Model):
    """What one service needs. The customer is the namespace."""

    site_ref: Annotated[NameRef, immutable("a policy's siteRef")] = NameRef(name="default")
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


class AutoscalingPolicy(Resource[AutoscalingPolicySpec, AutoscalingPolicyStatus]):
    """What one service needs to be scaled: template, thresholds, bounds, pool, addresses."""

    KIND: ClassVar[str] = "AutoscalingPolicy"
    PLURAL: ClassVar[str] = "autoscalingpolicies"
    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')",
            "shorten metadata.name to 63 characters without dots: file names, labels and VM names are made from it",
            ".metadata",
        ),
        Rule(
            "has(self.spec.service) || size(self.metadata.name) <= 40",
            "set spec.service.name (at most 40 characters): this policy's own name is too long for a service's",
            ".spec",
        ),
    )
    SHORT: ClassVar[str] = "asp"
    NAMESPACED: ClassVar[bool] = True
    COLUMNS: ClassVar[list[PrinterColumn]] = [
        PrinterColumn(name="Mode", json_path=".spec.mode"),
        PrinterColumn(name="Ready", json_path='.status.conditions[?(@.type=="Ready")].status'),
        PrinterColumn(name="Base", type="integer", json_path=".status.instances.baseline"),
        PrinterColumn(name="Ours", type="integer", json_path=".status.instances.ours"),
        PrinterColumn(name="Max", type="integer", json_path=".spec.scaling.maxInstances"),
        PrinterColumn(name="Reason", json_path='.status.conditions[?(@.type=="Ready")].reason'),
        PrinterColumn(name="Active", json_path=".status.claim.active.event", priority=1),
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
