"""One valid object of each kind with every field of its spec set, to be spoiled field by field."""

from __future__ import annotations

from typing import Any

from vmscaler.api.meta import API_VERSION

Json = dict[str, Any]
PEM = "-----BEGIN CERTIFICATE-----\nsample\n-----END CERTIFICATE-----\n"
SECRET = {"name": "sample-credentials"}
_TIMEOUTS = {"clone": "30m", "boot": "10m", "health": "5m", "member": "5m", "drain": "5m"}
_POLICY = {"namespace": "acme", "name": "web", "uid": "5b0f3a52-0000-4000-8000-000000000000"}
_BUILD = {"job": "autoscale-acme-web", "generation": "1", "number": 7, "url": "https://jenkins.example.org/job/autoscale-acme-web/7/"}


def _ssh(host: str) -> Json:
    return {
        "host": host,
        "port": 22,
        "user": "prometheus",
        "hostKeys": ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIC9zYW1wbGUvc2FtcGxlL3NhbXBsZS9zYW1wbGUvc2E="],
        "credentialsSecretRef": SECRET,
    }


SITE: Json = {
    "displayName": "Sample",
    "installation": "sample",
    "vcenter": {"url": "https://vcenter.example.org", "credentialsSecretRef": SECRET, "caBundle": PEM, "datacenter": "DC0"},
    "bigip": {"urls": ["https://bigip.example.org"], "credentialsSecretRef": SECRET, "caBundle": PEM, "loginProvider": "tmos"},
    "jenkins": {
        "url": "https://jenkins.example.org/ci",
        "credentialsSecretRef": SECRET,
        "caBundle": PEM,
        "hookUrl": "https://jenkins.example.org",
        "hookCaFile": "/etc/ssl/certs/ca.crt",
        "stepCommand": "/opt/vmscaler/vmscaler-step",
        "agentLabel": "linux",
    },
    "prometheus": {
        "hosts": [
            {
                "name": "prom-1",
                "url": "https://prom-1.example.org:9090",
                "caBundle": PEM,
                "ssh": _ssh("prom-1.example.org"),
                "configFile": "/etc/prometheus/prometheus.yml",
                "rulesDirectory": "/etc/prometheus/rules",
                "targetsDirectory": "/etc/prometheus/targets",
                "mountedRulesDirectory": "/rules",
                "mountedTargetsDirectory": "/targets",
                "checkConfigCommand": ["promtool", "check", "config"],
                "checkRulesCommand": ["promtool", "check", "rules"],
            }
        ],
        "evaluationInterval": "15s",
    },
    "alertmanager": {
        "hosts": [
            {
                "name": "alert-1",
                "url": "http://192.0.2.9:9093",
                "caBundle": PEM,
                "ssh": _ssh("192.0.2.9"),
                "configFile": "/etc/alertmanager/alertmanager.yml",
                "tokensDirectory": "/etc/alertmanager/tokens",
                "mountedTokensDirectory": "/tokens",
                "checkConfigCommand": ["amtool", "check-config"],
            }
        ],
        "groupWait": "10s",
        "groupInterval": "1m",
        "repeatInterval": "5m",
    },
    "networks": [
        {
            "name": "frontend",
            "portGroup": "vlan-web",
            "vlan": 100,
            "cidr": "192.0.2.0/24",
            "gateway": "192.0.2.1",
            "dnsServers": ["192.0.2.2"],
            "domain": "example.org",
            "reserved": ["192.0.2.10"],
        }
    ],
    "addressProbes": {"methods": ["Inventory", "ICMP", "TCP"], "tcpPorts": [22], "timeout": "1s"},
    "addressQuarantine": "10m",
    "caps": {"clones": 4, "bigipWrites": 1, "builds": 8},
    "tenants": [
        {
            "namespaces": ["acme"],
            "folders": ["/DC0/vm/acme"],
            "networks": [{"name": "frontend", "ranges": ["192.0.2.96/27"]}],
            "pools": ["/Common/pool-web*"],
            "jobPrefix": "autoscale-",
            "promql": False,
            "maxInstances": 10,
        }
    ],
}
TEMPLATE: Json = {
    "siteRef": {"name": "default"},
    "inventoryPath": "/DC0/vm/templates/tmpl-web",
    "source": {"inventoryPath": "/DC0/vm/acme/web-1", "method": "Clone"},
    "description": "Web front end",
    "versionNotes": "first\nsecond",
    "sharedWith": ["shop"],
}
POLICY: Json = {
    "siteRef": {"name": "default"},
    "service": {"name": "web", "displayName": "The shop"},
    "templateRef": {"name": "tmpl-web", "namespace": "acme"},
    "mode": "Active",
    "monitoring": {
        "prometheusJob": "acme-web",
        "matchLabels": {"service": "web"},
        "metricsPort": 9100,
        "exporter": "Node",
        "cpuThreshold": 80,
        "memoryThreshold": 90,
        "window": "1m",
        "duration": "5m",
        "triggers": [{"name": "queue", "expr": "queue_length > 10", "duration": "5m"}],
    },
    "scaling": {"minInstances": 1, "maxInstances": 4, "scaleOutStep": 1, "scaleInStep": 1, "cooldownPeriod": "300s"},
    "f5": {"poolName": "/Common/pool-web", "vip": "192.0.2.10", "vipPort": 443, "memberPort": 8080, "healthCheckPath": "/health?full=1"},
    "network": {
        "name": "frontend",
        "ipPool": {"start": "192.0.2.100", "end": "192.0.2.119", "subnet": "192.0.2.0/24"},
        "vlan": 100,
        "gateway": "192.0.2.1",
    },
    "placement": {
        "resourcePool": "/DC0/host/C0/Resources/vmscaler",
        "datastore": "datastore1",
        "folder": "/DC0/vm/vmscaler/acme",
        "customization": "linux-static",
    },
    "timeouts": _TIMEOUTS,
    "jenkins": {"jobName": "autoscale-acme-web"},
    "deletionPolicy": "Retain",
}
INSTANCE: Json = {
    "policyRef": _POLICY,
    "siteRef": {"name": "default"},
    "eventRef": {"name": "web-5b0f3a52-1"},
    "installation": "sample",
    "service": "web",
    "vmName": "web-5b0f3a52-1-1",
    "template": {"inventoryPath": "/DC0/vm/templates/tmpl-web", "moRef": "vm-61"},
    "placement": {
        "folder": "/DC0/vm/vmscaler/acme",
        "resourcePool": "/DC0/host/C0/Resources/vmscaler",
        "datastore": "datastore1",
        "customization": "linux-static",
    },
    "network": {
        "name": "frontend",
        "portGroup": "vlan-web",
        "cidr": "192.0.2.0/24",
        "gateway": "192.0.2.1",
        "dnsServers": ["192.0.2.2"],
        "domain": "example.org",
        "start": "192.0.2.100",
        "end": "192.0.2.119",
    },
    "pool": {"name": "/Common/pool-web", "memberPort": 8080, "healthCheckPath": "/health"},
    "metrics": {"prometheusJob": "acme-web", "labels": {"service": "web"}, "port": 9100, "exporter": "Node"},
    "timeouts": _TIMEOUTS,
}
LEASE: Json = {
    "siteRef": {"name": "sample"},
    "network": "frontend",
    "address": "192.0.2.100",
    "holder": {"namespace": "acme", "name": "web-5b0f3a52-1-1", "uid": "5b0f3a52-0000-4000-8000-000000000001"},
}
EVENT: Json = {
    "policyRef": _POLICY,
    "siteRef": {"name": "default"},
    "sequence": 1,
    "step": 1,
    "fromInstances": 2,
    "toInstances": 3,
    "cause": {
        "alert": "AutoscaleCpuHigh",
        "value": "93.1",
        "summary": "CPU of web is high",
        "startsAt": "2026-01-01T00:00:00Z",
        "fingerprint": "0a1b2c",
        "requestedBy": "Alertmanager",
    },
    "build": _BUILD,
    "instances": ["web-5b0f3a52-1-1"],
}
SPECS: dict[str, Json] = {
    "Site": SITE,
    "VmTemplate": TEMPLATE,
    "AutoscalingPolicy": POLICY,
    "VmInstance": INSTANCE,
    "IpLease": LEASE,
    "ScaleOutEvent": EVENT,
    "ScaleInEvent": EVENT,
}
NAMES = {"Site": "sample", "IpLease": "sample.frontend.192.0.2.100"}


def manifest(kind: str, spec: Json, namespace: str | None = None, **metadata: Any) -> Json:
    """An object of the kind with this spec; namespaced kinds need the namespace."""
    meta = {"name": NAMES.get(kind, "web"), **({"namespace": namespace} if namespace and kind not in NAMES else {}), **metadata}
    return {"apiVersion": API_VERSION, "kind": kind, "metadata": meta, "spec": spec}
