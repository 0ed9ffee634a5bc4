"""The lab's cluster begins and ends: what it keeps, and what it leaves behind (nothing). Control planes of these tests' own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
from pathlib import Path

import psutil
import pytest
from tests.contract.kube_bench import eventually

from lab.controlplane import ControlPlane
from lab.kubectl import kubectl
from lab.ports import hold_port

pytestmark = pytest.mark.lab
HACK = Path(__file__).resolve().parents[2] / "hack"
KEPT = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "kept", "namespace": "default"}}


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def test_a_kept_data_folder_survives_a_crash_and_nothing_else_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = tmp_path / "kept"
    # Sockets have a short limit on their paths, which is why they are not below pytest's.
    with tempfile.TemporaryDirectory(prefix="vmscaler-test-") as short:
        monkeypatch.setenv("TMPDIR", short)
        # Held: in the moment between the two, another program could get the port.
        first = await ControlPlane(tmp_path, data=data, port=hold_port("127.0.0.1"), fsync=True).start()
        await first.apply_objects(KEPT)
        with pytest.raises(Exception, match="in use by another control plane"):
            await ControlPlane(tmp_path / "another", data=data).start()  # with a log of its own
        await first.part.kill()
        assert os.listdir(short)  # noqa: PTH208 - a killed process cannot tidy up
        second = await ControlPlane(tmp_path / "second", data=data).start()
        assert len(os.listdir(short)) == 1  # noqa: PTH208 - the next one does
        assert (second.server, second.ca) == (first.server, first.ca)
        # The old administrator's file is as good as the new one's.
        assert "kept" in await kubectl(first.kubeconfig, "get", "configmaps", "-n", "default")
        # A dying parent is told twice: by the end of stdin and by a signal, which must not cut the tidying short.
        process = psutil.Process(second.part.pid)
        stopping = asyncio.create_task(second.stop())
        await eventually(lambda: "Shutting down" in second.part.log.read_text(), "it is about to end")
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended already
            process.terminate()
        await stopping
        assert os.listdir(short) == []  # noqa: PTH208


async def test_nothing_is_left_when_the_parent_is_killed(tmp_path: Path) -> None:
    script = """
import asyncio, sys
from pathlib import Path
from lab.controlplane import ControlPlane

async def main():
    cluster = await ControlPlane(Path(sys.argv[1]), fsync=False).start()
    print(cluster.part.pid, cluster.part.record["data"], flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""
    with tempfile.TemporaryDirectory(prefix="vmscaler-test-") as short:
        parent = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            script,
            str(tmp_path),
            env=os.environ | {"TMPDIR": short, "PYTHONPATH": str(HACK)},
            stdout=asyncio.subprocess.PIPE,
        )
        assert parent.stdout is not None
        pid, data = (await parent.stdout.readline()).decode().split()
        child = psutil.Process(int(pid))
        family = [child, *child.children(recursive=True)]
        assert Path(data).is_relative_to(short)
        assert os.listdir(short)  # noqa: PTH208
        parent.kill()
        await parent.wait()
        await eventually(lambda: not any(alive(process) for process in family), "its processes are gone")
        assert os.listdir(short) == []  # noqa: PTH208
