"""A wrong resource is refused by the API server with a message that says what to do."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from tests.contract.crd_samples import PEM, SPECS, manifest
from tests.contract.kube_api import KubeApi, causes

from lab.controlplane import ControlPlane
from lab.kubectl import KubectlError

ABSENT = object()
ADDRESS = "write a canonical IPv4 address"
SUBNET = "write a canonical IPv4 subnet"
DURATION = "write a duration of at most 24h such as"
CONTROL = "remove control characters"
PATH = "write an absolute path"
LOWER = "use lower-case letters"
IP_POOL = "spec.network.ipPool"
NET = "spec.networks[0]"

# (kind, where, value, the field that is named, what the message says)
REFUSED: list[tuple[str, str, Any, str, str]] = [
    ("AutoscalingPolicy", "monitoring.cpuThreshold", 101, "spec.monitoring.cpuThreshold", "should be less than or equal to 100"),
    ("AutoscalingPolicy", "monitoring.cpuThreshold", -1, "spec.monitoring.cpuThreshold", "should be greater than or equal to 0"),
    ("AutoscalingPolicy", "monitoring.memoryThreshold", 1000, "spec.monitoring.memoryThreshold", "should be less than or equal to 100"),
    ("AutoscalingPolicy", "monitoring.cpuThreshold", "80%", "spec.monitoring.cpuThreshold", "must be of type integer"),
    (
        "AutoscalingPolicy",
        "monitoring",
        {"prometheusJob": "x", "cpuThreshold": 0},
        "spec.monitoring",
        "set cpuThreshold or memoryThreshold",
    ),
    ("AutoscalingPolicy", "scaling.minInstances", 5, "spec.scaling", "lower minInstances or raise maxInstances"),
    ("AutoscalingPolicy", "scaling.scaleOutStep", 2, "spec.scaling.scaleOutStep", "scaleOutStep above 1 is not supported yet: set it to 1"),
    ("AutoscalingPolicy", "scaling.maxInstances", ABSENT, "spec.scaling.maxInstances", "Required value"),
    ("AutoscalingPolicy", "templateRef", ABSENT, "spec.templateRef", "Required value"),
    ("AutoscalingPolicy", "f5.poolName", ABSENT, "spec.f5.poolName", "Required value"),
    ("AutoscalingPolicy", "network.ipPool", ABSENT, "spec.network.ipPool", "Required value"),
    ("AutoscalingPolicy", "monitoring.prometheusJob", ABSENT, "spec.monitoring.prometheusJob", "Required value"),
    ("AutoscalingPolicy", "network.ipPool.end", "192.0.2.99", IP_POOL, "the range ends before it starts: swap start and end"),
    ("AutoscalingPolicy", "network.ipPool.start", "192.0.1.200", IP_POOL, "start lies outside subnet"),
    ("AutoscalingPolicy", "network.ipPool.end", "192.0.3.1", IP_POOL, "end lies outside subnet"),
    (
        "AutoscalingPolicy",
        "network.ipPool",
        {"start": "10.0.0.1", "end": "10.200.0.1", "subnet": "10.0.0.0/8"},
        IP_POOL,
        "at most 65536 addresses",
    ),
    ("AutoscalingPolicy", "network.ipPool.start", "192.0.2.010", f"{IP_POOL}.start", ADDRESS),
    ("AutoscalingPolicy", "network.ipPool.start", "192.0.2.256", f"{IP_POOL}.start", ADDRESS),
    ("AutoscalingPolicy", "network.ipPool.start", "192.0.2", f"{IP_POOL}.start", ADDRESS),
    ("AutoscalingPolicy", "network.ipPool.start", "fd00::3", f"{IP_POOL}.start", ADDRESS),
    ("AutoscalingPolicy", "network.ipPool.start", "::ffff:1.2.3.4", f"{IP_POOL}.start", ADDRESS),
    ("AutoscalingPolicy", "network.ipPool.subnet", "192.0.2.5/24", f"{IP_POOL}.subnet", SUBNET),
    ("AutoscalingPolicy", "network.ipPool.subnet", "192.0.2.0/024", f"{IP_POOL}.subnet", SUBNET),
    ("AutoscalingPolicy", "network.ipPool.subnet", "fd00::/64", f"{IP_POOL}.subnet", SUBNET),
    ("AutoscalingPolicy", "network.ipPool.subnet", "192.0.2.0", f"{IP_POOL}.subnet", SUBNET),
    ("AutoscalingPolicy", "network.gateway", "192.0.3.1", "spec.network", "gateway lies outside ipPool.subnet"),
    ("AutoscalingPolicy", "f5.vip", "192.0.2.300", "spec.f5.vip", ADDRESS),
    ("AutoscalingPolicy", "f5.vipPort", 0, "spec.f5.vipPort", "should be greater than or equal to 1"),
    ("AutoscalingPolicy", "f5.memberPort", 65536, "spec.f5.memberPort", "should be less than or equal to 65535"),
    ("AutoscalingPolicy", "f5.poolName", "/Common/pool web", "spec.f5.poolName", "write the pool's full path, e.g. /Common/pool-web"),
    ("AutoscalingPolicy", "f5.healthCheckPath", "/a b", "spec.f5.healthCheckPath", "write a path that begins with '/'"),
    ("AutoscalingPolicy", "service.name", "Web", "spec.service.name", LOWER),
    ("AutoscalingPolicy", "service.name", "x" * 41, "spec.service.name", "may not be more than 40 bytes"),
    ("AutoscalingPolicy", "service.displayName", "x" * 257, "spec.service.displayName", "may not be more than 256 bytes"),
    ("AutoscalingPolicy", "service.displayName", "a\u202eb", "spec.service.displayName", CONTROL),
    ("AutoscalingPolicy", "service.displayName", "a\nb", "spec.service.displayName", CONTROL),
    ("AutoscalingPolicy", "monitoring.prometheusJob", "a\x00b", "spec.monitoring.prometheusJob", CONTROL),
    ("AutoscalingPolicy", "monitoring.prometheusJob", "", "spec.monitoring.prometheusJob", "should be at least 1 chars long"),
    ("AutoscalingPolicy", "monitoring.matchLabels", {"a-b": "x"}, "spec.monitoring.matchLabels", "write label names of letters"),
    ("AutoscalingPolicy", "monitoring.matchLabels", {"job": "x"}, "spec.monitoring.matchLabels", "remove job, instance"),
    ("AutoscalingPolicy", "monitoring.matchLabels", {"instance": "x"}, "spec.monitoring.matchLabels", "remove job, instance"),
    ("AutoscalingPolicy", "monitoring.matchLabels", {"__address__": "x"}, "spec.monitoring.matchLabels", "names that begin with '__'"),
    ("AutoscalingPolicy", "monitoring.triggers", [{"name": "a", "expr": "x"}] * 2, "spec.monitoring.triggers[1]", "Duplicate value"),
    ("AutoscalingPolicy", "monitoring.duration", "5 minutes", "spec.monitoring.duration", DURATION),
    ("AutoscalingPolicy", "monitoring.duration", "5d", "spec.monitoring.duration", DURATION),
    ("AutoscalingPolicy", "monitoring.duration", "25h", "spec.monitoring.duration", DURATION),
    ("AutoscalingPolicy", "monitoring.window", "0s", "spec.monitoring.window", "write a duration above zero"),
    ("AutoscalingPolicy", "timeouts.clone", "-5m", "spec.timeouts.clone", DURATION),
    ("AutoscalingPolicy", "mode", "on", "spec.mode", 'supported values: "Active", "Observe", "Off"'),
    ("AutoscalingPolicy", "deletionPolicy", "Keep", "spec.deletionPolicy", 'supported values: "Retain", "Destroy"'),
    ("AutoscalingPolicy", "jenkins.jobName", "a/../b", "spec.jenkins.jobName", LOWER),
    ("AutoscalingPolicy", "placement.folder", "DC0/vm", "spec.placement.folder", "write the inventory path from the datacenter on"),
    ("AutoscalingPolicy", "placement.datastore", "a/b", "spec.placement.datastore", "write the name as vCenter shows it"),
    ("VmTemplate", "inventoryPath", "tmpl-web", "spec.inventoryPath", "write the inventory path from the datacenter on"),
    ("VmTemplate", "inventoryPath", ABSENT, "spec.inventoryPath", "Required value"),
    ("VmTemplate", "versionNotes", "a\x1b[2Jb", "spec.versionNotes", "remove control and invisible formatting characters"),
    ("VmTemplate", "sharedWith", ["a"] * 65, "spec.sharedWith", "must have at most 64 items"),
    ("Site", "vcenter.url", "http://vcenter.example.org", "spec.vcenter.url", "write https://host"),
    ("Site", "bigip.urls", ["http://bigip.example.org"], "spec.bigip.urls[0]", "write https://host"),
    ("Site", "vcenter.url", "https://user:secret@vcenter.example.org", "spec.vcenter.url", "credentials belong in the Secret"),
    ("Site", "jenkins.url", "ftp://jenkins.example.org", "spec.jenkins.url", "write https://host"),
    ("Site", "jenkins.caBundle", ABSENT, "spec.jenkins", "an https url needs caBundle"),
    ("Site", "prometheus.hosts.0.caBundle", ABSENT, "spec.prometheus.hosts[0]", "an https url needs caBundle"),
    ("Site", "vcenter.caBundle", "not PEM", "spec.vcenter.caBundle", "write PEM certificates that begin with"),
    ("Site", "vcenter.caBundle", f"{PEM}-----BEGIN PRIVATE KEY-----", "spec.vcenter.caBundle", "remove the private key"),
    ("Site", "vcenter.caBundle", ABSENT, "spec.vcenter.caBundle", "Required value"),
    ("Site", "vcenter.datacenter", "x" * 1_000_000, "spec.vcenter.datacenter", "may not be more than 256 bytes"),
    ("Site", "jenkins.stepCommand", "vmscaler-step; id", "spec.jenkins.stepCommand", PATH),
    ("Site", "prometheus.hosts.0.rulesDirectory", "/etc/../root", "spec.prometheus.hosts[0].rulesDirectory", PATH),
    ("Site", "prometheus.hosts.0.ssh.hostKeys", [], "spec.prometheus.hosts[0].ssh.hostKeys", "should have at least 1 items"),
    ("Site", "prometheus.hosts.0.ssh.hostKeys", ["host ssh-rsa A"], "spec.prometheus.hosts[0].ssh.hostKeys[0]", "as ssh-keyscan prints it"),
    ("Site", "prometheus.hosts.0.ssh.user", "-oProxyCommand=id", "spec.prometheus.hosts[0].ssh.user", "write a Unix user name"),
    ("Site", "prometheus.hosts.0.ssh.host", "-oProxyCommand=id", "spec.prometheus.hosts[0].ssh.host", "write a host name or an address"),
    ("Site", "networks.0.cidr", "192.0.2.7/24", f"{NET}.cidr", SUBNET),
    ("Site", "networks.0.cidr", "0.0.0.0/0", NET, "prefix length from 8 to 30"),
    ("Site", "networks.0.gateway", "192.0.3.1", NET, "gateway lies outside cidr"),
    ("Site", "networks.0.reserved", ["198.51.100.1"], NET, "a reserved address lies outside cidr"),
    ("Site", "networks.1", {"name": "b", "portGroup": "b", "cidr": "192.0.2.128/25"}, "spec.networks", "two networks overlap"),
    ("Site", "networks.1", {"name": "b", "portGroup": "b", "cidr": "192.0.0.0/16"}, "spec.networks", "two networks overlap"),
    ("Site", "networks.1", {"name": "b", "portGroup": "b", "cidr": "192.0.2.0/24"}, "spec.networks", "two networks overlap"),
    ("Site", "networks.1", {"name": "frontend", "portGroup": "b", "cidr": "198.51.100.0/24"}, "spec.networks[1]", "Duplicate value"),
    ("Site", "networks", [], "spec.networks", "should have at least 1 items"),
    ("Site", "tenants.0.networks.0.name", "backend", "spec", "a tenant is granted a network that this site does not have"),
    ("Site", "tenants.0.pools", ["/Common/*/x"], "spec.tenants[0].pools[0]", "a trailing * stands for the rest"),
    ("Site", "caps.bigipWrites", 3, "spec.caps.bigipWrites", "should be less than or equal to 2"),
    ("Site", "addressProbes.methods", ["ARP"], "spec.addressProbes.methods[0]", 'supported values: "Inventory", "TCP", "ICMP"'),
    ("IpLease", "address", "192.0.2.101", "metadata", "name the lease <site>.<network>.<address>"),
    ("ScaleOutEvent", "instances", ["x"] * 21, "spec.instances", "must have at most 20 items"),
]


def spoiled(spec: dict[str, Any], where: str, value: Any) -> dict[str, Any]:
    """The spec with one thing wrong."""
    out = copy.deepcopy(spec)
    *parents, last = where.split(".")
    at: Any = out
    for part in parents:
        at = at[int(part)] if isinstance(at, list) else at[part]
    if isinstance(at, list):
        at[int(last) :] = [value]
    elif value is ABSENT:
        del at[last]
    else:
        at[last] = value
    return out


@pytest.mark.parametrize("kind", SPECS)
async def test_the_complete_sample_is_taken(api: KubeApi, namespace: str, kind: str) -> None:
    status, answer = await api.create(manifest(kind, SPECS[kind], namespace))
    assert status == 201, answer.get("message")


@pytest.mark.parametrize(("kind", "where", "value", "field", "says"), REFUSED, ids=[f"{r[0]}-{r[1]}-{i}" for i, r in enumerate(REFUSED)])
async def test_refused_with_what_to_do(api: KubeApi, namespace: str, kind: str, where: str, value: Any, field: str, says: str) -> None:
    status, answer = await api.create(manifest(kind, spoiled(SPECS[kind], where, value), namespace))
    assert status == 422
    told = [cause["message"] for cause in answer["details"]["causes"] if cause["field"] == field]
    assert any(says in message for message in told), answer["message"]
    # One mistake, one message for it (beside the remark that rules could not be asked because of it).
    assert len(told) == 1, told
    assert "rule evaluation error" not in answer["message"] and "no such key" not in answer["message"]


@pytest.mark.parametrize(
    ("kind", "where", "value", "field", "says"),
    [
        ("Site", "installation", "another", "spec.installation", "the installation's name is fixed: put the old value back"),
        ("AutoscalingPolicy", "siteRef.name", "another", "spec.siteRef", "a policy's siteRef is fixed"),
        ("VmInstance", "vmName", "another", "spec", "an instance's spec is fixed"),
        ("IpLease", "holder.name", "another", "spec", "a lease's spec is fixed"),
        ("ScaleOutEvent", "toInstances", 9, "spec", "an event's spec is fixed"),
        ("ScaleInEvent", "sequence", 9, "spec", "an event's spec is fixed"),
    ],
)
async def test_what_is_fixed_stays(api: KubeApi, namespace: str, kind: str, where: str, value: Any, field: str, says: str) -> None:
    status, made = await api.create(manifest(kind, SPECS[kind], namespace), dry=False)
    try:
        assert status == 201, made
        status, answer = await api.replace({**made, "spec": spoiled(made["spec"], where, value)})
        assert status == 422 and says in causes(answer).get(field, ""), answer
        status, answer = await api.replace({**made, "metadata": {**made["metadata"], "labels": {"still": "free"}}})
        assert status == 200, answer
    finally:
        await api.delete(made)


@pytest.mark.parametrize(
    ("kind", "name", "says"),
    [
        ("Site", "a.b", "shorten metadata.name to 63 characters without dots"),
        ("AutoscalingPolicy", "x" * 64, "shorten metadata.name to 63 characters without dots"),
        ("AutoscalingPolicy", "x" * 41, "set spec.service.name"),
    ],
)
async def test_names_that_others_are_made_from(api: KubeApi, namespace: str, kind: str, name: str, says: str) -> None:
    spec = {key: value for key, value in SPECS[kind].items() if key != "service"}
    obj = manifest(kind, spec, namespace)
    obj["metadata"]["name"] = name
    status, answer = await api.create(obj)
    assert status == 422 and says in answer["message"]


async def test_zero_switches_a_threshold_off_and_limits_are_included(api: KubeApi, namespace: str) -> None:
    for change in ({"cpuThreshold": 0, "memoryThreshold": 100}, {"cpuThreshold": 1}, {"cpuThreshold": 100}):
        spec = spoiled(SPECS["AutoscalingPolicy"], "monitoring", {"prometheusJob": "x", **change})
        status, answer = await api.create(manifest("AutoscalingPolicy", spec, namespace))
        assert status == 201, answer


async def test_kubectl_shows_the_message(control_plane: ControlPlane, namespace: str) -> None:
    policy = manifest("AutoscalingPolicy", spoiled(SPECS["AutoscalingPolicy"], "scaling.minInstances", 5), namespace)
    with pytest.raises(KubectlError) as refused:
        await control_plane.apply_objects(policy)
    assert "minInstances is above maxInstances: lower minInstances or raise maxInstances" in refused.value.stderr
