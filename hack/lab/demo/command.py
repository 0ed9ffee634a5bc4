"""One run of the demo from set-up to the exit status. Called by `python -m lab demo`."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.text import Text

from lab.attached import Attached
from lab.demo.plain import PlainShow, clean
from lab.demo.play import Outcome, Plot, play
from lab.demo.prepare import prepare
from lab.demo.report import report
from lab.demo.screen import MIN_HEIGHT, MIN_WIDTH, ScreenShow
from lab.demo.tryit import shown, try_it
from lab.demo.watch import NAMESPACE, POLICY, Watch
from lab.home import Home
from lab.kubectl import KubectlError
from lab.process import PartError

START_DEADLINE = 180.0
STOP_DEADLINE = 90.0
_PLAIN_WIDTH = 120


@dataclass(frozen=True)
class Options:
    """What the command line says."""

    home: Home
    keep: bool = False
    plain: bool = False
    kubeconfig: Path | None = None
    context: str | None = None
    plot: Plot = field(default_factory=Plot)


async def run(options: Options) -> int:
    """The exit status: 0 when every check holds."""
    loop, current = asyncio.get_running_loop(), asyncio.current_task()
    assert current is not None
    for sig in (signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(sig, current.cancel)
    terminal = sys.stdout.isatty() and not options.plain
    console = Console(highlight=False, markup=False, emoji=False, force_terminal=terminal, width=None if terminal else _PLAIN_WIDTH)
    plain = not (terminal and _fits(console))
    began = time.monotonic()
    if (pid := options.home.holder()) is not None:
        console.print(f"A data centre runs already in {options.home.folder} (process {pid}): make demo-stop ends it.", soft_wrap=True)
        return 1
    try:
        await prepare(plain=plain, own_cluster=options.kubeconfig is None)
        built = time.monotonic() - began
        async with _data_centre(options) as lab:
            await _apply(console, lab)
            ready = time.monotonic() - began
            spent = f" ({built:.0f} s of it building and fetching, done once)" if built > 5 else ""
            console.print(f"ready for load after {ready:.1f} s{spent}", soft_wrap=True)
            outcome = await _played(console, lab, options, plain=plain)
            ok = await report(console, lab, outcome)
            console.print()
            if not ok:
                _post_mortem(console, lab)
            if options.keep:
                try_it(console, lab, outcome.event["metadata"]["name"] if outcome.event else "")
                console.print()
            took = time.monotonic() - began
            good = "The loop is closed" if options.plot.fault is None else "It failed as it should, and was rolled back"
            verdict = Text(f"{good}: every check holds.", "bold green") if ok else Text("The demo failed.", "bold red")
            console.print(verdict + Text(f" ({took:.0f} s)"))
            return 0 if ok else 1
    except (PartError, KubectlError, RuntimeError, TimeoutError) as error:
        console.print(Text(f"The demo failed: {clean_lines(str(error) or type(error).__name__)}", "bold red"), soft_wrap=True)
        if options.home.log.exists():
            console.print(f"logs: {options.home.log}, {options.home.folder / 'logs'}", soft_wrap=True)
        return 1


def _fits(console: Console) -> bool:
    """Whether the one screen can be drawn there."""
    drawable = not console.is_dumb_terminal and console.encoding.startswith("utf")
    return drawable and console.width >= MIN_WIDTH and console.height >= MIN_HEIGHT


def clean_lines(text: str) -> str:
    """Several lines without control codes."""
    return "\n".join(clean(line) for line in text.splitlines())


async def _played(console: Console, lab: Attached, options: Options, *, plain: bool) -> Outcome:
    with PlainShow(sys.stdout) if plain else ScreenShow(console) as show:
        async with Watch(lab) as watch:
            return await play(lab, watch, show, options.plot)


@contextlib.asynccontextmanager
async def _data_centre(options: Options) -> AsyncIterator[Attached]:
    """The data centre in a process of its own, which is stopped at the end; with --keep it stays unless it was interrupted."""
    home = options.home
    argv = [sys.executable, "-m", "lab", "serve", "--folder", str(home.folder), *([] if options.keep else ["--tied"])]
    if options.kubeconfig is not None and options.context is not None:
        argv += ["--kubeconfig", str(options.kubeconfig), "--context", options.context]
    home.log.parent.mkdir(parents=True, exist_ok=True)
    with home.log.open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *argv, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    leave = False
    try:
        await _started(process, home.log)
        async with Attached(home) as lab:
            yield lab
        leave = options.keep
    except (PartError, KubectlError, TimeoutError):
        leave = options.keep and process.returncode is None and (home.folder / "state.json").exists()
        raise
    finally:
        if not leave:
            await asyncio.shield(_stop(process))


async def _started(process: asyncio.subprocess.Process, output: Path) -> None:
    """Show its lines until it is ready. Raises PartError."""
    shown, end = 0, time.monotonic() + START_DEADLINE
    while True:
        ended = process.returncode is not None
        lines = (await asyncio.to_thread(output.read_text, errors="replace")).splitlines()
        for line in lines[shown:]:
            if line == "ready":
                return
            print("  " + clean(line), flush=True)
        shown = len(lines)
        if ended:
            raise PartError("the data centre did not start")
        if time.monotonic() > end:
            raise PartError(f"the data centre did not start within {START_DEADLINE:.0f} s; see {output}")
        await asyncio.sleep(0.1)


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    print("stopping the data centre", flush=True)
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(STOP_DEADLINE):
            await process.wait()
    except TimeoutError:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _apply(console: Console, lab: Attached) -> None:
    """The samples with kubectl, as a person does it, until the policy is Ready. Raises KubectlError, PartError."""
    for path in sorted(lab.home.manifests.glob("*.yaml")):
        console.print(Text(f"$ kubectl apply -f {shown(path)}"), soft_wrap=True)
        console.print(Text((await lab.cluster.kubectl("apply", "-f", str(path))).strip()), soft_wrap=True)
    wait = ("wait", "--for=condition=Ready", "--timeout=60s", "-n", NAMESPACE, f"autoscalingpolicy/{POLICY}")
    console.print(Text("$ kubectl " + " ".join(wait)), soft_wrap=True)
    try:
        console.print(Text((await lab.cluster.kubectl(*wait, timeout=90)).strip()), soft_wrap=True)
    except KubectlError as error:
        conditions = (await lab.cluster.get("asp", POLICY, "-n", NAMESPACE)).get("status", {}).get("conditions", [])
        wrong = [f"{c['type']} is {c['status']}: {c['reason']}: {c['message']}" for c in conditions if c["status"] != "True"]
        _post_mortem(console, lab)
        raise PartError("\n".join([f"the policy did not become Ready: {error.stderr.strip()}", *wrong])) from error


def _post_mortem(console: Console, lab: Attached) -> None:
    """The operator's last lines, and where all logs are."""
    console.print(Text("The operator's last lines", "bold"))
    for line in lab.log_tail("operator"):
        console.print(Text("  " + clean(line)), soft_wrap=True)
    console.print(Text(f"logs: {lab.home.folder / 'logs'}"), soft_wrap=True)
    console.print()
