"""The folder of a kept data centre: one holder, nobody else's files, found again."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from lab.home import Home
from lab.process import PartError


def test_what_was_written_is_found_while_it_is_held(tmp_path: Path) -> None:
    home = Home(tmp_path / "run")
    home.hold()
    assert home.holder() == os.getpid()
    home.write({"pid": os.getpid()})
    assert Home(tmp_path / "run").read() == {"pid": os.getpid()}
    assert (tmp_path / "run" / "state.json").stat().st_mode & 0o777 == 0o600
    home.release()
    assert home.holder() is None
    with pytest.raises(PartError, match="no data centre runs"):
        home.read()


def test_it_has_one_holder(tmp_path: Path) -> None:
    first, second = Home(tmp_path / "run"), Home(tmp_path / "run")
    first.hold()
    with pytest.raises(PartError, match="runs already"):
        second.hold()
    first.release()
    second.hold()
    second.release()


def test_who_only_asks_for_the_holder_is_none(tmp_path: Path) -> None:
    """`labctl stop` sends its signal to whom it takes for the holder: that was the last one, while somebody else asked too."""
    first, second, over = Home(tmp_path / "run"), Home(tmp_path / "run"), threading.Event()
    first.hold()
    first.release()
    holders: set[int | None] = set()

    def ask() -> None:
        while not over.is_set():
            holders.add(second.holder())

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        for _ in range(1000):
            assert first.holder() is None
        for _ in range(100):
            first.hold()
            first.release()
    finally:
        over.set()
        asking.join()
    assert holders <= {None, os.getpid()}


def test_the_next_run_begins_empty(tmp_path: Path) -> None:
    home = Home(tmp_path / "run")
    home.hold()
    (home.folder / "logs").mkdir()
    (home.folder / "logs" / "x.log").write_text("old")
    home.release()
    assert (home.folder / "logs" / "x.log").exists()  # logs stay for whoever looks afterwards
    home.hold()
    assert not (home.folder / "logs").exists()
    home.release()


def test_a_folder_with_somebodys_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "thesis.tex").write_text("years")
    (tmp_path / "run" / "state.json").write_text("of another program")
    home = Home(tmp_path / "run")
    with pytest.raises(PartError, match="another folder"):
        home.hold()
    assert (tmp_path / "run" / "thesis.tex").read_text() == "years"
    assert (tmp_path / "run" / "state.json").read_text() == "of another program"
    assert home.holder() is None


def test_while_it_starts_the_state_is_told_as_missing(tmp_path: Path) -> None:
    home = Home(tmp_path / "run")
    home.hold()
    with pytest.raises(PartError, match="still starting"):
        home.read()
    home.release()


def test_the_state_of_one_that_was_killed_is_not_read_as_the_next_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks while the next one takes its folder, which takes a moment to be emptied."""
    home, empty = Home(tmp_path / "run"), Home._empty
    home.hold()
    home.write({"pid": 1})
    assert home._lock is not None
    os.close(home._lock)
    seen: list[str] = []

    def look_and_empty(self: Home) -> None:
        with pytest.raises(PartError) as told:
            home.read()
        seen.append(str(told.value))
        empty(self)

    monkeypatch.setattr(Home, "_empty", look_and_empty)
    home.hold()
    assert "still starting" in seen[0]
    home.release()
