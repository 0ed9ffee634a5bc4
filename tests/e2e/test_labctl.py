"""`python -m lab`: a data centre in the background, found by its folder: status, load, faults, stop; and nothing left of it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from lab import switches
from lab.attached import Attached
from lab.home import Home
from lab.process import PartError

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def healed() -> None:
    """In place of the one that heals the other end-to-end tests' data centre: that need not run for these."""


async def labctl(*args: str) -> tuple[int, str]:
    """Exit status and output, stderr with it."""
    environment = os.environ | {"PYTHONPATH": str(ROOT / "hack"), "COLUMNS": "200"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "lab",
        *args,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(240):
        text = (await process.communicate())[0].decode()
    return process.returncode or 0, text


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def home(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Home]:
    """A data centre that `serve --tied` runs; it ends with this process at the latest."""
    home = Home(tmp_path_factory.mktemp("labctl") / "run")
    log = home.folder.with_name("serve.log")
    with log.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "lab", "serve", "--tied", "--folder", str(home.folder)),
            env=os.environ | {"PYTHONPATH": str(ROOT / "hack")},
            stdin=asyncio.subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        end = asyncio.get_running_loop().time() + 240
        while "ready" not in log.read_text().splitlines():
            assert process.returncode is None, log.read_text()
            assert asyncio.get_running_loop().time() < end, log.read_text()
            await asyncio.sleep(0.2)
        yield home
    finally:
        if process.returncode is None:
            process.terminate()
        await asyncio.wait_for(process.wait(), 120)


pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.lab]


async def test_status_says_what_runs_where(home: Home) -> None:
    code, text = await labctl("status", "--folder", str(home.folder))
    assert code == 0, text
    for part in ("kubernetes", "monitoring", "jenkins", "vcenter", "guests", "bigip", "load", "operator"):
        (line,) = [line for line in text.splitlines() if line.startswith(part)]
        assert " running " in line
        assert f"{part if part != 'kubernetes' else 'controlplane'}.log" in line


async def test_load_and_faults_are_switched_by_words(home: Home) -> None:
    at = ("--folder", str(home.folder))
    assert (await labctl("load", "12", *at))[0] == 0
    code, text = await labctl("fault", "guests", "slow=web-1:0.2", *at)
    assert (code, "'web-1': 0.2" in text) == (0, True), text
    async with Attached(home) as lab:
        assert (await lab.control("load", "GET", "/status"))["rate"] == 12
        assert await lab.control("guests", "GET", "/faults") == {"slow": {"web-1": 0.2}}
        assert (await labctl("fault", "--heal", *at))[0] == 0
        assert await lab.control("guests", "GET", "/faults") == {}
        code, text = await labctl("fault", "guests", "sloth=1", *at)
        assert (code, "it has neverBoot" in text) == (1, True), text
        code, text = await labctl("load", "99999", *at)
        assert (code, "0 to 2000" in text) == (1, True), text


async def test_the_switches_told_are_those_the_parts_know(home: Home) -> None:
    async with Attached(home) as lab:
        for part in ("guests", "bigip", "monitoring"):
            assert set(switches.KNOWN[part]) == set(await lab.known_faults(part))
        # With lab.guests the vCenter's own neverBoot does nothing.
        assert set(switches.KNOWN["vcenter"]) == set(await lab.known_faults("vcenter")) - {"neverBoot"}
        with pytest.raises(PartError, match=", ".join(sorted(switches.KNOWN["jenkins"]))):
            await lab.control("jenkins", "PUT", "/faults", {"?": True})


async def test_a_console_that_is_not_there(home: Home) -> None:
    code, text = await labctl("console", "7", "--folder", str(home.folder))
    assert (code, text) == (1, "labctl: autoscale-acme-web has no build 7\n")


async def test_a_second_one_in_the_same_folder_is_refused(home: Home) -> None:
    code, text = await labctl("demo", "--folder", str(home.folder))
    assert (code, "runs already" in text) == (1, True), text


async def test_what_people_wrote_and_the_samples_are_kept_to_look_at(home: Home) -> None:
    async with Attached(home) as lab:
        config = Path(lab.state["monitoring"]["alertmanager"]["configFile"])
        current = await asyncio.to_thread(config.read_bytes)
        assert (home.people / "alertmanager.yml").read_bytes() == current  # no Site yet: nobody touched it
        for path in sorted(home.manifests.glob("*.yaml")):
            await lab.cluster.kubectl("apply", "--dry-run=server", "-f", str(path))


async def test_stop_leaves_nothing_running(home: Home) -> None:
    """The last test of this module: it ends what the others use."""
    async with Attached(home) as lab:
        pids = [lab.state["pid"], *(part["pid"] for part in lab.parts.values())]
    assert all(psutil.pid_exists(pid) for pid in pids)
    children = psutil.Process(pids[0]).children(recursive=True)
    code, text = await labctl("stop", "--folder", str(home.folder))
    assert (code, text) == (0, "stopped\n")
    gone, alive = psutil.wait_procs(children, timeout=60)
    assert not alive
    assert {process.pid for process in gone} >= set(pids[1:])
    code, text = await labctl("status", "--folder", str(home.folder))
    assert (code, "no data centre runs" in text) == (1, True), text
    assert await labctl("stop", "--folder", str(home.folder)) == (0, f"nothing runs in {home.folder}\n")
