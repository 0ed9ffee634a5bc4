"""How steps and builds end: results and their order, failures, interruptions."""

from __future__ import annotations

import uuid

RESULTS = ("SUCCESS", "UNSTABLE", "FAILURE", "NOT_BUILT", "ABORTED")  # a result can only get worse


def error_id() -> str:
    """The line that ends what was interrupted."""
    return f"org.jenkinsci.plugins.workflow.actions.ErrorAction$ErrorId: {uuid.uuid4()}"


def worse(old: str | None, new: str) -> str:
    """What `currentBuild.result = new` makes of it."""
    return new if old is None or RESULTS.index(new) > RESULTS.index(old) else old


def span(seconds: float) -> str:
    """A time as Jenkins says it: `2 min 0 sec`, `30 min`, `5 sec`."""
    units = ((86400, "day"), (3600, "hr"), (60, "min"))
    for number, (size, name) in enumerate(units):
        if seconds >= size:
            big = int(seconds // size)
            if big >= 10:
                return f"{big} {name}"
            smaller, small_name = (units[number + 1]) if number < 2 else (1, "sec")
            return f"{big} {name} {int(seconds % size // smaller)} {small_name}"
    if seconds >= 10 or seconds == int(seconds):
        return f"{int(seconds)} sec"
    return f"{seconds:.2g} sec" if seconds >= 1 else f"{int(seconds * 1000)} ms"


class Ended(Exception):
    """A step did not end well; `result` is what the build becomes."""

    result = "FAILURE"

    def last_lines(self) -> list[str]:
        """What stands at the end of the console."""
        return [f"ERROR: {self}"]

    def in_post(self) -> str:
        """What stands after "Error when executing ... post condition"."""
        return f"hudson.AbortException: {self}"


class Crash(Ended):
    """Not a failed step but an exception: the message is the exception's own line."""

    def last_lines(self) -> list[str]:
        return [f"Also:   {error_id()}", str(self)]

    def in_post(self) -> str:
        return str(self)


class Interrupted(Ended):
    """Stopped by a person (ABORTED), by a newer build (NOT_BUILT), or by a time limit."""

    def __init__(self, *, by_timeout: bool = False, result: str = "ABORTED") -> None:
        super().__init__("interrupted")
        self.by_timeout = by_timeout
        self.result = result

    def last_lines(self) -> list[str]:
        return [*(["Timeout has been exceeded"] if self.by_timeout else []), error_id()]

    def in_post(self) -> str:
        return "org.jenkinsci.plugins.workflow.steps.FlowInterruptedException"
