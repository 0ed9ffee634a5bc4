"""The host's SSH server: OpenSSH's own where it is at hand, else a stand-in on asyncssh that says so.

Called by `lab.monitoring.host`. Key login only, as the user who runs the lab; host keys of the run; SFTP on.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import sys
from pathlib import Path
from typing import Any

import asyncssh

from lab.monitoring.child import Child
from lab.process import PartError
from lab.programs import Sshd, find_sshd, say

_PRIVSEP_USER, _PRIVSEP_FOLDER = "sshd", Path("/run/sshd")


class SshServer:
    """One server on a fixed port, with two host keys: the pinned one and another for "the host key changed"."""

    def __init__(self, folder: Path, log: Path, address: str, port: int) -> None:
        """Keys are made here: `folder` is of this run and 0700."""
        self.user = pwd.getpwuid(os.getuid()).pw_name
        self.address, self.port = address, port
        self.kind = "not started"
        self._folder, self._log = folder, log
        folder.mkdir(mode=0o700, parents=True)
        self.private_key = _key(folder / "login_key")
        self._host_keys = {True: _key(folder / "host_key"), False: _key(folder / "other_host_key")}
        (folder / "authorized_keys").write_text(_public(self.private_key) + "\n")
        self._openssh: Sshd | None = None
        self.child = Child("sshd", log, self._greets)

    def host_keys(self, *, pinned: bool = True) -> list[str]:
        """ "ssh-ed25519 AAAA...": what the Site pins; with pinned=False the key that a fault puts in its place."""
        return [_public(self._host_keys[pinned])]

    async def choose(self) -> None:
        """Decide which server it is: OpenSSH if a login really works, else the stand-in; leaves it running."""
        try:
            self._openssh = await find_sshd()
            if os.geteuid() == 0:
                await _privilege_separation()
            self.child = Child("sshd", self._log, self._greets, environment=self._openssh.environment)
            self.kind = f"OpenSSH {self._openssh.version}"
            await self.start()
            await self._log_in()
        except (PartError, OSError, asyncssh.Error) as error:
            await self.child.stop()
            say(f"monitoring: NO REAL SSHD ({error}); an asyncssh stand-in takes its place")
            self._openssh, self.kind = None, "stand-in (asyncssh)"
            self.child = Child("sshd stand-in", self._log, self._greets)
            await self.start()
            await self._log_in()
        say(f"monitoring: ssh {self.user}@{self.address}:{self.port} is {self.kind}")

    async def start(self, *, pinned: bool = True) -> None:
        """Start with the pinned host key, or with the other one. Raises PartError."""
        await self.child.start(self._argv(self._host_keys[pinned]))

    def _argv(self, host_key: Path) -> list[str]:
        if self._openssh is None:
            config = self._folder / "standin.json"
            keys = {"hostKey": str(host_key), "authorizedKeys": str(self._folder / "authorized_keys")}
            config.write_text(json.dumps({"address": self.address, "port": self.port, "user": self.user, **keys}))
            return [sys.executable, "-m", "lab.monitoring.standin", str(config)]
        config = self._folder / "sshd_config"
        lines = [
            f"ListenAddress {self.address}:{self.port}",
            f'HostKey "{host_key}"',
            f'AuthorizedKeysFile "{self._folder / "authorized_keys"}"',
            f'PidFile "{self._folder / "sshd.pid"}"',
            f"AllowUsers {self.user}",
            "AuthenticationMethods publickey",
            "PasswordAuthentication no",
            "PermitRootLogin prohibit-password",
            "UsePAM no",  # no stack of the machine's is meant for us
            "StrictModes no",  # the run's folder may lie in a temporary folder that others may write to
            f'SetEnv "HOME={self._folder}"',  # no start-up file of this user's shell: they can take longer than what is run
            "Subsystem sftp internal-sftp",
            *self._openssh.config_lines,
        ]
        config.write_text("\n".join(lines) + "\n")
        return [self._openssh.path, "-D", "-e", "-f", str(config)]

    async def _greets(self) -> bool:
        try:
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection(self.address, self.port)
                greeting = await reader.read(4)
                writer.close()
                return greeting == b"SSH-"
        except (OSError, TimeoutError):
            return False

    async def _log_in(self) -> None:
        pin = f"[{self.address}]:{self.port} {self.host_keys()[0]}\n"
        async with (
            asyncio.timeout(60),
            asyncssh.connect(
                self.address,
                self.port,
                username=self.user,
                client_keys=[str(self.private_key)],
                known_hosts=asyncssh.import_known_hosts(pin),
                config=None,
                agent_path=None,
            ) as connection,
        ):
            await connection.run("true", check=True)

    def status(self) -> dict[str, Any]:
        """For the control port."""
        return {"state": self.child.state, "kind": self.kind, "pid": self.child.pid}


async def _privilege_separation() -> None:
    """What sshd needs where it runs as root: a user and an empty folder (sshd(8)), as the package would make them.

    Not by installing the package: that would also enable an sshd on port 22 at the next boot. Raises PartError."""
    try:
        pwd.getpwnam(_PRIVSEP_USER)
    except KeyError:
        useradd = shutil.which("useradd", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if useradd is None:
            raise PartError(f"sshd as root needs the user {_PRIVSEP_USER}, and there is no useradd") from None
        options = ["--system", "--no-create-home", "--home-dir", str(_PRIVSEP_FOLDER), "--shell", "/usr/sbin/nologin"]
        process = await asyncio.create_subprocess_exec(useradd, *options, _PRIVSEP_USER)
        # Two runs at once: the one that came second finds the user there (useradd(8): 9), or the files locked until it is there.
        if await process.wait() not in (0, 9) and _PRIVSEP_USER not in {entry.pw_name for entry in pwd.getpwall()}:
            raise PartError(f"useradd {_PRIVSEP_USER} failed") from None
        say(f"monitoring: added the system user {_PRIVSEP_USER} (sshd's privilege separation as root needs it)")
    await asyncio.to_thread(_PRIVSEP_FOLDER.mkdir, mode=0o755, parents=True, exist_ok=True)


def _key(path: Path) -> Path:
    key = asyncssh.generate_private_key("ssh-ed25519", comment="vmscaler lab")
    key.write_private_key(str(path))
    path.chmod(0o600)
    key.write_public_key(f"{path}.pub")
    return path


def _public(path: Path) -> str:
    """Type and key, without the comment."""
    return " ".join(Path(f"{path}.pub").read_text().split()[:2])
