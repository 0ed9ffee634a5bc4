"""Which tests run in one process, after each other, under `make test` (xdist's --dist loadgroup).

Called by tests/conftest.py. Every file is a group, since its fixtures live as long as it does; the end-to-end tests and the contract suites that use the
control plane are one, so that there is one control plane and one data centre for the whole run.

The scheduler is ours, since xdist hands its groups on in a private field of pytest's items that pytest 9.2 does not read any more: each test was
a group of its own, so each process started each file's fixtures, and the first test of a file in it met servers that had only begun to start
(https://github.com/pytest-dev/pytest-xdist/issues/1386).
"""

from __future__ import annotations

from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

LABCTL = "tests/e2e/test_labctl.py"  # starts a data centre of its own, and uses no other
# The suites that use the fixture control_plane; `checked` says so when one is missing.
CLUSTER = frozenset(
    f"tests/contract/test_{name}.py"
    for name in (
        "controlplane",
        "controlplane_access",
        "crd_hostile",
        "crd_refusals",
        "crds",
        "kube_lease",
        "operator_deploy",
        "port_kube",
        "rbac",
    )
)


def group_of(nodeid: str) -> str:
    """The group of a test."""
    path = nodeid.partition("::")[0]
    return "cluster" if path in CLUSTER or _end_to_end(path) else path


def checked(item: pytest.Item) -> str:
    """The group of a test. Raises UsageError when it uses the control plane and is not in the group that has one."""
    group = group_of(item.nodeid)
    if "control_plane" in getattr(item, "fixturenames", ()) and group != "cluster":
        raise pytest.UsageError(f"{item.nodeid} uses the control plane: add its file to CLUSTER in tests/groups.py")
    return group


def rank(item: pytest.Item, *, alone: bool) -> int:
    """Where a test stands in the order. Raises UsageError, as `checked`.

    The end-to-end tests come after the cluster's others, which look at what there is, while the Site and the policies of those stay. Of several
    processes one begins with that group, which takes the longest; `alone` one ends with it.
    """
    group, path = checked(item), item.nodeid.partition("::")[0]
    if alone:
        return int(_end_to_end(path))
    return int(_end_to_end(path)) if group == "cluster" else 2 if path == LABCTL else 3


def _end_to_end(path: str) -> bool:
    return path.startswith("tests/e2e/") and path != LABCTL


class Groups(LoadScopeScheduling):
    """Hands out whole groups, in the order in which they were collected."""

    def __init__(self, config: pytest.Config, log: Any = None) -> None:
        config.option.loadscopereorder = False  # by number of tests the longest would come last
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)
