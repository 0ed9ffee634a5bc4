"""Renders deploy/samples for one run of the lab: its own URLs, ports, CAs, pins, ranges and timings. Called by `lab.datacentre`."""

from __future__ import annotations

import base64
import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from lab.process import Json

SAMPLES = Path(__file__).resolve().parents[2] / "deploy" / "samples"
OPERATOR_NAMESPACE = "vmscaler-system"
CUSTOMER = "acme"


@dataclass(frozen=True)
class Run:
    """What the samples are filled from: ready records of the parts, the CA, the addresses, the users."""

    ca: str
    hook_ca_file: str
    step_command: str
    vcenter_url: str
    bigip_url: str
    jenkins_url: str
    monitoring: Json
    subnet: Any
    users: dict[str, dict[str, str]]


def sample(name: str) -> list[Json]:
    """The documents of deploy/samples/<name>.yaml."""
    with (SAMPLES / f"{name}.yaml").open() as file:
        return [document for document in YAML(typ="safe").load_all(file) if document]


def site(run: Run) -> Json:
    """The Site of this run."""
    document = copy.deepcopy(sample("site")[0])
    spec, monitoring, net = document["spec"], run.monitoring, run.subnet
    spec["displayName"], spec["installation"] = "Embedded data centre", "lab"
    spec["vcenter"] |= {"url": run.vcenter_url, "caBundle": run.ca}
    spec["bigip"] |= {"urls": [run.bigip_url], "caBundle": run.ca}
    spec["jenkins"] |= {
        "url": run.jenkins_url.rstrip("/"),
        "caBundle": run.ca,
        "hookCaFile": run.hook_ca_file,
        "stepCommand": run.step_command,
    }
    login = monitoring["ssh"]
    ssh = {
        "host": login["host"],
        "port": login["port"],
        "user": login["user"],
        "hostKeys": login["hostKeys"],
        "credentialsSecretRef": {"name": "monitoring-ssh"},
    }
    prometheus, alertmanager = monitoring["prometheus"], monitoring["alertmanager"]
    spec["prometheus"] = {
        "hosts": [
            {
                "name": "mon-1",
                "url": prometheus["url"],
                "ssh": ssh,
                "configFile": prometheus["configFile"],
                "rulesDirectory": prometheus["rulesDir"],
                "targetsDirectory": prometheus["targetsDir"],
                "checkConfigCommand": [prometheus["promtool"], "check", "config"],
                "checkRulesCommand": [prometheus["promtool"], "check", "rules"],
            }
        ],
    }
    spec["alertmanager"] = {
        "hosts": [
            {
                "name": "mon-1",
                "url": alertmanager["url"],
                "ssh": ssh,
                "configFile": alertmanager["configFile"],
                "tokensDirectory": alertmanager["tokensDir"],
                "checkConfigCommand": [alertmanager["amtool"], "check-config"],
            }
        ],
        "groupWait": "1s",
        "groupInterval": "5s",
        "repeatInterval": "10s",
    }
    spec["networks"] = [
        {
            "name": "frontend",
            "portGroup": "vlan-web",
            "cidr": net.network,
            "gateway": net.gateway,
            "reserved": [net.vip, *net.vms],
        }
    ]
    # An unassigned 127/8 address answers ICMP and refuses TCP.
    spec["addressProbes"] = {"methods": ["Inventory", "TCP"], "tcpPorts": [22, 80, 8080, 9100], "timeout": "1s"}
    spec["addressQuarantine"] = "30s"
    spec["tenants"][0]["networks"] = [{"name": "frontend", "ranges": [net.address(96) + "/27"]}]
    return document


def secrets(run: Run) -> list[Json]:
    """The Secrets of this run; handed to kubectl on stdin, never written to a file."""
    filled = copy.deepcopy(sample("secrets"))
    for document in filled:
        values = run.users[document["metadata"]["name"]]
        document["data"] = {key: base64.b64encode(values[key].encode()).decode() for key in document.pop("stringData")}
    return filled


def policy(run: Run) -> Json:
    """The policy of the service `web`, with the lab's short timings."""
    document = copy.deepcopy(sample("autoscalingpolicy")[0])
    spec, net = document["spec"], run.subnet
    spec["monitoring"] |= {"cpuThreshold": 80, "window": "5s", "duration": "3s"}
    spec["scaling"] |= {"maxInstances": 4, "minInstances": 2, "cooldownPeriod": "30s"}
    spec["f5"] |= {"vip": net.vip, "healthCheckPath": "/healthz"}
    spec["network"]["ipPool"] = {"start": net.range_start, "end": net.range_end, "subnet": net.network}
    spec["timeouts"] = {"clone": "60s", "boot": "60s", "health": "30s", "member": "30s", "drain": "15s"}
    return document


def template() -> Json:
    """The VmTemplate."""
    return sample("vmtemplate")[0]
