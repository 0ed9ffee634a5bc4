"""Tests of a group run in one process, in their order: what a file's tests share is started once."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from tests import groups


class Node:
    """A process of xdist's, as its scheduler sees it."""

    def __init__(self, name: str) -> None:
        self.gateway = SimpleNamespace(id=name)
        self.shutting_down = False
        self.given: list[int] = []

    def send_runtest_some(self, indices: list[int]) -> None:
        self.given += indices

    def shutdown(self) -> None:
        self.shutting_down = True


TESTS = [
    *(f"tests/e2e/test_{name}.py::test_{number}" for name in ("loop", "crash") for number in range(3)),
    *(f"tests/contract/test_crds.py::test_a[{number}]" for number in range(5)),
    "tests/contract/test_rbac.py::test_a",
    *(f"{groups.LABCTL}::test_{number}" for number in range(4)),
    *(f"tests/contract/test_{name}.py::Test{kind}::test[a::b]" for name in ("one", "two") for kind in ("A", "B")),
]


def _item(path: str, *fixtures: str) -> Any:
    return SimpleNamespace(nodeid=f"{path}::test_a", fixturenames=fixtures)


def _config(dist: str) -> Any:
    return SimpleNamespace(getvalue={"dist": dist, "tx": ["popen"] * 2}.get, option=SimpleNamespace())


def test_a_group_is_one_process_s() -> None:
    scheduler, nodes = groups.Groups(_config("loadgroup")), [Node("gw0"), Node("gw1")]
    for node in nodes:
        scheduler.add_node(node)  # type: ignore[arg-type]
        scheduler.add_node_collection(node, TESTS)  # type: ignore[arg-type]
    scheduler.schedule()
    done = [0, 0]
    while scheduler.has_pending:
        # The first is the slow one: it ends a test where the other has no more.
        which = 1 if done[1] < len(nodes[1].given) else 0
        scheduler.mark_test_complete(nodes[which], nodes[which].given[done[which]])  # type: ignore[arg-type]
        done[which] += 1
    assert sorted(nodes[0].given + nodes[1].given) == list(range(len(TESTS)))
    by_group: dict[str, set[str]] = {}
    for node in nodes:
        ran = [groups.group_of(TESTS[index]) for index in node.given]
        assert list(dict.fromkeys(ran)) == [group for number, group in enumerate(ran) if number == 0 or ran[number - 1] != group], "mixed"
        for group in ran:
            by_group.setdefault(group, set()).add(node.gateway.id)
    assert all(len(where) == 1 for where in by_group.values()), by_group
    assert set(by_group) == {"cluster", groups.LABCTL, "tests/contract/test_one.py", "tests/contract/test_two.py"}


def test_xdist_asks_for_ours(request: pytest.FixtureRequest) -> None:
    ask = request.config.pluginmanager.hook.pytest_xdist_make_scheduler
    assert isinstance(ask(config=_config("loadgroup"), log=None), groups.Groups)
    assert not isinstance(ask(config=_config("no"), log=None), groups.Groups)


@pytest.mark.parametrize("alone", [True, False])
def test_the_cluster_is_looked_at_before_the_end_to_end_tests_leave_things_there(alone: bool) -> None:
    crds, loop, labctl, flows = (
        groups.rank(_item(path), alone=alone)
        for path in ("tests/contract/test_crds.py", "tests/e2e/test_loop.py", groups.LABCTL, "tests/flows/test_one.py")
    )
    assert crds < loop
    assert crds == labctl == flows if alone else loop < labctl < flows, "the longest first where there are several processes"


def test_a_suite_that_uses_the_control_plane_must_be_named() -> None:
    item = _item("tests/contract/test_new.py", "control_plane")
    with pytest.raises(pytest.UsageError, match=r"tests/groups\.py"):
        groups.checked(item)
    assert (
        groups.checked(_item("tests/contract/test_crds.py", "control_plane"))
        == groups.checked(_item("tests/e2e/test_loop.py", "control_plane"))
        == "cluster"
    )
