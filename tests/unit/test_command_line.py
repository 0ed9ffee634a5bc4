"""The command line as a person meets it: its help, and what it says where something is wrong."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from lab.cli import app as labctl
from vmscaler.entry import cli
from vmscaler.ports.errors import NotFound, Untrusted


class _Nothing:
    """A Reader of an empty API server."""

    @property
    def kube(self) -> _Nothing:
        return self

    @property
    def clock(self) -> _Nothing:
        return self

    def now(self) -> None: ...

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
    @contextlib.asynccontextmanager
    async def empty(path: Path, context: str | None) -> AsyncIterator[_Nothing]:
        yield _Nothing()

    monkeypatch.setattr(cli, "reader", empty)
    config = tmp_path / "config"
    config.touch()
    result = CliRunner().invoke(cli.app, [*words, "-n", "acme", "--kubeconfig", str(config)])
    assert result.exit_code == 1
    assert f"there is no {kind} 'web' in namespace 'acme'" in result.output
    assert "/apis/" not in result.output


@pytest.mark.parametrize("text", ["broken", "{}", "- a\n- b", "clusters: 3", "a: b: c", "\tx", "contexts: [{name: a}]\ncurrent-context: a"])
def test_a_file_that_is_no_kubeconfig_is_told_in_words(text: str, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(text)
    result = CliRunner().invoke(cli.app, ["explain", "acme/web", "--kubeconfig", str(config)])
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.output.startswith(f"vmscaler: kubernetes: {config}")
    assert len(result.output.splitlines()) <= 2


def test_several_kubeconfigs_as_kubectl_has_them(tmp_path: Path) -> None:
    (tmp_path / "one").write_text("broken")
    several = f"{tmp_path / 'none'}:{tmp_path / 'one'}"
    result = CliRunner().invoke(cli.app, ["explain", "acme/web"], env={"KUBECONFIG": several})
    assert (result.exit_code, "there is no kubeconfig" in result.output) == (1, False)
    result = CliRunner().invoke(cli.app, ["explain", "acme/web"], env={"KUBECONFIG": str(tmp_path / "none")})
    assert (result.exit_code, "there is no kubeconfig" in result.output) == (64, True)


def test_a_tenant_that_asks_for_all_events_is_told_how_to_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    class _Tenant(_Nothing):
        async def list_objects(self, kind: object, namespace: str | None) -> object:
            raise Untrusted("kubernetes", "Forbidden", f"cannot list in {namespace}")

    @contextlib.asynccontextmanager
    async def tenant(path: Path, context: str | None) -> AsyncIterator[_Tenant]:
        yield _Tenant()

    monkeypatch.setattr(cli, "reader", tenant)
    config = tmp_path / "config"
    config.touch()
    result = CliRunner().invoke(cli.app, ["events", "--kubeconfig", str(config)])
    assert (result.exit_code, "vmscaler events -n NAMESPACE" in result.output) == (1, True)
    result = CliRunner().invoke(cli.app, ["events", "-n", "other", "--kubeconfig", str(config)])
    assert (result.exit_code, "cannot list in other" in result.output) == (1, True)


def test_a_fault_beside_heal_is_refused() -> None:
    result = CliRunner().invoke(labctl, ["fault", "--heal", "bigip", "hang=true"])
    assert (result.exit_code, "name no faults" in result.output) == (64, True)
