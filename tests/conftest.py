"""Fixtures for every suite. What one suite alone needs is in its own folder's conftest.py."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
import structlog
from hypothesis import HealthCheck, settings
from tests import groups

from lab import controlplane, vcenter
from lab.controlplane import ControlPlane
from lab.gobuild import build
from lab.programs import monitoring_programs

# An example may take as long as a busy machine makes it. The same examples each time, so that a run says something of what was changed;
# `pytest --hypothesis-profile=explore tests/unit` looks for others.
SLOW = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("explore", max_examples=1000, **SLOW)
settings.register_profile("same", max_examples=40, derandomize=True, **SLOW)
settings.load_profile("same")


GOLDEN = Path(__file__).resolve().parent / "golden"
Golden = Callable[[str, str | bytes], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write the golden files anew from what the code renders now")


def pytest_configure() -> None:
    # Before Python 3.14, get_event_loop() makes a loop where none was ever set, and pytest-asyncio calls it around
    # fixtures and never closes what it gets: a ResourceWarning, and so a failed run. After this it raises instead.
    asyncio.set_event_loop(None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> groups.Groups | None:
    return groups.Groups(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    processes = getattr(config, "workerinput", {}).get("workercount", 1)
    ranks = {item: groups.rank(item, alone=processes == 1) for item in items}
    items.sort(key=ranks.__getitem__)


BUILDS: dict[str, Callable[[], Awaitable[object]]] = {
    "control_plane": controlplane.binary,
    "lab_vcenter": lambda: build(vcenter.SOURCE, name="vcenter"),
    # The distribution's in seconds; compiled where it has none.
    **dict.fromkeys(("lab_monitoring", "programs", "bench"), monitoring_programs),
}


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    # Compiling takes minutes on a new machine: not inside the first test's time limit, and where it can be seen.
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    if not session.config.option.collectonly:
        capture = session.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled(), asyncio.Runner() as runner:
            for name in BUILDS.keys() & wanted:
                runner.run(_built(name))
        asyncio.set_event_loop(None)
    return (yield)


async def _built(name: str) -> None:
    await BUILDS[name]()


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """golden(name, text or bytes): compare with tests/golden/<name>; with --update-golden, write it."""

    def check(name: str, content: str | bytes) -> None:
        path, wanted = GOLDEN / name, content.encode() if isinstance(content, str) else content
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(wanted)
        assert path.is_file(), f"{path} is not there: run pytest with --update-golden and read what it writes"
        kept = path.read_bytes()
        same = "if this is meant, run pytest with --update-golden and read what it writes"
        if isinstance(content, str):
            assert content == kept.decode(), same
        else:
            assert content == kept, same

    return check


@pytest.fixture(autouse=True)
def _logs_as_they_were() -> Iterator[None]:
    """A test that quiets the log quiets no other's."""
    yield
    structlog.reset_defaults()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def control_plane(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ControlPlane]:
    """One real API server for the whole run; a test takes a namespace of its own there. CRDs stay once applied."""
    async with ControlPlane(tmp_path_factory.mktemp("control-plane"), fsync=False) as running:
        yield running
