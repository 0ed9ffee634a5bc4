"""What the demo ends with: summary, timeline, the event as kubectl prints it, the checks. Called by `lab.demo.command`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from lab.attached import Attached
from lab.demo.checks import Check
from lab.demo.plain import clean
from lab.demo.play import Outcome
from lab.demo.summary import rows
from lab.demo.watch import NAMESPACE
from lab.kubectl import KubectlError, kubectl_env


async def report(console: Console, lab: Attached, outcome: Outcome) -> bool:
    """Print all of it; whether every check holds."""
    _summary(console, outcome)
    _timeline(console, outcome)
    await _event(console, lab, outcome)
    return _checks(console, outcome.checks)


def _heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, "bold"))


def _table(console: Console, heading: tuple[str, ...], cells: list[tuple[str, ...]], *, right: bool) -> None:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for n, title in enumerate(heading):
        table.add_column(title, justify="right" if right and n else "left", no_wrap=True, overflow="ellipsis")
    for row in cells:
        table.add_row(*(Text(clean(cell)) for cell in row))
    console.print(table)


def _summary(console: Console, outcome: Outcome) -> None:
    _heading(console, "What users felt and the VMs did (times: median of the seconds; CPU: mean)")
    first, *rest = rows(outcome.columns)
    _table(console, first, rest, right=True)


def _timeline(console: Console, outcome: Outcome) -> None:
    _heading(console, "The hops (seconds since the load was raised, and since the hop before)")
    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for title, justify in (("hop", "left"), ("s", "right"), ("+s", "right"), ("", "left")):
        table.add_column(title, justify=justify, no_wrap=bool(title))  # type: ignore[arg-type] # what a hop came of wraps below itself
    for line in outcome.timeline.lines():
        table.add_row(line.label, f"{line.since_raise:.1f}", f"{line.since_previous:.1f}", Text(clean(line.detail)))
    console.print(table)


async def _event(console: Console, lab: Attached, outcome: Outcome) -> None:
    if outcome.event is None:
        return
    name = outcome.event["metadata"]["name"]
    commands = (
        ["kubectl", "get", "scaleoutevent", name, "-n", NAMESPACE, "-o", "wide"],
        ["vmscaler", "events", "-n", NAMESPACE, name],
    )
    for argv in commands:
        _heading(console, "$ " + " ".join(argv))
        try:
            text = await _output(lab, argv, console)
        except (KubectlError, OSError, TimeoutError) as error:
            text = str(error)
        console.print(Text("\n".join(clean(line.rstrip()) for line in text.splitlines())), soft_wrap=True)


async def _output(lab: Attached, argv: list[str], console: Console) -> str:
    program, *args = argv
    if program == "kubectl":
        return await lab.cluster.kubectl(*args)
    path = Path(sys.executable).with_name(program)
    environment = kubectl_env(lab.cluster.kubeconfig)
    if console.is_terminal:
        environment["COLUMNS"] = str(console.width)
    process = await asyncio.create_subprocess_exec(
        str(path),
        *args,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(30):
        return (await process.communicate())[0].decode(errors="replace")


def _checks(console: Console, checks: list[Check]) -> bool:
    _heading(console, "Checks")
    for check in checks:
        mark = Text("  ok    ", "green") if check.ok else Text("  FAILED", "bold red")
        said = Text(f"{check.name} ({clean(check.said)})")
        if console.is_terminal:
            grid = Table.grid(padding=(0, 2, 0, 0))
            grid.add_row(mark, said)  # wraps below itself
            console.print(grid)
        else:
            console.print(mark + Text("  ") + said, soft_wrap=True)
    return all(check.ok for check in checks)
