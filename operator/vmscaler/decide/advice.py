"""What to do next, for each way in which a policy may stand: the end of what `vmscaler explain` prints. Pure; called by entry/cli.py.

The messages of conditions and decisions say themselves what to mend; here is where to look, and what waits for nobody.
"""

from __future__ import annotations

from dataclasses import replace

from vmscaler.api import conditions as c
from vmscaler.api.scaleevent import EventPhase
from vmscaler.api.site import Site
from vmscaler.decide.conditions import find
from vmscaler.decide.standing import Seen, refusal, stuck, wrong


def advice(seen: Seen, operator_namespace: str) -> list[str]:
    """One sentence each, the most urgent first."""
    policy, active = seen.policy, seen.claim.active
    namespace = policy.customer
    found = []
    down = seen.operator is not None and not seen.operator.runs(seen.now)
    if down:
        found.append(
            f"start the operator: kubectl get pods -n {operator_namespace}; kubectl logs -n {operator_namespace} deploy/vmscaler-operator"
        )
        found.append("builds wait for it and are asked again; nothing is done twice")
    removals = (find(vmi.status.conditions, c.REMOVED) for vmi in seen.instances if vmi.deleting)
    if any(removal is not None and removal.reason == "MassDeletion" for removal in removals):
        found.append("many instances are being deleted and held: docs/operations.md, A brake on mass deletion")
    if active is not None:
        found += _while_active(seen, active.event, active.build.number)
    if wrong(seen):
        found.append("mend what is not True: its message says how, docs/conditions.md has each reason; it is looked at again by itself")
    if active is None and not policy.deleting and not down:
        found += _while_idle(seen)
    if policy.deleting:
        found.append(f"what its instances wait for: kubectl describe vmi -n {namespace}")
    return found


def _while_active(seen: Seen, name: str, build: int) -> list[str]:
    namespace = seen.policy.customer
    if seen.event is not None and seen.event.status.phase == EventPhase.ROLLING_BACK:
        return [
            f"wait for the clean-up; what it waits for: kubectl describe vmi -n {namespace} {' '.join(seen.event.spec.instances)}",
            f"what failed: vmscaler events {namespace}/{name}",
        ]
    found = [f"each action and what came of it: vmscaler events {namespace}/{name}"]
    if stuck(seen):
        found.insert(
            0, f"longer than its build may take: is build {build} still there? If not: docs/operations.md, An event that stays Running"
        )
    else:
        found.append(f"to stop it, abort build {build} in Jenkins: all that was made is rolled back")
    return found


def _while_idle(seen: Seen) -> list[str]:
    policy, state, no = seen.policy, seen.claim, refusal(seen)
    namespace, name = policy.customer, policy.metadata.name
    found = []
    if state.failures and state.last_event:
        found.append(f"why the last one failed: vmscaler events {namespace}/{state.last_event}")
    match no.reason if no else "":
        case "Cooldown" | "BackingOff":
            found.append(
                "it ends by itself: Alertmanager repeats its call while the alert fires, and the first claim after it is looked at"
            )
            if then := refusal(replace(seen, now=state.cooldown_until or seen.now)):
                found.append(f"but then, as things stand: {then.reason}: {then.message}")
        case "AtMaximum":
            found.append(f"if the service needs more: kubectl edit asp -n {namespace} {name} (spec.scaling.maxInstances), or your Git")
        case "":
            found += _is_it_called(seen)
    return found


def _is_it_called(seen: Seen) -> list[str]:
    if seen.site is None:
        return [
            "does the alert fire? Ask Prometheus (/alerts) and Alertmanager; if it does and no build starts, look at Alertmanager's log"
        ]
    prometheus, alertmanager, job = _urls(seen.site, seen)
    return [
        f"does the alert fire? {prometheus} and {alertmanager}",
        f"it fires and no build starts: is the job there and enabled, what is in its queue? {job}; else Alertmanager's log",
    ]


def _urls(site: Site, seen: Seen) -> tuple[str, str, str]:
    spec, provisioned = site.spec, seen.policy.status.provisioned
    job = f"job/{provisioned.job}/" if provisioned is not None and provisioned.job else ""
    return (
        f"{spec.prometheus.hosts[0].url.rstrip('/')}/alerts",
        f"{spec.alertmanager.hosts[0].url.rstrip('/')}/#/alerts",
        f"{spec.jenkins.url.rstrip('/')}/{job}",
    )
