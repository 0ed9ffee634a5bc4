"""The command line as a person meets it: its help, and what it says where something is wrong."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lab.cli import app as labctl
from vmscaler.entry import cli
from vmscaler.ports.errors import NotFound


class _Nothing:
    async def get(self, kind: object, name: str, namespace: str | None) -> object:
        raise NotFound("kubernetes", "NotFound", f"GET /apis/{name}: not found")


@pytest.mark.parametrize("app", [cli.app, labctl])
def test_no_line_of_the_list_of_commands_is_cut(app: object) -> None:
    shown = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "80"}).output  # type: ignore[arg-type]
    _, found, commands = shown.partition("Commands:")
    assert found
    assert "..." not in commands


@pytest.mark.parametrize(("words", "kind"), [(["explain", "web"], "AutoscalingPolicy"), (["events", "web"], "ScaleOutEvent")])
def test_what_is_not_there_is_told_in_words(words: list[str], kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class _Clock:
        def now(self) -> None: ...

    @contextlib.asynccontextmanager
    async def with_clock(path: Path, context: str | None) -> AsyncIterator[tuple[_Nothing, _Clock]]:
        yield _Nothing(), _Clock()

    monkeypatch.setattr(cli, "reader", with_clock)
    config = tmp_path / "config"
    config.touch()
    result = CliRunner().invoke(cli.app, [*words, "-n", "acme", "--kubeconfig", str(config)])
    assert result.exit_code == 1
    assert f"there is no {kind} 'web' in namespace 'acme'" in result.output
    assert "/apis/" not in result.output


def test_a_fault_beside_heal_is_refused() -> None:
    result = CliRunner().invoke(labctl, ["fault", "--heal", "bigip", "hang=true"])
    assert (result.exit_code, "name no faults" in result.output) == (64, True)
