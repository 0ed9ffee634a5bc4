"""What a Site grants: each refusal names what to add and where."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmscaler.api.site import Tenant
from vmscaler.decide.addresses import Refusal
from vmscaler.decide.grants import folder_granted, pool_granted, refusals, tenant_of

TENANT = Tenant.model_validate(
    {
        "namespaces": ["acme", "acme-test"],
        "folders": ["/DC0/vm/templates", "/DC0/vm/vmscaler/acme"],
        "networks": [{"name": "front", "ranges": ["192.0.2.96/27"]}],
        "pools": ["/Common/pool-web", "/Acme/pool-*", "bare"],
        "maxInstances": 10,
    }
)
ASKED: dict[str, Any] = {
    "site": "default",
    "pool": "/Common/pool-web",
    "network": "front",
    "start": "192.0.2.100",
    "end": "192.0.2.119",
    "folders": ["/DC0/vm/vmscaler/acme/web", "/DC0/vm/templates/tmpl-web"],
    "job": "autoscale-acme-web",
    "max_instances": 4,
}


def test_the_tenant_of_a_namespace() -> None:
    assert tenant_of("acme-test", [TENANT], "default") is TENANT
    refusal = tenant_of("other", [TENANT], "default")
    assert isinstance(refusal, Refusal) and refusal.reason == "NamespaceNotGranted"
    assert "namespaces: [other]" in refusal.message and "'default'" in refusal.message
    assert isinstance(tenant_of("acme", [], "default"), Refusal)
    assert isinstance(tenant_of("", [TENANT], "default"), Refusal)


def test_all_is_granted() -> None:
    assert refusals(TENANT, **ASKED) is None
    assert refusals(TENANT, **{**ASKED, "network": None, "folders": []}) is None  # not known yet


@pytest.mark.parametrize(
    ("change", "reason", "words"),
    [
        ({"pool": "/Common/pool-other"}, "PoolNotGranted", "add it to pools"),
        ({"end": "192.0.2.128"}, "RangeNotGranted", "add it to networks"),
        ({"network": "back"}, "RangeNotGranted", "'back'"),
        ({"folders": ["/DC0/vm/vmscaler/acme/web", "/DC0/vm/other/tmpl"]}, "FolderNotGranted", "/DC0/vm/other/tmpl"),
        ({"folders": ["/DC0/vm/vmscaler/acme2"]}, "FolderNotGranted", "add its folder to folders"),
        ({"job": "deploy-web"}, "JobNameNotGranted", "'autoscale-'"),
        ({"max_instances": 11}, "CapExceeded", "above the grant's 10"),
    ],
)
def test_what_is_not_granted(change: dict[str, Any], reason: str, words: str) -> None:
    refusal = refusals(TENANT, **{**ASKED, **change})
    assert refusal is not None and refusal.reason == reason
    assert words in refusal.message and ("spec.tenants" in refusal.message)


@pytest.mark.parametrize(
    ("pool", "granted"),
    [
        ("/Common/pool-web", True),
        ("/Common/pool-web2", False),
        ("/Common/pool-we", False),
        ("/common/pool-web", False),
        ("/Acme/pool-", True),
        ("/Acme/pool-shop", True),
        ("/Acme/pool-x/secret", False),  # a folder is no rest of a name
        ("/Acme/poo", False),
        ("/Common/bare", True),
        ("/Other/bare", False),
    ],
)
def test_pools(pool: str, granted: bool) -> None:
    assert pool_granted(TENANT, pool) is granted


def test_a_lone_star_is_one_folders_pools() -> None:
    tenant = Tenant(namespaces=["acme"], pools=["/Acme/*"])
    assert pool_granted(tenant, "/Acme/x") and not pool_granted(tenant, "/Acme/x/y") and not pool_granted(tenant, "/Common/x")
    assert pool_granted(Tenant(namespaces=["acme"], pools=["*"]), "/Common/x")
    assert not pool_granted(Tenant(namespaces=["acme"], pools=["*"]), "/Acme/x")


@given(st.text(alphabet="/abc.%", max_size=12))
def test_folders_end_at_a_slash(rest: str) -> None:
    tenant = Tenant(namespaces=["acme"], folders=["/DC0/vm/acme"])
    assert folder_granted(tenant, "/DC0/vm/acme" + rest) == (rest == "" or rest.startswith("/"))
    assert not folder_granted(Tenant(namespaces=["acme"]), "/DC0/vm/acme" + rest)
