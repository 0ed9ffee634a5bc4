"""`python -m lab` while it is being loaded."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import lab

MAIN = Path(lab.__file__).with_name("__main__.py")


def run(folder: Path, cli: str) -> subprocess.CompletedProcess[str]:
    """The real __main__ with another lab.cli."""
    package = folder / "lab"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "cli.py").write_text(cli)
    shutil.copy(MAIN, package)
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    return subprocess.run(
        [sys.executable, "-m", "lab"],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        # Whoever runs the tests in a shell's background has it ignored, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_interrupted_while_it_loads_it_ends_without_a_traceback(tmp_path: Path) -> None:
    ended = run(tmp_path, "import os, signal\nos.kill(os.getpid(), signal.SIGINT)\ndef main(): print('went on')\n")
    assert (ended.returncode, ended.stdout, ended.stderr) == (-signal.SIGINT, "", "")


def test_once_loaded_an_interrupt_is_pythons_again(tmp_path: Path) -> None:
    ended = run(tmp_path, "import signal\ndef main(): print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)\n")
    assert (ended.stdout, ended.stderr) == ("True\n", "")


def test_nor_while_the_commands_are_put_together(tmp_path: Path) -> None:
    ended = run(tmp_path, "def main(): raise KeyboardInterrupt\n")
    assert (ended.returncode, ended.stderr) == (130, "")
