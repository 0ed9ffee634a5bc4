"""A client of a data centre that `lab.serve` runs, by what it wrote into its folder. Called by the demo and the commands."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from types import TracebackType
from typing import Any

import aiohttp

from lab.controlplane import Cluster
from lab.home import Home
from lab.kubectl import KubectlError
from lab.process import Json, PartError


class Attached:
    """Use as an async context manager."""

    def __init__(self, home: Home) -> None:
        """Raises PartError when nothing runs there."""
        self.home = home
        self.state: Json = home.read()
        self.cluster = Cluster(Path(self.state["kubeconfig"]), self.state["server"], "")
        self._tls = ssl.create_default_context(cadata=self.state["jenkins"]["ca"])

    async def __aenter__(self) -> Attached:
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._http.close()

    @property
    def parts(self) -> dict[str, Json]:
        """By name: pid, control, url, log."""
        found: dict[str, Json] = self.state["parts"]
        return found

    async def control(self, part: str, method: str, path: str, body: Any = None) -> Any:
        """Call a part's control port. Raises PartError with its answer, also for a part that has none."""
        known = {name: one["control"] for name, one in self.parts.items() if one["control"]}
        if part not in known:
            raise PartError(f"no part {part!r} with switches; there is {', '.join(sorted(known))}")
        status, answer = await self._json(method, known[part] + path, json=body)
        if status >= 400:
            raise PartError(f"{part}: {answer.get('error', answer) if isinstance(answer, dict) else answer}")
        return answer

    async def known_faults(self, part: str) -> dict[str, str]:
        """The faults that a part takes, as it tells them itself when asked for one that there is not."""
        _, answer = await self._json("PUT", self.parts[part]["control"] + "/faults", json={"?": True})
        known: dict[str, str] | None = answer.get("known") if isinstance(answer, dict) else None
        return known or {}

    async def rate(self, requests_per_second: float) -> None:
        """Set the load."""
        await self.control("load", "PUT", "/rate", {"rate": requests_per_second})

    async def get_json(self, url: str) -> Any:
        """Any plain URL of the lab. Raises PartError for a status that is an error."""
        status, answer = await self._json("GET", url)
        if status >= 400:
            raise PartError(f"{url}: {status}")
        return answer

    async def jenkins(self, path: str) -> Any:
        """GET below Jenkins' root: JSON, else text; None for 404. Raises PartError for another error."""
        jenkins = self.state["jenkins"]
        async with self._http.get(jenkins["url"] + path, headers=jenkins["headers"], ssl=self._tls) as answer:
            if answer.status == 404:
                return None
            if answer.status >= 400:
                raise PartError(f"Jenkins {path}: {answer.status}")
            return await answer.json() if answer.content_type == "application/json" else await answer.text()

    async def objects(self, kinds: str, namespace: str) -> list[Json]:
        """Objects of these kinds (comma-separated). Raises KubectlError."""
        items: list[Json] = (await self.cluster.get(kinds, "-n", namespace))["items"]
        return items

    async def _json(self, method: str, url: str, **options: Any) -> tuple[int, Any]:
        try:
            async with self._http.request(method, url, **options) as answer:
                return answer.status, await answer.json(content_type=None)
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise PartError(f"{method} {url}: {error or type(error).__name__}") from error

    def log_tail(self, part: str, lines: int = 20) -> list[str]:
        """The end of a part's log."""
        path = Path(self.parts[part]["log"])
        return path.read_text(errors="replace").splitlines()[-lines:] if path.exists() else []


def alive(pid: int) -> bool:
    """Whether that process is there and no zombie."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
    except PermissionError:
        return True


__all__ = ["Attached", "KubectlError", "alive"]
