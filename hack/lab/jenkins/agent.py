"""The lab Jenkins' agent: runs `sh`, reads and writes files of workspaces. `python -m lab.jenkins.agent`, started by agent_link.

One JSON object a line on stdin and stdout. In: {id, op: "sh", workspace, script, env, stdout: bool}, {id, op: "term"}, {id, op: "prepare" | "read" |
"write", workspace, file, text}. Out: {id, out}, then {id, exit, stdout} or {id, failed}; {id, text} or {id, failed}. Secrets come in `env` and go into the
environment of the process, never into an argument.

As Jenkins' durable-task does it: a wrapper shell runs `/bin/sh -xe script.sh`, and the exit code comes by a file. So a killed command is noticed, and
the killed whole is not (proven/README.md section 7). TERM goes to every process with the step's JENKINS_SERVER_COOKIE in its environment.
When stdin ends, everything that was started here is killed.
"""

from __future__ import annotations

import asyncio
import codecs
import ctypes
import json
import secrets
import shutil
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.jenkins.family import belongs, family, kill_all, reap_orphans, term_tree, wrappers
from lab.process import die_with_parent

_POLL_S = 0.04
_LINE_LIMIT = 1 << 27
_PR_SET_CHILD_SUBREAPER = 36
_SPARED = "please-do-not-kill-me"
# $1 script, $2 log, $3 result, $4 cookie, $5 where stdout goes ("" = into the log), $6 "1" = the script names its own interpreter
_WRAPPER = """
if [ "$6" = 1 ]; then set -- "$@" "$1"; else set -- "$@" /bin/sh -xe "$1"; fi
script=$1 log=$2 result=$3 cookie=$4 out=${5:-/dev/fd/9}; shift 6
exec 9>>"$log"
JENKINS_SERVER_COOKIE=$cookie "$@" >>"$out" 2>&9 9>&- </dev/null
echo $? >"$result.tmp"; mv "$result.tmp" "$result"
"""


@dataclass
class Step:
    """One `sh` that runs."""

    cookie: str = field(default_factory=lambda: f"durable-{secrets.token_hex(16)}")
    over: bool = False
    wrapper: asyncio.subprocess.Process | None = None
    kill: asyncio.Task[None] | None = None

    @property
    def can_have_processes(self) -> bool:
        """Not started yet, or not ended; a step whose wrapper was killed stays so, but has none any more."""
        return not self.over and (self.wrapper is None or self.wrapper.returncode is None)


class Agent:
    """The steps that run now."""

    def __init__(self, path_map: dict[str, str], stop_again: float) -> None:
        self._path_map = path_map
        self._stop_again = stop_again
        self._steps: dict[int, Step] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def say(self, **message: Any) -> None:
        """One line to the controller."""
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()

    def mapped(self, text: str) -> str:
        """`path_map` applied: a script that names a path of the recorded machine runs unmodified."""
        for prefix, folder in self._path_map.items():
            text = text.replace(prefix, folder)
        return text

    def handle(self, message: dict[str, Any]) -> None:
        """Start what one line asks for."""
        if message["op"] == "term":
            step = self._steps.get(message["id"])
            if step is None:
                return
            task = step.kill = asyncio.create_task(send_term(step, self._stop_again))
        elif message["op"] == "sh":
            # Known before its process is there: a TERM that comes at once must find it.
            step = self._steps[message["id"]] = Step()
            task = asyncio.create_task(self._sh(message, step))
        else:
            task = asyncio.create_task(self._file(message))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _file(self, message: dict[str, Any]) -> None:
        try:
            self.say(id=message["id"], text=touch(message))
        except OSError as error:
            kind = "java.nio.file.NoSuchFileException" if isinstance(error, FileNotFoundError) else "java.io.IOException"
            self.say(id=message["id"], failed=f"{kind}: {error.filename}")

    async def _sh(self, message: dict[str, Any], step: Step) -> None:
        number = message["id"]
        try:
            code, stdout = await self._run(message, step)
            self.say(id=number, exit=code, stdout=stdout)
        except OSError as error:
            self.say(id=number, failed=f'java.io.IOException: Cannot run program "/bin/sh": error={error.errno}, {error.strerror}')
        finally:
            step.over = True
            del self._steps[number]
        reap_orphans()

    async def _run(self, message: dict[str, Any], step: Step) -> tuple[int, str]:
        """The exit code and, if asked for, what it printed. Raises OSError if the shell cannot be started."""
        workspace = Path(message["workspace"])
        control = workspace.parent / f"{workspace.name}@tmp" / f"durable-{secrets.token_hex(4)}"
        control.mkdir(parents=True)
        script, log, result, out = (control / name for name in ("script.sh", "jenkins-log.txt", "jenkins-result.txt", "output.txt"))
        script.write_text(self.mapped(message["script"]))
        script.chmod(0o700)
        log.touch()
        env = {name: self.mapped(value) for name, value in message["env"].items()} | {"JENKINS_SERVER_COOKIE": _SPARED}
        own = "1" if message["script"].startswith("#!") else ""
        arguments = [str(script), str(log), str(result), step.cookie, str(out) if message["stdout"] else "", own]
        with log.open("ab") as errors:
            step.wrapper = process = await asyncio.create_subprocess_exec(
                "/bin/sh",
                "-c",
                _WRAPPER,
                "durable",
                *arguments,
                cwd=workspace,
                env=env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        wrappers.add(process.pid)
        decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        with log.open("rb") as tail:
            while not step.over:
                step.over = result.exists()
                if text := decoder.decode(tail.read(), final=step.over):
                    self.say(id=message["id"], out=text)
                if not step.over:
                    await asyncio.sleep(_POLL_S)
        await process.wait()
        if step.kill is not None:
            await step.kill  # the step ends when TERM was sent to all, twice to who takes his time (12 e11-py: post began at 347)
        wrappers.discard(process.pid)
        stdout = out.read_text(errors="surrogateescape") if message["stdout"] and out.exists() else ""
        code = int(result.read_text())
        shutil.rmtree(control, ignore_errors=True)
        return code, stdout


def touch(message: dict[str, Any]) -> str:
    """Prepare a workspace, read or write one of its files. Raises OSError."""
    workspace = Path(message["workspace"])
    if message["op"] == "prepare":
        workspace.mkdir(parents=True, exist_ok=True)
    elif message["op"] == "read":
        return (workspace / str(message["file"])).read_text()
    else:
        (workspace / message["file"]).write_text(message["text"])
    return ""


async def send_term(step: Step, patience: float) -> None:
    """TERM to the step's whole family, also to what left its session. A step that has no process yet is waited for: a TERM is never lost.

    In the order of Jenkins' ProcessTree: of each matching process the children first, each awaited for up to `patience` seconds. So a shell's child is
    gone before the shell gets TERM (its trap does not run), and a child that takes its time gets TERM again (proven/README.md section 6).
    """
    found = family(step.cookie)
    while not found and step.can_have_processes:
        await asyncio.sleep(_POLL_S)
        found = family(step.cookie)
    for pid in found:
        if belongs(pid, step.cookie):  # still: it may have ended meanwhile, and its number be another's
            await term_tree(pid, patience)


async def main() -> None:
    """Serve until stdin ends or SIGTERM."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1)
    reader = asyncio.StreamReader(limit=_LINE_LIMIT)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, reader.feed_eof)
    settings = json.loads(await reader.readline())
    agent = Agent(settings["path_map"], settings["stop_again"])
    try:
        while line := await reader.readline():
            agent.handle(json.loads(line))
    finally:
        kill_all()


if __name__ == "__main__":
    die_with_parent()
    asyncio.run(main())
