"""The snapshot that a VmInstance is made with: every field from where it belongs, since clean-up has nothing else to go by."""

from __future__ import annotations

import pytest
from tests.fakes.samples import sample

from vmscaler.api.autoscalingpolicy import AutoscalingPolicy, BuildRef, Cause, Resolved
from vmscaler.api.meta import FINALIZER, Json, NameRef, ObjectMeta, PolicyRef
from vmscaler.api.scaleevent import ScaleEventSpec, ScaleEventStatus, ScaleOutEvent
from vmscaler.api.site import Site
from vmscaler.api.vminstance import VmInstance
from vmscaler.api.vmtemplate import VmTemplate
from vmscaler.decide.instance import wanted
from vmscaler.decide.marks import identity, marks


def policy(**spec: object) -> AutoscalingPolicy:
    def change(body: Json) -> None:
        body["metadata"]["uid"] = "uid-web"
        body["spec"].update(spec)

    return AutoscalingPolicy.parse(sample("autoscalingpolicy", change))


def made(asked: AutoscalingPolicy, resolved: Resolved | None = None, mo_ref: str | None = "vm-1") -> VmInstance:
    site = Site.parse(sample("site"))
    template = VmTemplate.parse({**sample("vmtemplate"), "status": {"moRef": mo_ref} if mo_ref else {}})
    spec = ScaleEventSpec(
        policy_ref=PolicyRef(namespace="acme", name="web", uid="uid-web"),
        site_ref=NameRef(name="default"),
        sequence=3,
        from_instances=2,
        to_instances=3,
        cause=Cause(),
        build=BuildRef(job="autoscale-acme-web", generation="g1", number=7),
        instances=["web-uidwe-3-1"],
    )
    event = ScaleOutEvent(metadata=ObjectMeta(name="web-uidwe-3", namespace="acme"), spec=spec, status=ScaleEventStatus())
    resolved = resolved or Resolved(pool="/Common/pool-web", member_port=8080)
    [network] = site.spec.networks
    return wanted("web-uidwe-3-1", policy=asked, resolved=resolved, site=site, network=network, template=template, event=event)


def test_every_field_of_the_snapshot() -> None:
    placement = {"folder": "/DC0/vm/shop", "resourcePool": "/DC0/host/C0/Resources/gold", "datastore": "ds-1", "customization": "linux"}
    monitoring = {"prometheusJob": "shop", "matchLabels": {"env": "p"}, "metricsPort": 9182, "exporter": "Windows"}
    asked = policy(
        placement=placement,
        monitoring=monitoring,
        f5={"poolName": "/Common/pool-web", "healthCheckPath": "/live"},
        timeouts={"clone": "7m", "drain": "9m"},
        service={"name": "shop"},
    )
    found = made(asked)
    assert (found.metadata.name, found.metadata.namespace, found.metadata.finalizers) == ("web-uidwe-3-1", "acme", [FINALIZER])
    assert found.metadata.labels == {"vmscaler.io/policy-uid": "uid-web", "vmscaler.io/event": "web-uidwe-3", "vmscaler.io/site": "default"}
    network = sample("site")["spec"]["networks"][0]
    del network["reserved"]  # what is not handed out matters to the allocation only, which reads it anew
    spec = found.spec.wire()
    timeouts = spec.pop("timeouts")
    assert (timeouts["clone"], timeouts["drain"]) == ("7m", "9m")
    assert spec == {
        "policyRef": {"namespace": "acme", "name": "web", "uid": "uid-web"},
        "siteRef": {"name": "default"},
        "eventRef": {"name": "web-uidwe-3"},
        "installation": "sample",
        "service": "shop",
        "vmName": "web-uidwe-3-1",
        "template": {"inventoryPath": "/DC0/vm/templates/tmpl-web", "moRef": "vm-1"},
        "placement": placement,
        "network": {**network, "start": "192.0.2.100", "end": "192.0.2.119"},
        "pool": {"name": "/Common/pool-web", "memberPort": 8080, "healthCheckPath": "/live"},
        "metrics": {"prometheusJob": "shop", "labels": {"env": "p"}, "port": 9182, "exporter": "Windows"},
    }


def test_a_folder_for_each_service_where_none_is_given() -> None:
    assert made(policy()).spec.placement.folder == "/DC0/vm/vmscaler/acme/web"


@pytest.mark.parametrize(
    ("resolved", "mo_ref"),
    [
        (Resolved(member_port=8080), "vm-1"),
        (Resolved(pool="/Common/pool-web"), "vm-1"),
        (Resolved(pool="/Common/pool-web", member_port=8080), None),
    ],
)
def test_nothing_is_made_of_what_is_not_resolved(resolved: Resolved, mo_ref: str | None) -> None:
    with pytest.raises(ValueError, match="acme/web is not resolved"):
        made(policy(), resolved, mo_ref)


def test_the_marks_by_which_a_vm_is_ours() -> None:
    """Literally: VMs carry them for years, and what is asked for must be what was written."""
    found = made(policy())
    expected = {"installation": "sample", "site": "default", "policy": "acme/web", "instance": "acme/web-uidwe-3-1"}
    assert identity(found) == expected and marks(found, "192.0.2.100") == {**expected, "address": "192.0.2.100"}
