"""What to try while a data centre is left running. Called by the demo with --keep and by `up`."""

from __future__ import annotations

import os
from pathlib import Path

from rich.console import Console
from rich.text import Text

from lab.attached import Attached
from lab.demo.plain import clean
from lab.demo.watch import NAMESPACE, POLICY, SERVICE
from lab.resources import OPERATOR_NAMESPACE

ROOT = Path(__file__).resolve().parents[3]


def try_it(console: Console, lab: Attached, event: str = "") -> None:
    """Print it."""
    for title, lines in sections(lab, event):
        console.print()
        console.print(Text(title, "bold"))
        for line in lines:
            console.print(Text(clean("  " + line)), soft_wrap=True)


def sections(lab: Attached, event: str = "") -> list[tuple[str, list[str]]]:
    """Headings with their lines; paths as they are from here."""
    ctl, bin_, kubeconfig = shown(ROOT / "hack" / "labctl"), shown(ROOT / ".venv" / "bin"), shown(lab.home.kubeconfig)
    monitoring, jenkins = lab.state["monitoring"], lab.state["jenkins"]["url"]
    prefix, _, number = event.rpartition("-")
    coming = f"{prefix}-{int(number) + 1}-*" if number.isdecimal() else f"{POLICY}-*-1-*"  # the VMs of the next event
    event = event or f"{POLICY}-..."
    instance = f"{event}-1"
    # The commands find the data centre in the usual folder; another one has to be named.
    at = "" if lab.home.folder == ROOT / ".lab" / "demo" else f" --folder {shown(lab.home.folder)}"
    return [
        (
            "Look",
            [
                f"export KUBECONFIG={lab.home.kubeconfig}",
                f"{bin_}/kubectl get site,vmt,asp,vmi,ipl,soe -A",
                f"{bin_}/kubectl explain asp.spec.scaling",
                f"{bin_}/vmscaler explain {NAMESPACE}/{POLICY}     # why it does nothing, or what it does, and what to do",
                f"{bin_}/vmscaler events {NAMESPACE}/{event}",
                f"{ctl} console{at}     # what Jenkins shows of the last build",
                f"{ctl} status{at}     # what runs where, and its logs",
                f"diff {shown(lab.home.people / 'alertmanager.yml')} {shown(Path(monitoring['alertmanager']['configFile']))}",
            ],
        ),
        (
            "Where",
            [
                f"users         {lab.state['vip']}",
                f"Prometheus    {monitoring['prometheus']['url']}/alerts",
                f"Alertmanager  {monitoring['alertmanager']['url']}",
                f"Jenkins       {jenkins}job/autoscale-{NAMESPACE}-{SERVICE}/  (its API; it has no pages for a browser)",
                f"vCenter       {lab.parts['vcenter']['url']}",
                f"BIG-IP        {lab.parts['bigip']['url']}",
                f"logins        {bin_}/kubectl get secret -n {OPERATOR_NAMESPACE} vcenter-credentials -o yaml  (bigip-, jenkins-)",
                f"kubeconfig    {kubeconfig}",
                f"the samples as they were applied: {shown(lab.home.manifests)}/",
            ],
        ),
        (
            "Try",
            [
                f"{ctl} load 150{at}     # raise the load: another VM, up to maxInstances",
                f"{ctl} load 40{at}",
                f"{ctl} fault{at}     # the fault switches of every part",
                f"{ctl} fault guests healthFails='{coming}'{at}     # the next VM fails its health check: a rollback",
                f"{ctl} fault bigip http_503=true{at}     # the BIG-IP is restarting",
                f"{ctl} fault --heal{at}",
                f"{bin_}/kubectl delete vmi -n {NAMESPACE} {instance}     # drains, leaves the pool, destroys, frees the address",
                f"{bin_}/kubectl delete asp -n {NAMESPACE} {POLICY}     # rule, route, receiver, job go; VMs stay in service",
                f"{bin_}/kubectl apply -f {shown(lab.home.manifests / '3-autoscalingpolicy.yaml')}",
            ],
        ),
        ("Stop", ["make demo-stop" if not at else f"{ctl} stop{at}"]),
    ]


def shown(path: Path) -> str:
    """Relative to where the person is, when it is below; else absolute."""
    try:
        found = path.absolute().relative_to(Path.cwd())
    except ValueError:
        return str(path)
    return str(found) if os.sep in str(found) else f"./{found}"
