"""The lab's monitoring host by SSH, judged by asyncssh: a pinned log-in, a changed host key, an sshd that is away, and the stand-in for one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import asyncssh
import pytest
import pytest_asyncio
from tests.contract.monitoring_bench import Monitoring, log_in

from lab.monitoring import sshd
from lab.ports import hold_port
from lab.process import PartError

pytestmark = [pytest.mark.lab, pytest.mark.asyncio(loop_scope="session")]


@pytest_asyncio.fixture(loop_scope="session", autouse=True)
async def healed(lab_monitoring: Monitoring) -> AsyncIterator[None]:
    yield
    await lab_monitoring.faults()


async def test_a_pinned_log_in_runs_commands_and_replaces_files(lab_monitoring: Monitoring) -> None:
    async with lab_monitoring.ssh() as connection:
        await replaces_a_file(connection, lab_monitoring.folder)


async def test_another_host_key_than_the_pinned_one_is_refused(lab_monitoring: Monitoring) -> None:
    other = asyncssh.generate_private_key("ssh-ed25519").export_public_key().decode()
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        async with lab_monitoring.ssh(other):
            pass


async def test_only_the_key_logs_in(lab_monitoring: Monitoring) -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519")
    for options in ({"client_keys": [stranger]}, {"client_keys": None, "password": "sample-password"}):
        with pytest.raises(asyncssh.PermissionDenied):
            async with lab_monitoring.ssh(**options):
                pass


async def test_a_changed_host_key_is_seen_and_mended(lab_monitoring: Monitoring) -> None:
    async with lab_monitoring.ssh() as held:
        await lab_monitoring.faults(sshd="hostKeyChanged")
        await held.wait_closed()  # a host made anew drops its sessions
    with pytest.raises(asyncssh.HostKeyNotVerifiable):
        async with lab_monitoring.ssh():
            pass
    _, status = await lab_monitoring.control("GET", "/status")
    assert status["sshd"]["hostKeys"] != lab_monitoring.record["ssh"]["hostKeys"]
    async with lab_monitoring.ssh(status["sshd"]["hostKeys"][0]):
        pass
    await lab_monitoring.faults()
    async with lab_monitoring.ssh():
        pass


async def test_an_sshd_that_is_down_or_hangs(lab_monitoring: Monitoring) -> None:
    await lab_monitoring.faults(sshd="down")
    with pytest.raises(ConnectionRefusedError):
        async with lab_monitoring.ssh():
            pass
    await lab_monitoring.faults(sshd="hangs")
    with pytest.raises((TimeoutError, asyncssh.ConnectionLost)):
        async with lab_monitoring.ssh(login_timeout=0.5, connect_timeout=0.5):
            pass
    await lab_monitoring.faults()
    async with lab_monitoring.ssh():
        pass


async def test_the_stand_in_does_the_same_and_says_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def none() -> sshd.Sshd:
        raise PartError("no sshd in this test")

    monkeypatch.setattr(sshd, "find_sshd", none)
    hack = str(Path(sshd.__file__).parents[2])
    monkeypatch.setenv("PYTHONPATH", hack)
    server = sshd.SshServer(tmp_path / "ssh", tmp_path / "sshd.log", "127.0.0.1", hold_port("127.0.0.1"))
    await server.choose()
    try:
        assert "stand-in" in server.status()["kind"]
        record = {
            "host": server.address,
            "port": server.port,
            "user": server.user,
            "hostKeys": server.host_keys(),
            "privateKeyPath": str(server.private_key),
        }
        async with log_in(record) as connection:
            await replaces_a_file(connection, tmp_path)
        with pytest.raises(asyncssh.HostKeyNotVerifiable):
            async with log_in(record, server.host_keys(pinned=False)[0]):
                pass
        with pytest.raises(asyncssh.PermissionDenied):
            async with log_in(record, username="somebody"):
                pass
    finally:
        await server.child.stop()


async def replaces_a_file(connection: asyncssh.SSHClientConnection, folder: Path) -> None:
    """What an editor needs of a host: exit statuses, both outputs, input, and an atomic replace over SFTP."""
    done = await connection.run("cat; echo problem >&2; exit 3", input="text")
    assert (done.exit_status, done.stdout, done.stderr) == (3, "text", "problem\n")
    done = await connection.run("exec >&-; head -c 300000 /dev/zero >&2", encoding=None)
    assert len(done.stderr or b"") == 300_000  # all of it, though its other output has long ended
    assert (await connection.run("kill -9 $$")).returncode == -9
    target = folder / "replaced"
    target.write_text("old")
    async with connection.start_sftp_client() as sftp:
        async with sftp.open(f"{target}.new", "w") as file:
            await file.write("new")
            await file.fsync()
        with pytest.raises(asyncssh.SFTPError):
            await sftp.rename(f"{target}.new", str(target))
        await sftp.posix_rename(f"{target}.new", str(target))
    assert target.read_text() == "new"
