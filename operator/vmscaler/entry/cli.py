"""The command line: run, events, explain. Everything that it prints of resources is plain text to the terminal, never markup."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import typer

from vmscaler import __version__, settings
from vmscaler.api.autoscalingpolicy import AutoscalingPolicy
from vmscaler.api.meta import Resource
from vmscaler.api.scaleevent import ScaleOutEvent
from vmscaler.api.site import Site
from vmscaler.api.vminstance import VmInstance
from vmscaler.bootstrap import Reader, reader
from vmscaler.decide import explain as words
from vmscaler.decide import standing
from vmscaler.decide.advice import advice
from vmscaler.decide.instance import POLICY_UID
from vmscaler.entry import show
from vmscaler.entry.logs import configure_logs
from vmscaler.entry.run import run as run_operator
from vmscaler.ports.errors import NotFound, OutsideError
from vmscaler.ports.kube import Kube

R = TypeVar("R", bound=Resource[Any, Any])
T = TypeVar("T")

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
    name: Annotated[
        str | None, typer.Argument(help="One event, with its actions: NAMESPACE/NAME, or NAME with --namespace.", show_default=False)
    ] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """List scale events, or show one with its actions.

    The list begins with the newest. One event shows every action, how long it took and what came of it.
    """
    if name is not None:
        namespace, name = _split(name, namespace)
        if namespace is None:
            _fail("an event's name needs its namespace: vmscaler events -n NAMESPACE NAME", code=64)

    async def read(reads: Reader) -> None:
        now = reads.clock.now()
        if name is not None:
            event = await _found(reads.kube, ScaleOutEvent, name, namespace)
            _print_event(event, words.event_rows([event], now))
            return
        try:
            found = await reads.kube.list_objects(ScaleOutEvent, namespace)
        except OutsideError as error:
            if namespace is None and error.reason == "Forbidden":
                _fail("this account may not list the events of all namespaces: name yours, vmscaler events -n NAMESPACE")
            raise
        if not found:
            typer.echo("no scale events" + (f" in namespace {namespace}" if namespace else ""))
            return
        columns = ("NAMESPACE", "EVENT", "PHASE", "STAGE", "INSTANCES", "BUILD", "DURATION", "STARTED", "WHY")
        show.table(columns, words.event_rows(found, now))

    _with_kube(read, kubeconfig, context)


@app.command()
def explain(
    policy: Annotated[str, typer.Argument(help="The AutoscalingPolicy: NAMESPACE/NAME, or NAME with --namespace.")],
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="The customer's namespace; default: default.", show_default=False)
    ] = None,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    operator_namespace: Annotated[str, typer.Option(help="Where the operator runs: its Lease says whether it lives.")] = "vmscaler-system",
) -> None:
    """Say why a policy does nothing, and what to do.

    It tells what is wrong, what a claim would be answered now, what runs and for how long, every condition that is not True, how and why the last
    claims were answered, and where to look next. It only reads, and only from the API server.
    """
    where, name = _split(policy, namespace)

    async def read(reads: Reader) -> None:
        found = await _found(reads.kube, AutoscalingPolicy, name, where or "default")
        unseen: list[str] = []
        seen = await _seen(reads, found, operator_namespace, unseen)
        show.sentence(f"{found.key}: {standing.headline(seen)}")
        typer.echo()
        show.pairs([*standing.rows(seen), *(("not seen", text) for text in unseen)])
        if wrong := standing.wrong(seen):
            typer.echo()
            show.table(("NOT TRUE", "STATUS", "WHY"), wrong, piped=show.PAGE)
        if hints := advice(seen, operator_namespace):
            typer.echo("\nNext")
            show.pairs([("-", hint) for hint in hints])
        if decisions := seen.claim.decisions:
            typer.echo()
            show.table(("LAST", "ANSWER", "REASON", "BUILD", "WHY"), words.decision_rows(decisions, seen.now), piped=show.PAGE)

    _with_kube(read, kubeconfig, context)


async def _seen(reads: Reader, policy: AutoscalingPolicy, operator_namespace: str, unseen: list[str]) -> standing.Seen:
    """The policy with what is round it. What the account may not read is left out and told in `unseen`."""

    async def may_fail(what: str, work: Awaitable[T]) -> T | None:
        try:
            return await work
        except NotFound:
            return None
        except OutsideError as error:
            unseen.append(f"{what}: {'this account may not read it' if error.reason == 'Forbidden' else error.message}")
            return None

    claim = policy.status.claim
    name = (claim.active.event if claim.active else claim.last_event) if claim else None
    event = await may_fail(f"event {name}", reads.kube.get(ScaleOutEvent, name, policy.customer)) if name else None
    mine = reads.kube.list_objects(VmInstance, policy.customer, labels={POLICY_UID: policy.uid})
    site = policy.spec.site_ref.name
    return standing.Seen(
        policy=policy,
        now=reads.clock.now(),
        event=event,
        instances=await may_fail("its VmInstances", mine) or (),
        site=await may_fail(f"Site {site}", reads.kube.get(Site, site)),
        operator=await may_fail(f"the operator's Lease in {operator_namespace}", reads.heartbeat(operator_namespace)),
    )


def _split(name: str, namespace: str | None) -> tuple[str | None, str]:
    """NAMESPACE/NAME as `kubectl get -A` and the operator's log write it, or NAME in `namespace`."""
    before, slash, after = name.partition("/")
    if not slash:
        return namespace, name
    if namespace is not None and namespace != before:
        _fail(f"{name} is in namespace {before}, but --namespace says {namespace}", code=64)
    return before, after


async def _found(kube: Kube, kind: type[R], name: str, namespace: str | None) -> R:
    try:
        return await kube.get(kind, name, namespace)
    except NotFound:
        _fail(
            f"there is no {kind.KIND} {name!r} in namespace {namespace!r}: `kubectl get {kind.SHORT} -A` lists what there is (-n says where)"
        )


def _with_kube(read: Callable[[Reader], Awaitable[None]], kubeconfig: Path | None, context: str | None) -> None:
    path = kubeconfig or Path.home() / ".kube" / "config"
    # As kubectl has it, KUBECONFIG may name several files; those that are not there are passed over.
    if not any(Path(one).is_file() for one in str(path).split(os.pathsep)):
        _fail(f"there is no kubeconfig at {path}: name one with --kubeconfig, or set KUBECONFIG", code=64)

    async def main() -> None:
        async with reader(path, context) as reads:
            await read(reads)

    try:
        asyncio.run(main())
    except NotFound as error:
        _fail(error.message)
    except OutsideError as error:
        _fail(str(error))


def _print_event(event: ScaleOutEvent, rows: Sequence[Sequence[str]]) -> None:
    spec, status = event.spec, event.status
    show.sentence(f"{event.key}: {status.phase.value}, {rows[0][4]} instances, {status.duration or 'running'}")
    cause = spec.cause
    lines = [
        ("when", words.when(event)),
        ("why", f"{cause.alert} {cause.summary}".rstrip()),
        ("build", f"{spec.build.number} of {spec.build.job} {spec.build.url}".rstrip()),
    ]
    if status.reason:
        lines.append(("result", f"{status.reason}: {status.message}"))
    if status.rollback is not None:
        waits = f"not yet; kubectl describe vmi -n {event.metadata.namespace} says what it waits for"
        lines.append(("rolled back", status.rollback.message or waits))
    show.pairs(lines, piped=show.WHOLE)
    typer.echo()
    show.table(("ACTION", "BEGAN", "STATE", "TOOK", "RESULT"), words.action_rows(event))


def _fail(message: str, code: int = 1) -> NoReturn:
    typer.echo(f"vmscaler: {show.clean(message)}", err=True)
    raise typer.Exit(code)


def main() -> None:
    """The console script."""
    app()


if __name__ == "__main__":
    main()
