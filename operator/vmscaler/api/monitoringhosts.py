"""The part of a Site that says where Prometheus and Alertmanager are, and how their hosts are reached over SSH."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, StringConstraints

from vmscaler.api.cel import CA_FOR_HTTPS, ListKey, Says, rules
from vmscaler.api.meta import AbsolutePath, Argument, DnsLabel, Duration, Model, Pem, Port, PositiveDuration, SecretRef, Url

HostKey = Annotated[
    str,
    StringConstraints(pattern=r"^(ssh|ecdsa|sk)-[a-z0-9@.\-]+ [A-Za-z0-9+/=]+$", max_length=1024),
    Says("write a public host key as ssh-keyscan prints it, without the host: ssh-ed25519 AAAA..."),
]


class Ssh(Model):
    """SSH login with a key; the Secret has the key `privateKey` (and `passphrase` if it has one)."""

    host: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9.\-:]*$", max_length=253),
        Says("write a host name or an address, without user and port"),
    ] = Field(description="Host name or address.")
    port: Port = Field(default=22, description="Its SSH port; default 22.")
    user: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z_][a-z0-9_\-]*\$?$", max_length=32),
        Says("write a Unix user name: lower-case letters, digits, '_' and '-'"),
    ] = Field(description="Who logs in: must be allowed to write the files and run the checkers.")
    host_keys: Annotated[list[HostKey], Field(min_length=1, max_length=8)] = Field(
        description="Public host keys as `ssh-keyscan` prints them, without the host: `ssh-ed25519 AAAA...`."
    )
    credentials_secret_ref: SecretRef


Command = Annotated[list[Argument], Field(min_length=1, max_length=32)]


class MonitoringHost(Model):
    """A program and the host that holds its files."""

    model_config = ConfigDict(json_schema_extra=rules(CA_FOR_HTTPS))

    name: DnsLabel = Field(description="A name for conditions and logs.")
    url: Url = Field(description="Its URL as the operator sees it.")
    ca_bundle: Pem | None = Field(default=None, description="PEM; required for an https URL.")
    ssh: Ssh


class PrometheusHost(MonitoringHost):
    """One Prometheus and the host that holds its files."""

    config_file: AbsolutePath = Field(
        default="/etc/prometheus/prometheus.yml", description="Its configuration; default /etc/prometheus/prometheus.yml."
    )
    rules_directory: AbsolutePath = Field(
        default="/etc/prometheus/vmscaler/rules", description="Where rule files are put; default /etc/prometheus/vmscaler/rules."
    )
    targets_directory: AbsolutePath = Field(
        default="/etc/prometheus/vmscaler/targets", description="Where target files are put; default /etc/prometheus/vmscaler/targets."
    )
    mounted_rules_directory: AbsolutePath | None = Field(
        default=None, description="rulesDirectory as Prometheus sees it, where that differs (a container)."
    )
    mounted_targets_directory: AbsolutePath | None = Field(
        default=None, description="targetsDirectory as Prometheus sees it, where that differs (a container)."
    )
    check_config_command: Command = Field(
        default=["promtool", "check", "config"], description="promtool on the host; the staged file's path is appended."
    )
    check_rules_command: Command = Field(
        default=["promtool", "check", "rules"], description="promtool on the host for rule files; the staged file's path is appended."
    )


class AlertmanagerHost(MonitoringHost):
    """One Alertmanager and the host that holds its files."""

    config_file: AbsolutePath = Field(
        default="/etc/alertmanager/alertmanager.yml", description="Its configuration; default /etc/alertmanager/alertmanager.yml."
    )
    tokens_directory: AbsolutePath = Field(
        default="/etc/alertmanager/vmscaler/tokens", description="Where token files are put; default /etc/alertmanager/vmscaler/tokens."
    )
    mounted_tokens_directory: AbsolutePath | None = Field(
        default=None, description="tokensDirectory as Alertmanager sees it, where that differs (a container)."
    )
    check_config_command: Command = Field(
        default=["amtool", "check-config"], description="amtool on the host; the staged file's path is appended."
    )


class Prometheus(Model):
    """The site's Prometheus servers (a pair is usual)."""

    hosts: Annotated[list[PrometheusHost], Field(min_length=1, max_length=4), ListKey("name")] = Field(
        description="Each with the host that holds its files."
    )
    evaluation_interval: PositiveDuration | None = Field(default=None, description="Of our rule groups; default: Prometheus' own.")


class Alertmanager(Model):
    """The site's Alertmanagers (a cluster is usual) and the timings of our routes."""

    hosts: Annotated[list[AlertmanagerHost], Field(min_length=1, max_length=4), ListKey("name")] = Field(
        description="Each with the host that holds its files."
    )
    group_wait: Duration = Field(default="10s", description="group_wait of our routes.")
    group_interval: PositiveDuration = Field(default="1m", description="group_interval of our routes.")
    repeat_interval: PositiveDuration = Field(
        default="5m", description="repeat_interval of our routes: how soon a lost call is made again."
    )
