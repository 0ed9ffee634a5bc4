"""Runs pytest, and gives what failed one more try. `python tests/second_try.py [--once] -- -n 2 tests/contract ...`

A thousand tests with real processes run here, on machines that others use too: one of them may fail by chance, and that must not refuse a good change.
The second try is alone, in a new process with servers of its own. What failed stays printed and is called what it is: a defect, of the test or of the
product. More than a few failures are no chance and get no second try.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

AT_MOST = 3
_FAILED = 1  # pytest: "tests were collected and run but some of the tests failed"
_LAST_FAILED = ("--last-failed", "--last-failed-no-failures", "none")


def command(*arguments: str) -> list[str]:
    """pytest of this interpreter."""
    return [sys.executable, "-m", "pytest", *arguments]


def suites(arguments: Sequence[str]) -> list[str]:
    """The paths among pytest's arguments; how many processes there are is the first run's business."""
    return [argument for argument in arguments if argument.startswith("tests")]


def failed(paths: Sequence[str]) -> list[str]:
    """The ids of the tests that failed in the last run."""
    found = subprocess.run(command("--collect-only", "-q", *_LAST_FAILED, *paths), capture_output=True, text=True, check=False)
    return [line for line in found.stdout.splitlines() if "::" in line]


def main(arguments: Sequence[str]) -> int:
    """pytest's exit code: of the second run, where there is one."""
    options, given = arguments[: arguments.index("--")], arguments[arguments.index("--") + 1 :]
    code = subprocess.call(command("--cache-clear", *given))
    if code != _FAILED or "--once" in options:
        return code
    paths = suites(given)
    names = failed(paths)
    if not 0 < len(names) <= AT_MOST:
        return code
    say(f"A second try, alone, of what failed: {', '.join(names)}")
    code = subprocess.call(command(*_LAST_FAILED, *paths))
    if code == 0:
        say("Passed, but at the second try only. What depends on chance is a defect: please report it with what is printed above.")
    return code


def say(text: str) -> None:
    """A line of our own between pytest's."""
    sys.stdout.write(f"\n{text}\n\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
