"""`python -m lab`: the demo, and a data centre to try things in. `hack/labctl` calls it from anywhere."""

from __future__ import annotations

import asyncio
import contextlib
import io
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab import home as homes
from lab import serve as server
from lab import switches
from lab.attached import Attached, alive
from lab.demo import command, prepare, tryit
from lab.demo.faults import FAULTS
from lab.demo.plain import clean
from lab.demo.play import Plot
from lab.demo.watch import NAMESPACE, SERVICE
from lab.home import Home
from lab.kubectl import KubectlError, kubectl_env, kubectl_path
from lab.process import PartError, die_with_parent

app = typer.Typer(
    name="labctl",
    help="The embedded data centre: the demo, and a data centre to try things in.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
Folder = Annotated[
    Path, typer.Option("--folder", help="Where the run keeps its files and logs; default .lab/demo of the checkout.", show_default=False)
]
Kubeconfig = Annotated[
    Path | None,
    typer.Option(
        "--kubeconfig", help="Use an existing cluster: its kubeconfig; with --context. KUBECONFIG is never looked at.", show_default=False
    ),
]
Context = Annotated[str | None, typer.Option("--context", help="The context of that kubeconfig, by name.", show_default=False)]


@app.command()
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the data centre running at the end and print what to try.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="Plain lines, as without a terminal.")] = False,
    fault: Annotated[
        str | None, typer.Option("--fault", metavar="NAME", help=f"Watch a roll-back instead: {', '.join(FAULTS)}.", show_default=False)
    ] = None,
    folder: Folder = homes.DEFAULT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
) -> None:
    """Watch a service scale out.

    The load rises, a VM is made and joins the pool, the alert resolves. The exit status is 0 only if all of it was seen.
    With --fault the scale-out fails; then it is 0 only if it was rolled back and nothing is left.
    """
    _both(kubeconfig, context)
    if fault is not None and fault not in FAULTS:
        _fail(f"there is no story {fault!r} of a fault; there is {', '.join(FAULTS)}", 64)
    # What two VMs just serve: nothing comes to their help, and users should feel the scale-out's failure as little as possible.
    plot = Plot(fault=FAULTS[fault], raised=90.0) if fault else Plot()
    options = command.Options(Home(folder), keep=keep, plain=plain, kubeconfig=kubeconfig, context=context, plot=plot)
    try:
        status = asyncio.run(command.run(options))
    except (KeyboardInterrupt, asyncio.CancelledError):
        typer.echo("interrupted; everything is stopped", err=True)
        status = 130
    raise typer.Exit(status)


@app.command()
def up(folder: Folder = homes.DEFAULT, kubeconfig: Kubeconfig = None, context: Context = None) -> None:
    """Start a data centre and stay.

    With the operator and the samples, until Ctrl-C or `stop`.
    """
    _both(kubeconfig, context)
    home = Home(folder)

    async def main() -> None:
        await prepare.prepare(plain=not sys.stderr.isatty(), own_cluster=kubeconfig is None)
        serving = asyncio.create_task(server.serve(home, kubeconfig=kubeconfig, context=context, samples=True, ready=hint))
        await serving

    async def hint() -> None:
        async with Attached(home) as lab:
            tryit.try_it(Console(highlight=False, markup=False, emoji=False), lab)
            typer.echo("\nCtrl-C stops it.")

    _run(main)


@app.command(hidden=True)
def serve(
    folder: Folder = homes.DEFAULT,
    kubeconfig: Kubeconfig = None,
    context: Context = None,
    tied: Annotated[bool, typer.Option("--tied", help="End with the process that started this.")] = False,
) -> None:
    """What the demo starts in the background."""
    _both(kubeconfig, context)
    if tied:
        die_with_parent()
    _run(lambda: server.serve(Home(folder), kubeconfig=kubeconfig, context=context))


@app.command()
def status(folder: Folder = homes.DEFAULT) -> None:
    """Say what runs where, and its logs."""

    async def main() -> None:
        async with Attached(Home(folder)) as lab:
            console = Console(highlight=False, markup=False, emoji=False, width=None if sys.stdout.isatty() else 200)
            console.print(f"data centre in {lab.home.folder}, network {lab.state['subnet']}, process {lab.state['pid']}", soft_wrap=True)
            table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
            for title in ("PART", "PID", "STATE", "WHERE", "FAULTS", "LOG"):
                table.add_column(title, overflow="fold", no_wrap=title != "FAULTS")
            for name, part in lab.parts.items():
                faults = await lab.control(name, "GET", "/faults") if part["control"] and alive(part["pid"]) else {}
                on = ", ".join(switches.on(name, faults))
                where = lab.state["monitoring"]["prometheus"]["url"] if name == "monitoring" else part["url"]
                state = "running" if alive(part["pid"]) else "ENDED"
                row = (name, str(part["pid"]), state, where, on, tryit.shown(Path(part["log"])))
                table.add_row(*(Text(clean(cell)) for cell in row))
            console.print(table)
            console.print()
            console.print(Text((await lab.cluster.kubectl("get", "site,asp,vmi,soe", "-A")).rstrip()), soft_wrap=True)

    _run(main)


@app.command()
def fault(
    part: Annotated[str | None, typer.Argument(help="vcenter, guests, bigip, jenkins or monitoring.", show_default=False)] = None,
    faults: Annotated[list[str] | None, typer.Argument(metavar="NAME=VALUE...", help="The part's whole set.", show_default=False)] = None,
    heal: Annotated[bool, typer.Option("--heal", help="Switch everything off: of one part, or of all.")] = False,
    folder: Folder = homes.DEFAULT,
) -> None:
    """Switch faults on, or heal them.

    Without NAME=VALUE: show what there is and what is on. Examples:

    \b
      labctl fault guests die=web-1,web-2
      labctl fault bigip latency_s=2
      labctl fault monitoring prometheus=down
      labctl fault --heal
    """

    async def main() -> None:
        async with Attached(Home(folder)) as lab:
            names = [part] if part else list(switches.KNOWN)
            if heal or faults:
                for name in names:
                    await lab.control(name, "PUT", "/faults", {} if heal else switches.parse(name, faults or []))
            for name in names:
                known = switches.KNOWN.get(name)
                if known is None:
                    raise switches.BadSwitch(f"no part {name!r} with faults; there is {', '.join(switches.KNOWN)}")
                on = switches.on(name, await lab.control(name, "GET", "/faults"))
                typer.echo(f"{name}: " + (f"on: {on}" if on else "healthy"))
                if not (heal or faults):
                    for key, words in known.items():
                        typer.echo(f"    {key:<18} {words}")

    if heal and faults:
        _fail("--heal switches everything off: name no faults with it", 64)
    if part and part not in switches.KNOWN:
        _fail(f"no part {part!r} with faults; there is {', '.join(switches.KNOWN)}")
    _run(main)


@app.command()
def load(
    rate: Annotated[float, typer.Argument(help="Requests a second, 0 to 2000; a VM serves 50.")], folder: Folder = homes.DEFAULT
) -> None:
    """Set the users' load."""

    async def main() -> None:
        async with Attached(Home(folder)) as lab:
            await lab.rate(rate)
            typer.echo(f"{rate:g} requests a second to {lab.state['vip']}")

    _run(main)


@app.command()
def console(
    build: Annotated[int | None, typer.Argument(min=1, help="The build's number; default: the newest.", show_default=False)] = None,
    folder: Folder = homes.DEFAULT,
) -> None:
    """Print a build's console, as Jenkins shows it."""

    async def main() -> None:
        job = f"autoscale-{NAMESPACE}-{SERVICE}"
        async with Attached(Home(folder)) as lab:
            text = await lab.jenkins(f"job/{job}/{build or 'lastBuild'}/consoleText")
        if text is None:
            raise PartError(f"{job} has no build {build}" if build else f"{job} has no build yet")
        typer.echo("\n".join(clean(line) for line in text.splitlines()))

    _run(main)


@app.command()
def stop(folder: Folder = homes.DEFAULT) -> None:
    """Stop the data centre that was left running."""
    home = Home(folder)
    pid = home.holder()
    if pid is None:
        typer.echo(f"nothing runs in {home.folder}")
        return
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGTERM)
    if not home.wait_free(command.STOP_DEADLINE):
        _fail(f"process {pid} does not end; its log: {home.log}")
    typer.echo("stopped")


@app.command(context_settings={"ignore_unknown_options": True, "allow_extra_args": True, "help_option_names": []})
def kubectl(context: typer.Context) -> None:
    """Run the pinned kubectl on what runs in .lab/demo."""
    config = Home(homes.DEFAULT).kubeconfig
    if Home(homes.DEFAULT).holder() is None:
        _fail("no data centre runs; start one with `make demo KEEP=1`")
    raise typer.Exit(subprocess.run([kubectl_path(), *context.args], env=kubectl_env(config), check=False).returncode)


def _both(kubeconfig: Path | None, context: str | None) -> None:
    if (kubeconfig is None) != (context is None):
        _fail("--kubeconfig and --context go together: an existing cluster is used only when both are named", 64)


def _run(main: Callable[[], Awaitable[None]]) -> None:
    async def running() -> None:
        await main()

    try:
        asyncio.run(running())
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
    except BrokenPipeError:  # the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (PartError, KubectlError, RuntimeError, OSError, ValueError) as error:
        _fail(str(error))


def _fail(message: str, code: int = 1) -> NoReturn:
    typer.echo("labctl: " + "\n".join(clean(line) for line in message.splitlines()), err=True)
    raise typer.Exit(code)


def main() -> None:
    """The program."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that is not UTF-8 gets question marks, not a traceback
    app(prog_name="labctl")
