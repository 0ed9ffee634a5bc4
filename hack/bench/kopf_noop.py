"""The base of `bench.reconcile`: the smallest kopf operator that people write. `python -m bench.kopf_noop`; KUBECONFIG says where.

An empty event handler, and one handler for create and update that writes one status field. kopf's own defaults, but no Events.
"""

from __future__ import annotations

import asyncio
from typing import Any

import kopf

from lab.process import die_with_parent

KIND = ("vmscaler.io", "v1alpha1", "autoscalingpolicies")


@kopf.on.startup()
def configure(settings: kopf.OperatorSettings, **_: Any) -> None:
    """The product sends no Events of this sort either, and looks at no other kinds."""
    settings.posting.enabled = False
    settings.scanning.disabled = True


@kopf.on.login()
def login(**kwargs: Any) -> Any:
    """From KUBECONFIG."""
    return kopf.login_with_kubeconfig(**kwargs)


@kopf.on.event(*KIND)
def seen(**_: Any) -> None:
    """Nothing."""


@kopf.on.create(*KIND)
@kopf.on.update(*KIND)
def changed(meta: kopf.Meta, patch: kopf.Patch, **_: Any) -> None:
    """One status field."""
    patch.status["observedGeneration"] = meta["generation"]


if __name__ == "__main__":
    die_with_parent()
    kopf.configure()
    asyncio.run(kopf.operator(clusterwide=True, standalone=True))
