"""Site: one data centre, kept by its administrator."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import ConfigDict, Field, StringConstraints

from vmscaler.api.cel import CA_FOR_HTTPS, ListKey, Rule, Says, if_ipv4, if_subnet, immutable, rules
from vmscaler.api.meta import (
    AbsolutePath,
    Cidr,
    Conditions,
    Count,
    DnsLabel,
    Duration,
    Generation,
    HttpsUrl,
    InventoryPath,
    IpV4,
    Link,
    Model,
    Pem,
    Port,
    PositiveDuration,
    PrinterColumn,
    Resource,
    SecretRef,
    Text,
    Url,
    Word,
)
from vmscaler.api.monitoringhosts import Alertmanager as Alertmanager
from vmscaler.api.monitoringhosts import AlertmanagerHost as AlertmanagerHost
from vmscaler.api.monitoringhosts import Prometheus as Prometheus
from vmscaler.api.monitoringhosts import PrometheusHost as PrometheusHost
from vmscaler.api.monitoringhosts import Ssh as Ssh


class VCenter(Model):
    """The vCenter of the site. The Secret has the keys `username` and `password`."""

    url: HttpsUrl = Field(description="Its URL, e.g. https://vcenter.example.org.")
    credentials_secret_ref: SecretRef
    ca_bundle: Pem = Field(description="PEM of the CA that signed its certificate; nothing is sent where this check fails.")
    datacenter: Annotated[Text, Field(min_length=1)] = Field(description="The datacenter's name; inventory paths begin with it.")


class BigIp(Model):
    """One BIG-IP, or an active/standby pair. The Secret has the keys `username` and `password`."""

    urls: Annotated[list[HttpsUrl], Field(min_length=1, max_length=2)] = Field(
        description="The URL of the unit, or of both units of a pair."
    )
    credentials_secret_ref: SecretRef
    ca_bundle: Pem = Field(description="PEM of the CA (or both CAs) that signed the certificates.")
    login_provider: Text = Field(default="tmos", description="The name of the log-in provider (tmos, or that of a remote directory).")


class Jenkins(Model):
    """The Jenkins controller. The Secret has the keys `username` and `token` (an API token)."""

    model_config = ConfigDict(json_schema_extra=rules(CA_FOR_HTTPS))

    url: Url = Field(description="Its URL as the operator sees it, with the path if it has one.")
    credentials_secret_ref: SecretRef
    ca_bundle: Pem | None = Field(default=None, description="PEM; required for an https URL.")
    hook_url: Url | None = Field(default=None, description="Jenkins' URL as Alertmanager sees it; default: url.")
    hook_ca_file: AbsolutePath | None = Field(
        default=None,
        description="Path of the CA file with which Alertmanager verifies hookUrl, on Alertmanager's host.",
    )
    step_command: AbsolutePath = Field(default="/usr/local/bin/vmscaler-step", description="Where the step client is on the agents.")
    agent_label: Annotated[
        str,
        StringConstraints(pattern=r"^([A-Za-z0-9_][A-Za-z0-9_.\-]*)?$", max_length=63),
        Says("write one label of letters, digits and '_.-' that begins with a letter, digit or '_'"),
    ] = Field(default="", description="The label of the agents that builds run on; none: any agent.")


class Network(Model):
    """A network in which VMs get addresses. The networks of a Site may not overlap."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                if_subnet("self.cidr", "cidr(self.cidr).prefixLength() >= 8 && cidr(self.cidr).prefixLength() <= 30"),
                "write a cidr with a prefix length from 8 to 30",
            ),
            Rule(
                "!has(self.gateway) || " + if_subnet("self.cidr", if_ipv4("self.gateway", then="cidr(self.cidr).containsIP(self.gateway)")),
                "gateway lies outside cidr: correct one of them",
            ),
            Rule(
                "!has(self.reserved) || "
                + if_subnet("self.cidr", "self.reserved.all(a, " + if_ipv4("a", then="cidr(self.cidr).containsIP(a)") + ")"),
                "a reserved address lies outside cidr: correct or remove it",
            ),
        )
    )

    name: DnsLabel = Field(description="The name that policies and grants use.")
    port_group: Annotated[Text, Field(min_length=1)] = Field(description="The port group's name in vCenter.")
    vlan: Annotated[int, Field(ge=0, le=4094)] | None = Field(
        default=None, description="For people, and compared with a policy that names one."
    )
    cidr: Cidr = Field(description="The whole subnet.")
    gateway: IpV4 | None = Field(default=None, description="The default gateway that new VMs get.")
    dns_servers: Annotated[list[IpV4], Field(max_length=4)] = Field(default=[], description="The DNS servers that new VMs get.")
    domain: Annotated[
        str,
        StringConstraints(pattern=r"^([a-z0-9][a-z0-9.\-]*)?$", max_length=253),
        Says("write a DNS domain in lower case, e.g. example.org"),
    ] = Field(default="", description="The DNS domain that new VMs get.")
    reserved: Annotated[list[IpV4], Field(max_length=256)] = Field(default=[], description="Never handed out.")


class ProbeMethod(StrEnum):
    """What counts as a sign that an address is in use."""

    INVENTORY = "Inventory"
    TCP = "TCP"
    ICMP = "ICMP"


class AddressProbes(Model):
    """How a free address is told from one in use."""

    methods: Annotated[list[ProbeMethod], Field(max_length=3)] = Field(
        default=[
            ProbeMethod.INVENTORY,
            ProbeMethod.ICMP,
            ProbeMethod.TCP,
        ],
        description="What is asked before an address is taken.",
    )
    tcp_ports: Annotated[list[Port], Field(max_length=8)] = Field(default=[22, 80, 443, 3389], description="Ports that are tried with TCP.")
    timeout: PositiveDuration = Field(default="1s", description="How long each answer is awaited.")


class Caps(Model):
    """How much is done at once on this site. No effect yet."""

    clones: Annotated[int, Field(ge=1, le=64)] = Field(default=4, description="Clones at once.")
    bigip_writes: Annotated[int, Field(ge=1, le=2)] = Field(default=1, description="Writes to the BIG-IP at once.")
    builds: Annotated[int, Field(ge=1, le=64)] = Field(default=8, description="Builds of our jobs at once.")


class NetworkGrant(Model):
    """A network that a tenant may use, and the part of it (whole, where no range is given)."""

    name: DnsLabel = Field(description="The name of one of networks.")
    ranges: Annotated[list[Cidr], Field(max_length=16)] = Field(default=[], description="Parts of it; none: all of it.")


PoolGrant = Annotated[
    str,
    StringConstraints(pattern=r"^(/[A-Za-z0-9_.\-]+)*/?([A-Za-z0-9_][A-Za-z0-9_.\-]*\*?|\*)$", max_length=255),
    Says("write a pool's full path, e.g. /Common/pool-web; a trailing * stands for the rest of the name"),
]


class Tenant(Model):
    """A grant: these namespaces may use this site within these limits."""

    namespaces: Annotated[list[DnsLabel], Field(min_length=1, max_length=64)] = Field(description="The namespaces that this grant is for.")
    folders: Annotated[list[InventoryPath], Field(max_length=16)] = Field(
        default=[], description="Template and VM folders; what is below them is granted too."
    )
    networks: Annotated[list[NetworkGrant], Field(max_length=16), ListKey("name")] = Field(
        default=[], description="Networks that addresses may be taken from."
    )
    pools: Annotated[list[PoolGrant], Field(max_length=64)] = Field(
        default=[], description="Full paths of BIG-IP pools; a trailing * stands for the rest of the name."
    )
    job_prefix: Annotated[
        str, StringConstraints(pattern=r"^([a-z0-9][a-z0-9\-]*)?$", max_length=63), Says("use lower-case letters, digits and '-'")
    ] = Field(default="autoscale-", description="What the names of Jenkins jobs must begin with.")
    promql: bool = Field(default=False, description="Whether the tenant may write PromQL of its own.")
    max_instances: Annotated[int, Field(ge=0, le=10000)] = Field(default=100, description="The cap on a policy's maxInstances.")


class SiteSpec(Model):
    """What the administrator of a data centre says of it."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            Rule(
                "!has(self.tenants) || self.tenants.all(t, !has(t.networks) || "
                "t.networks.all(granted, self.networks.exists(n, n.name == granted.name)))",
                "a tenant is granted a network that this site does not have: add it to networks, or correct the grant's name",
            )
        )
    )

    display_name: Text = Field(default="", description="For people.")
    installation: Annotated[DnsLabel, immutable("the installation's name")] = Field(
        description="The immutable name of this installation: VMs are marked with it."
    )
    vcenter: VCenter
    bigip: BigIp
    jenkins: Jenkins
    prometheus: Prometheus
    alertmanager: Alertmanager
    networks: Annotated[
        list[Network],
        Field(min_length=1, max_length=64),
        ListKey("name"),
        Rule(
            "self.all(a, self.all(b, a.name == b.name || !isCIDR(a.cidr) || !isCIDR(b.cidr) || !cidr(a.cidr).containsCIDR(b.cidr)))",
            "two networks overlap: give each a cidr of its own (a network that several sites share is named in one of them only)",
        ),
    ] = Field(description="Networks in which VMs get addresses.")
    address_probes: AddressProbes = AddressProbes()
    address_quarantine: Duration = Field(default="10m", description="How long an address rests after a VM used it.")
    caps: Caps = Caps()
    tenants: Annotated[list[Tenant], Field(max_length=64)] = Field(default=[], description="Who may use this site, and what of it.")


class SystemStatus(Model):
    """What was seen of a system at the last look."""

    name: Word
    url: Link = ""
    version: Word = ""


class SiteStatus(Model):
    """What the operator saw of a site: one condition per system."""

    observed_generation: Generation | None = None
    conditions: Conditions = []
    systems: Annotated[list[SystemStatus], Field(max_length=32)] = []
    policies: Count = 0
    instances: Count = 0


class Site(Resource[SiteSpec, SiteStatus]):
    """One data centre: its systems, how they are reached and trusted, its networks, and who may use it."""

    KIND: ClassVar[str] = "Site"
    PLURAL: ClassVar[str] = "sites"
    RULES: ClassVar[tuple[Rule, ...]] = (
        Rule(
            "size(self.metadata.name) <= 63 && !self.metadata.name.contains('.')",
            "shorten metadata.name to 63 characters without dots: the names of leases begin with it",
            ".metadata",
        ),
    )
    SHORT: ClassVar[str] = "site"
    NAMESPACED: ClassVar[bool] = False
    COLUMNS: ClassVar[list[PrinterColumn]] = [
        PrinterColumn(name="Ready", json_path='.status.conditions[?(@.type=="Ready")].status'),
        PrinterColumn(name="Policies", type="integer", json_path=".status.policies"),
        PrinterColumn(name="Instances", type="integer", json_path=".status.instances"),
        PrinterColumn(name="Reason", json_path='.status.conditions[?(@.type=="Ready")].reason'),
        PrinterColumn(name="Age", type="date", json_path=".metadata.creationTimestamp"),
    ]
