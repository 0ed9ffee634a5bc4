"""`vmscaler explain` as it is printed, page by page; --update-golden writes tests/golden/explain anew."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from tests.fakes import standings
from typer.testing import CliRunner, Result

from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.scaleevent import ScaleOutEvent
from vmscaler.api.site import Site
from vmscaler.bootstrap import Reader
from vmscaler.decide.heartbeat import Heartbeat
from vmscaler.decide.standing import Seen
from vmscaler.entry import cli
from vmscaler.ports.errors import NotFound, Untrusted


class _Kube:
    """What was seen, as an API server tells it; `forbidden` kinds may not be read."""

    def __init__(self, seen: Seen, forbidden: tuple[str, ...] = ()) -> None:
        self._seen, self._forbidden = seen, forbidden

    async def get(self, kind: type[Any], name: str, namespace: str | None = None) -> Any:
        self._may(kind.KIND)
        found = {AutoscalingPolicy: self._seen.policy, ScaleOutEvent: self._seen.event, Site: self._seen.site}[kind]
        if found is None or found.metadata.name != name:
            raise NotFound("kubernetes", "NotFound", f"{name}: not found")
        assert found.metadata.namespace == namespace
        return found

    async def list_objects(self, kind: type[Any], namespace: str | None = None, *, labels: dict[str, str] | None = None) -> list[Any]:
        self._may(kind.KIND)
        assert (namespace, labels) == ("acme", {"vmscaler.io/policy-uid": "uid-web"})
        return list(self._seen.instances)

    async def heartbeat(self, namespace: str) -> Heartbeat:
        self._may("Lease")
        assert self._seen.operator is not None and namespace == "vmscaler-system"
        return self._seen.operator

    def _may(self, kind: str) -> None:
        if kind in self._forbidden:
            raise Untrusted("kubernetes", "Forbidden", "cannot get")


class _Clock:
    def now(self) -> datetime:
        return standings.NOW


@pytest.fixture
def explained(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Result]:
    monkeypatch.delenv("COLUMNS", raising=False)

    def run(seen: Seen, *words: str, forbidden: tuple[str, ...] = ()) -> Result:
        kube: Any = _Kube(seen, forbidden)
        clock: Any = _Clock()

        @contextlib.asynccontextmanager
        async def reading(path: Path, context: str | None) -> AsyncIterator[Reader]:
            yield Reader(kube, clock, kube.heartbeat)

        monkeypatch.setattr(cli, "reader", reading)
        config = tmp_path / "config"
        config.touch()
        return CliRunner().invoke(cli.app, ["explain", *(words or ("acme/web",)), "--kubeconfig", str(config)])

    return run


@pytest.mark.parametrize("name", standings.PAGES)
def test_pages(name: str, explained: Callable[..., Result], golden: Callable[[str, str], None]) -> None:
    result = explained(standings.PAGES[name]())
    assert result.exit_code == 0, result.output
    assert max(len(line) for line in result.output.splitlines()) <= 120
    assert not any(line != line.rstrip() for line in result.output.splitlines())
    golden(f"explain/{name}.txt", result.output)


def test_a_tenant_is_told_what_it_may_not_see(explained: Callable[..., Result]) -> None:
    result = explained(standings.running(), forbidden=("Site", "Lease"))
    assert result.exit_code == 0, result.output
    assert "not seen  Site default: this account may not read it" in result.output
    assert "the operator's Lease in vmscaler-system: this account may not read it" in result.output
    assert "a scale-out runs" in result.output


def test_a_policy_by_its_key_or_by_name_and_namespace(explained: Callable[..., Result]) -> None:
    pages = [explained(standings.idle(), *words).output for words in (["acme/web"], ["web", "-n", "acme"], ["acme/web", "-n", "acme"])]
    assert len(set(pages)) == 1
    assert explained(standings.idle(), "acme/web", "-n", "other").exit_code == 64


def test_what_objects_hold_moves_no_cursor(explained: Callable[..., Result]) -> None:
    seen = standings.backing_off()
    assert seen.event is not None
    seen.event.status.message = "a\x1b[2Jb\rc\u202ed[red]e"
    output = explained(seen).output
    assert "a?[2Jb?c?d[red]e" in output
