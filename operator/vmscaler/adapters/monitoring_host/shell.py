"""One SSH connection to one host: commands, SFTP and a lock. Facts: facts/monitoring.md, "SSH".

Called by `files` and `editor`. The host key must be one of the Site's `hostKeys`, compared as keys: there is no host pattern in between
that could fail to match (and asyncssh looks a pattern up again without its port). Nothing of the machine's own SSH set-up
is read: no config, no agent, no known_hosts, no other key.
"""

from __future__ import annotations

import asyncio
import contextlib
import shlex
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

import asyncssh

from vmscaler.api.site import Ssh
from vmscaler.ports.errors import Closed, Rejected, Retryable, Untrusted
from vmscaler.ports.monitoring import SYSTEM

_SESSIONS = 4  # OpenSSH's MaxSessions is 10 by default, and people's tools want some
_LOCK_WAIT = 20  # seconds
_SIGNALS = 64  # Linux has 1 to 64
_HOST_KEY_ALGORITHMS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512", "rsa-sha2-256")


@dataclass(frozen=True)
class SshKey:
    """What the Secret holds: a private key as text, and its passphrase if it has one."""

    private_key: str = field(repr=False)
    passphrase: str | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Done:
    """A command that came to its end. `output` is both streams; `status` is 127 where there is no such program, as in a shell."""

    status: int
    output: str


class Shell:
    """A host by SSH. Raises Retryable (no connection, time-out; Closed), Untrusted (host key, login), Rejected(NotAccessible)."""

    def __init__(self, name: str, ssh: Ssh, key: SshKey, *, timeout: float = 20.0) -> None:
        """`name` is for messages; `timeout` in seconds, for a log-in and for each call."""
        self.name = name
        self._ssh, self._key, self._timeout = ssh, key, timeout
        self._connecting, self._opening = asyncio.Lock(), asyncio.Lock()
        self._sessions = asyncio.Semaphore(_SESSIONS)
        self._connection: asyncssh.SSHClientConnection | None = None
        self._sftp: tuple[asyncssh.SSHClientConnection, asyncssh.SFTPClient] | None = None
        self._lock_is_on: asyncssh.SSHClientConnection | None = None
        self._closed = False

    async def close(self) -> None:
        """Close the connection; later calls raise Closed."""
        self._closed = True
        connection, self._connection, self._sftp = self._connection, None, None
        if connection is not None:
            connection.abort()
            await connection.wait_closed()

    async def run(self, argv: Sequence[str], *, timeout: float = 60.0) -> Done:
        """A command and all it prints. `timeout` in seconds.

        Raises Retryable for one that was ended by a signal, or with its connection: it said neither yes nor no.
        """
        async with self._sessions:
            connection = await self._connected()
            with self._told(argv[0], connection):
                async with asyncio.timeout(timeout):
                    done = await connection.run(shlex.join(argv), stderr=asyncssh.STDOUT, stdin=asyncssh.DEVNULL, errors="replace")
        return Done(self._status(argv[0], done, connection), str(done.stdout or ""))

    def _status(self, what: str, done: asyncssh.SSHCompletedProcess, connection: asyncssh.SSHClientConnection) -> int:
        if done.returncode is None:
            self._drop(connection)
            raise Retryable(SYSTEM, "Unreachable", f"{self._where}: the connection was lost while {what} ran")
        # sshd tells a signal as one, the user's shell in between (dash; bash replaces itself by the command) as 128 + signal.
        signal = -done.returncode if done.returncode < 0 else done.returncode - 128
        if 0 < signal <= _SIGNALS:
            raise Retryable(SYSTEM, "HostBusy", f"{self._where}: {what} was killed there by signal {signal}")
        return done.returncode

    @contextlib.asynccontextmanager
    async def sftp(self, what: str) -> AsyncIterator[asyncssh.SFTPClient]:
        """The connection's SFTP client; `what` (a path) is named in what it raises."""
        async with self._sessions:
            connection = await self._connected()
            with self._told(what, connection):
                async with asyncio.timeout(self._timeout):
                    yield await self._sftp_on(connection)

    async def _sftp_on(self, connection: asyncssh.SSHClientConnection) -> asyncssh.SFTPClient:
        async with self._opening:
            if self._sftp is None or self._sftp[0] is not connection:
                self._sftp = connection, await connection.start_sftp_client()
            return self._sftp[1]

    @contextlib.asynccontextmanager
    async def locked(self, path: str) -> AsyncIterator[None]:
        """Hold an exclusive flock on the host, on a file that is made if missing.

        flock(1) runs a shell that waits for the end of its input: whatever ends the connection ends it, and the kernel lets go. So no
        other connection is opened inside: what goes on after the lock was lost would meddle with the next holder's staged files.
        Raises Retryable(FileBusy) after 20 s. People and their tools ignore it: it is for other editors of ours.
        """
        script = "echo locked; exec cat >/dev/null"
        argv = ["flock", "-x", "-w", str(_LOCK_WAIT), path, "sh", "-c", script]
        connection = await self._connected()
        with self._told(path, connection):
            async with asyncio.timeout(self._timeout):
                holder = await connection.create_process(shlex.join(argv), stderr=asyncssh.STDOUT, errors="replace")
        try:
            with self._told(path, connection):
                async with asyncio.timeout(_LOCK_WAIT + self._timeout):
                    first = await holder.stdout.readline()
                    if first != "locked\n":
                        rest = await holder.wait()
                        raise self._not_locked(path, self._status("flock", rest, connection), first + str(rest.stdout or ""))
            self._lock_is_on = connection
            yield
        finally:
            self._lock_is_on = None
            with contextlib.suppress(TimeoutError, OSError, asyncssh.Error):
                holder.stdin.write_eof()
                async with asyncio.timeout(self._timeout):
                    await holder.wait_closed()
            holder.close()

    def _not_locked(self, path: str, status: int, output: str) -> Rejected | Retryable:
        if status == 1 and not output.strip():
            return Retryable(SYSTEM, "FileBusy", f"{self.name}: another editor has held {path} for {_LOCK_WAIT} s")
        if status == 127:
            return self.not_accessible("flock is not there: install util-linux")
        return self.not_accessible(f"{path} cannot be locked ({output.strip()[:200]}): `{self._ssh.user}` must be able to write there")

    def not_accessible(self, what: str) -> Rejected:
        """The error for paths and permissions."""
        return Rejected(SYSTEM, "NotAccessible", f"{self.name}: {what}")

    @property
    def _where(self) -> str:
        return f"{self.name} ({self._ssh.user}@{self._ssh.host}:{self._ssh.port})"

    async def _connected(self) -> asyncssh.SSHClientConnection:
        async with self._connecting:
            self._refuse_closed()
            known = self._connection
            if known is not None and not known.is_closed() and self._lock_is_on in (None, known):
                return known
            if self._lock_is_on is not None:
                raise Retryable(SYSTEM, "Unreachable", f"{self._where}: the connection was lost, and the lock with it")
            with self._told("log-in", None):
                fresh = await self._log_in()
            if self._closed:
                fresh.abort()
            self._refuse_closed()
            self._connection = fresh
            return fresh

    def _refuse_closed(self) -> None:
        if self._closed:
            raise Closed(SYSTEM, "Closed", f"{self._where}: this client was closed: its Site or Secret has changed", after=1.0)

    async def _log_in(self) -> asyncssh.SSHClientConnection:
        try:
            pins = [asyncssh.import_public_key(key) for key in self._ssh.host_keys]
        except (asyncssh.KeyImportError, ValueError) as error:
            raise Untrusted(SYSTEM, "HostKeyUnusable", f"{self.name}: one of ssh.hostKeys is no public key ({error})") from None
        try:
            key = asyncssh.import_private_key(self._key.private_key, self._key.passphrase)
        except (asyncssh.KeyImportError, asyncssh.KeyEncryptionError, ValueError):
            raise Untrusted(
                SYSTEM,
                "LoginRefused",
                f"{self.name}: the Secret `{self._ssh.credentials_secret_ref.name}` holds no private key that can be read:"
                " put an OpenSSH or PEM key under `privateKey`, and its `passphrase` if it has one",
            ) from None
        return await asyncssh.connect(
            self._ssh.host,
            self._ssh.port,
            username=self._ssh.user,
            client_keys=[key],
            known_hosts=(pins, [], []),
            server_host_key_algs=_host_key_algorithms(pins),
            config=None,
            agent_path=None,
            agent_forwarding=False,
            preferred_auth="publickey",
            connect_timeout=self._timeout,
            login_timeout=self._timeout,
            keepalive_interval=15,
        )

    @contextlib.contextmanager
    def _told(self, what: str, connection: asyncssh.SSHClientConnection | None) -> Iterator[None]:
        """Say in the port's words what goes wrong inside, and drop the connection that it went wrong on: another may be in its place already."""
        where = self._where
        try:
            yield
        except asyncssh.HostKeyNotVerifiable as error:
            raise Untrusted(
                SYSTEM,
                "HostKeyChanged",
                f"{where} shows a host key that is none of ssh.hostKeys ({error}). Nothing was sent. If the host was made anew, put"
                f" what `ssh-keyscan -p {self._ssh.port} {self._ssh.host}` prints there into the Site, after comparing it on the host itself",
            ) from None
        except asyncssh.PermissionDenied as error:
            raise Untrusted(
                SYSTEM,
                "LoginRefused",
                f"{where} refuses the log-in ({error}): the public half of the key in the Secret"
                f" `{self._ssh.credentials_secret_ref.name}` must be in that user's authorized_keys",
            ) from None
        except (asyncssh.SFTPPermissionDenied, asyncssh.SFTPWriteProtect):
            raise self.not_accessible(f"`{self._ssh.user}` may not do this to {what}: give it the permission") from None
        except (asyncssh.SFTPNoSuchFile, asyncssh.SFTPNoSuchPath):
            raise self.not_accessible(f"{what} is not there") from None
        except (asyncssh.SFTPNoConnection, asyncssh.SFTPConnectionLost) as error:
            self._drop(connection)
            raise Retryable(SYSTEM, "Unreachable", f"{where}: the connection was lost ({error})") from None
        except asyncssh.SFTPError as error:
            raise Retryable(SYSTEM, "FileFailed", f"{where}: {what}: {error.reason or 'the host says only that it failed'}") from None
        except asyncssh.ChannelOpenError as error:
            if connection is not None and connection.is_closed():
                self._drop(connection)
            raise Retryable(SYSTEM, "HostBusy", f"{where} opens no more sessions ({error})") from None
        except TimeoutError:
            self._drop(connection)
            raise Retryable(SYSTEM, "Unreachable", f"{where} did not answer in time ({what})") from None
        except (asyncssh.Error, OSError) as error:
            self._drop(connection)
            raise Retryable(SYSTEM, "Unreachable", f"{where} cannot be reached: {error}") from None

    def _drop(self, connection: asyncssh.SSHClientConnection | None) -> None:
        if connection is None:
            return
        if self._connection is connection:
            self._connection = None
        connection.abort()


def _host_key_algorithms(pins: Sequence[asyncssh.SSHKey]) -> list[str]:
    """Those of the pinned keys first, then all: a host that has no key of a pinned kind shall show what it has, and be refused for it.

    Offered only the pinned kinds, it would hang up without a word, which looks like a host that is down.
    """
    pinned = [algorithm.decode("ascii") for pin in pins for algorithm in pin.sig_algorithms]
    return list(dict.fromkeys([*pinned, *_HOST_KEY_ALGORITHMS]))
