"""Site: one data centre, kept by its administrator."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field, StringConstraints

from vmscaler.api.meta import (
    AbsolutePath,
    Argument,
    Cidr,
    Condition,
    DnsLabel,
    Duration,
    InventoryPath,
    IpV4,
    Model,
    Pem,
    PoolName,
    Port,
    PrinterColumn,
    Resource,
    SecretRef,
    Text,
    Url,
)


class VCenter(Model):
    """The vCenter of the site. The Secret has the keys `username` and `password`."""

    url: Url
    credentials_secret_ref: SecretRef
    ca_bundle: Pem
    datacenter: Text = Field(description="The datacenter's name; inventory paths begin with it.")


class BigIp(Model):
    """One BIG-IP, or an active/standby pair. The Secret has the keys `username` and `password`."""

    urls: Annotated[list[Url], Field(min_length=1, max_length=2)]
    credentials_secret_ref: SecretRef
    ca_bundle: Pem
    login_provider: Text = "tmos"


class Jenkins(Model):
    """The Jenkins controller. The Secret has the keys `username` and `token` (an API token)."""

    url: Url
    credentials_secret_ref: SecretRef
    ca_bundle: Pem | None = Field(default=None, description="PEM; required for an https URL.")
    hook_url: Url | None = Field(default=None, description="Jenkins' URL as Alertmanager sees it; default: url.")
    hook_ca_file: AbsolutePath | None = Field(
        default=None,
        description="Path of the CA file with which Alertmanager verifies hookUrl, on Alertmanager's host.",
    )
    step_command: AbsolutePath = Field(default="/usr/local/bin/vmscaler-step", description="Where the step client is on the agents.")
    agent_label: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.\-]*$", max_length=63)] = ""


class Ssh(Model):
    """SSH login with a key; the Secret has the key `privateKey` (and `passphrase` if it has one)."""

    host: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.\-:]*$", max_length=253)]
    port: Port = 22
    user: Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_\-]*\$?$", max_length=32)]
    host_keys: Annotated[
        list[Annotated[str, StringConstraints(pattern=r"^(ssh|ecdsa|sk)-[a-z0-9@.\-]+ [A-Za-z0-9+/=]+$", max_length=1024)]],
        Field(min_length=1, max_length=8),
    ] = Field(description="Public host keys as `ssh-keyscan` prints them, without the host: `ssh-ed25519 AAAA...`.")
    credentials_secret_ref: SecretRef


Command = Annotated[list[Argument], Field(min_length=1, max_length=32)]


class PrometheusHost(Model):
    """One Prometheus and the host that holds its files."""

    name: DnsLabel
    url: Url
    ca_bundle: Pem | None = None
    ssh: Ssh
    config_file: AbsolutePath = "/etc/prometheus/prometheus.yml"
    rules_directory: AbsolutePath = "/etc/prometheus/vmscaler/rules"
    targets_directory: AbsolutePath = "/etc/prometheus/vmscaler/targets"
    mounted_rules_directory: AbsolutePath | None = Field(
        default=None, description="rulesDirectory as Prometheus sees it, where that differs (a container)."
    )
    mounted_targets_directory: AbsolutePath | None = None
    check_config_command: Command = Field(
        default=["promtool", "check", "config"], description="promtool on the host; the staged file's path is appended."
    )
    check_rules_command: Command = Field(default=["promtool", "check", "rules"])


class AlertmanagerHost(Model):
    """One Alertmanager and the host that holds its files."""

    name: DnsLabel
    url: Url
    ca_bundle: Pem | None = None
    ssh: Ssh
    config_file: AbsolutePath = "/etc/alertmanager/alertmanager.yml"
    tokens_directory: AbsolutePath = "/etc/alertmanager/vmscaler/tokens"
    mounted_tokens_directory: AbsolutePath | None = None
    check_config_command: Command = Field(default=["amtool", "check-config"])


class Prometheus(Model):
    """The site's Prometheus servers (a pair is usual)."""

    hosts: Annotated[list[PrometheusHost], Field(min_length=1, max_length=4)]
    evaluation_interval: Duration | None = Field(default=None, description="Of our rule groups; default: Prometheus' own.")


class Alertmanager(Model):
    """The site's Alertmanagers (a cluster is usual) and the timings of our routes."""

    hosts: Annotated[list[AlertmanagerHost], Field(min_length=1, max_length=4)]
    group_wait: Duration = "10s"
    group_interval: Duration = "1m"
    repeat_interval: Duration = "5m"


class Network(Model):
    """A network in which VMs get addresses. The networks of a Site may not overlap."""

    name: DnsLabel
    port_group: Text
    vlan: Annotated[int, Field(ge=0, le=4094)] | None = None
    cidr: Cidr
    gateway: IpV4 | None = None
    dns_servers: Annotated[list[IpV4], Field(max_length=4)] = []
    domain: Annotated[str, StringConstraints(pattern=r"^[a-z0-9.\-]*$", max_length=253)] = ""
    reserved: Annotated[list[IpV4], Field(max_length=256)] = Field(default=[], description="Never handed out.")


class ProbeMethod(StrEnum):
    """What counts as a sign that an address is in use."""

    INVENTORY = "Inventory"
    TCP = "TCP"
    ICMP = "ICMP"


class AddressProbes(Model):
    """How a free address is told from one in use."""

    methods: Annotated[list[ProbeMethod], Field(max_length=3)] = [
        ProbeMethod.INVENTORY,
        ProbeMethod.ICMP,
        ProbeMethod.TCP,
    ]
    tcp_ports: Annotated[list[Port], Field(max_length=8)] = [22, 80, 443, 3389]
    timeout: Duration = "1s"


class Caps(Model):
    """How much is done at once on this site."""

    clones: Annotated[int, Field(ge=1, le=64)] = 4
    bigip_writes: Annotated[int, Field(ge=1, le=2)] = 1
    builds: Annotated[int, Field(ge=1, le=64)] = 8


class NetworkGrant(Model):
    """A network that a tenant may use, and the part of it (whole, where no range is given)."""

    name: DnsLabel
    ranges: Annotated[list[Cidr], Field(max_length=16)] = []


class Tenant(Model):
    """A grant: these namespaces may use this site within these limits."""

    namespaces: Annotated[list[DnsLabel], Field(min_length=1, max_length=64)]
    folders: Annotated[list[InventoryPath], Field(max_length=16)] = Field(
        default=[], description="Template and VM folders; what is below them is granted too."
    )
    networks: Annotated[list[NetworkGrant], Field(max_length=16)] = []
    pools: Annotated[list[PoolName], Field(max_length=256)] = Field(
        default=[], description="Full paths of BIG-IP pools; a trailing * stands for the rest of the name."
    )
    job_prefix: Annotated[str, StringConstraints(pattern=r"^[a-z0-9\-]*$", max_length=63)] = "autoscale-"
    promql: bool = Field(default=False, description="Whether the tenant may write PromQL of its own.")
    max_instances: Annotated[int, Field(ge=0, le=10000)] = 100


class SiteSpec(Model):
    """What the administrator of a data centre says of it."""

    display_name: Text = ""
    installation: DnsLabel = Field(description="The immutable name of this installation: VMs are marked with it.")
    vcenter: VCenter
    bigip: BigIp
    jenkins: Jenkins
    prometheus: Prometheus
    alertmanager: Alertmanager
    networks: Annotated[list[Network], Field(min_length=1, max_length=64)]
    address_probes: AddressProbes = AddressProbes()
    address_quarantine: Duration = Field(default="10m", description="How long an address rests after a VM used it.")
    caps: Caps = Caps()
    tenants: Annotated[list[Tenant], Field(max_length=64)] = []


class SystemStatus(Model):
    """What was seen of a system at the last look."""

    name: str
    url: str = ""
    version: str = ""


class SiteStatus(Model):
    """What the operator saw of a site: one condition per system."""

    observed_generation: int | None = None
    conditions: list[Condition] = []
    systems: list[SystemStatus] = []
    policies: int = 0
    instances: int = 0


class Site(Resource[SiteSpec, SiteStatus]):
    """One data centre: its systems, how they are reached and trusted, its networks, and who may use it."""

    KIND: ClassVar[str] = "Site"
    PLURAL: ClassVar[str] = "sites"
    SHORT: ClassVar[str] = "site"
    NAMESPACED: ClassVar[bool] = False
    COLUMNS: ClassVar[list[PrinterColumn]] = [
        PrinterColumn(name="Ready", json_path='.status.conditions[?(@.type=="Ready")].status'),
        PrinterColumn(name="Policies", type="integer", json_path=".status.policies"),
        PrinterColumn(name="Instances", type="integer", json_path=".status.instances"),
        PrinterColumn(name="Reason", json_path='.status.conditions[?(@.type=="Ready")].reason'),
        PrinterColumn(name="Age", type="date", json_path=".metadata.creationTimestamp"),
    ]
