"""An SSH server for machines without OpenSSH's: asyncssh's, with a shell command per session, and SFTP.

Started by `lab.monitoring.sshd` as `python -m lab.monitoring.standin FILE` (its JSON: address, port, user, hostKey,
authorizedKeys). One connection may open any number of sessions, unlike OpenSSH's MaxSessions.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

import asyncssh


class _Door(asyncssh.SSHServer):
    def __init__(self, user: str) -> None:
        self._user = user

    def begin_auth(self, username: str) -> bool:
        if username != self._user:
            raise asyncssh.PermissionDenied(f"only {self._user} may log in")
        return True


async def _session(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run the command through the shell, as the user who runs this, with its streams joined to the channel's."""
    command = ["/bin/sh", "-c", process.command] if process.command else ["/bin/sh"]
    child = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    # Neither output's end is the session's: what the other one says later would have nowhere to go.
    await process.redirect(child.stdin, child.stdout, child.stderr, send_eof=False)
    try:
        status = await child.wait()
        # Both: what is still in a pipe when the channel is closed is lost.
        await process.stdout.drain()
        await process.stderr.drain()
        if status < 0:
            process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
        else:
            process.exit(status)
    finally:
        if child.returncode is None:
            child.kill()


async def _main(config: dict[str, Any]) -> None:
    server = await asyncssh.create_server(
        lambda: _Door(config["user"]),
        config["address"],
        config["port"],
        server_host_keys=[config["hostKey"]],
        authorized_client_keys=config["authorizedKeys"],
        process_factory=_session,
        sftp_factory=True,
        encoding=None,
        config=None,
    )
    await server.wait_closed()


if __name__ == "__main__":
    asyncio.run(_main(json.loads(Path(sys.argv[1]).read_text())))
