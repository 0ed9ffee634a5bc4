"""The command line: run, events, explain. Everything that it prints of resources is plain text to the terminal, never markup."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from vmscaler import __version__, settings
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.meta import Resource
from vmscaler.api.scaleevent import ScaleOutEvent
from vmscaler.bootstrap import reader
from vmscaler.decide import explain as words
from vmscaler.entry.logs import configure_logs
from vmscaler.entry.run import run as run_operator
from vmscaler.ports.clock import Clock
from vmscaler.ports.errors import NotFound, OutsideError
from vmscaler.ports.kube import Kube

R = TypeVar("R", bound=Resource[Any, Any])

app = typer.Typer(
    name="vmscaler",
    help="Auto-scaling for services on vSphere VMs behind a BIG-IP.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Kubeconfig = Annotated[
    Path | None,
    typer.Option("--kubeconfig", envvar="KUBECONFIG", help="The kubeconfig to read with; default ~/.kube/config.", show_default=False),
]
Context = Annotated[
    str | None, typer.Option("--context", help="A context of the kubeconfig; default: its current one.", show_default=False)
]
Namespace = Annotated[str, typer.Option("--namespace", "-n", help="The customer's namespace.")]


def _version(show: bool) -> None:
    if show:
        typer.echo(f"vmscaler {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")] = False,
) -> None:
    """Auto-scaling for services on vSphere VMs behind a BIG-IP."""


@app.command()
def run() -> None:
    """Be the operator.

    It is configured by VMSCALER_* variables (docs/settings.md) and stops on SIGTERM.
    """
    try:
        chosen = settings.from_environment()
    except settings.SettingsError as error:
        _fail(str(error), code=64)
    configure_logs(chosen.log_level, chosen.log_format)
    try:
        asyncio.run(run_operator(chosen))
    except (OutsideError, FileNotFoundError) as error:
        _fail(f"cannot start: {error}")


@app.command()
def events(
    namespace: Annotated[str | None, typer.Option("--namespace", "-n", help="One namespace; default: all.", show_default=False)] = None,
    name: Annotated[str | None, typer.Argument(help="One event, with its actions (needs --namespace).", show_default=False)] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """List scale events, or show one with its actions.

    The list begins with the newest. One event shows every action, how long it took and what came of it.
    """
    if name is not None and namespace is None:
        _fail("an event's name needs --namespace: vmscaler events -n NAMESPACE NAME", code=64)

    async def read(kube: Kube, clock: Clock) -> None:
        now = clock.now()
        if name is not None:
            event = await _found(kube, ScaleOutEvent, name, namespace)
            _print_event(event, words.event_rows([event], now))
            return
        found = await kube.list_objects(ScaleOutEvent, namespace)
        if not found:
            typer.echo("no scale events" + (f" in namespace {namespace}" if namespace else ""))
            return
        columns = ("NAMESPACE", "EVENT", "PHASE", "STAGE", "INSTANCES", "BUILD", "DURATION", "STARTED", "WHY")
        _table(columns, words.event_rows(found, now))

    _with_kube(read, kubeconfig, context)


@app.command()
def explain(
    policy: Annotated[str, typer.Argument(help="The AutoscalingPolicy's name.")],
    namespace: Namespace = "default",
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Say where a policy stands, and why.

    It shows what is not in place, how many instances serve, and how and why the last claims of builds were answered.
    """

    async def read(kube: Kube, clock: Clock) -> None:
        found = await _found(kube, AutoscalingPolicy, policy, namespace)
        now = clock.now()
        typer.echo(f"policy {found.key}")
        for line in words.state_lines(found, now):
            typer.echo(f"  {line}")
        decisions = found.status.claim.decisions if found.status.claim else []
        if decisions:
            typer.echo()
            _table(("LAST", "ANSWER", "REASON", "BUILD", "WHY"), words.decision_rows(decisions, now))

    _with_kube(read, kubeconfig, context)


async def _found(kube: Kube, kind: type[R], name: str, namespace: str | None) -> R:
    try:
        return await kube.get(kind, name, namespace)
    except NotFound:
        _fail(
            f"there is no {kind.KIND} {name!r} in namespace {namespace!r}: `kubectl get {kind.SHORT} -A` lists what there is (-n says where)"
        )


def _with_kube(read: Callable[[Kube, Clock], Awaitable[None]], kubeconfig: Path | None, context: str | None) -> None:
    path = kubeconfig or Path.home() / ".kube" / "config"
    if not path.is_file():
        _fail(f"there is no kubeconfig at {path}: name one with --kubeconfig, or set KUBECONFIG", code=64)

    async def main() -> None:
        async with reader(path, context) as (kube, clock):
            await read(kube, clock)

    try:
        asyncio.run(main())
    except NotFound as error:
        _fail(error.message)
    except OutsideError as error:
        _fail(str(error))


def _print_event(event: ScaleOutEvent, rows: Sequence[Sequence[str]]) -> None:
    spec, status = event.spec, event.status
    typer.echo(f"{event.key}: {status.phase.value}, {rows[0][4]} instances, {status.duration or 'running'}")
    cause = spec.cause
    typer.echo(f"  when   {words.when(event)}")
    typer.echo(f"  why    {cause.alert} {cause.summary}".rstrip())
    typer.echo(f"  build  {spec.build.number} of {spec.build.job} {spec.build.url}".rstrip())
    if status.reason:
        typer.echo(f"  result {status.reason}: {status.message}")
    if status.rollback is not None:
        typer.echo(
            f"  rolled back: {status.rollback.message or 'not yet; kubectl describe vmi -n ' + (event.metadata.namespace or '') + ' says what it waits for'}"
        )
    typer.echo()
    _table(("ACTION", "BEGAN", "STATE", "TOOK", "RESULT"), words.action_rows(event))


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column not in ("WHY", "RESULT"))
    for row in rows:
        table.add_row(*(Text(_clean(cell)) for cell in row))
    # A pipe has no width: lines stay whole for grep.
    Console(file=sys.stdout, width=None if sys.stdout.isatty() else 400, highlight=False, soft_wrap=False).print(table)


def _clean(text: str) -> str:
    """What came from outside cannot move the cursor or colour the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _fail(message: str, code: int = 1) -> NoReturn:
    typer.echo(f"vmscaler: {_clean(message)}", err=True)
    raise typer.Exit(code)


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
