"""What fails by chance gets one more try; what fails again, or is too much to be chance, does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.second_try import AT_MOST

SCRIPT = Path(__file__).parents[1] / "second_try.py"
# Each test counts its runs in a file of its name.
TESTS = """
from pathlib import Path

def run(name, fails):
    runs = Path(name).read_text() if Path(name).exists() else ""
    Path(name).write_text(runs + "x")
    assert len(runs) >= fails

def test_good(): run("good", 0)
"""


def tries(folder: Path, *tests: str, once: bool = False) -> tuple[int, str, dict[str, int]]:
    """The exit code, what was printed, and how often each test ran."""
    (folder / "tests").mkdir()
    (folder / "tests" / "test_it.py").write_text(TESTS + "\n".join(tests))
    (folder / "pytest.ini").touch()
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")} | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    options = ["--once"] if once else []
    command = [sys.executable, SCRIPT, *options, "--", "-q", "tests"]
    ended = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)
    runs = {file.name: len(file.read_text()) for file in folder.iterdir() if file.is_file() and file.suffix == ""}
    return ended.returncode, ended.stdout, runs


def test_chance_gets_one_more_try_and_is_told(tmp_path: Path) -> None:
    code, printed, runs = tries(tmp_path, "def test_chance(): run('chance', 1)")
    assert (code, runs) == (0, {"good": 1, "chance": 2})
    assert "of what failed: tests/test_it.py::test_chance" in printed and "second try only" in printed


@pytest.mark.parametrize(
    ("tests", "once", "expected"),
    [
        (["def test_bad(): run('bad', 9)"], False, {"bad": 2}),
        ([f"def test_{n}(): run('{n}', 1)" for n in range(AT_MOST + 1)], False, {str(n): 1 for n in range(AT_MOST + 1)}),
        (["def test_chance(): run('chance', 1)"], True, {"chance": 1}),
    ],
    ids=["fails again", "too many", "once"],
)
def test_no_more_than_that(tmp_path: Path, tests: list[str], once: bool, expected: dict[str, int]) -> None:
    code, printed, runs = tries(tmp_path, *tests, once=once)
    assert (code, runs) == (1, {"good": 1} | expected)
    assert "second try only" not in printed


def test_what_cannot_be_collected_is_no_chance(tmp_path: Path) -> None:
    code, printed, _ = tries(tmp_path, "import a_module_that_is_not_there")
    assert code == 2 and "A second try" not in printed
