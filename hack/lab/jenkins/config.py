"""What the part's JSON config may hold; unknown keys are refused so that a misspelt one is noticed."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class User:
    """A login: the password needs a crumb for POST, the API token does not (facts/jenkins.md "What python-jenkins raises")."""

    name: str
    password: str
    token: str


@dataclass(frozen=True)
class Config:
    """Times are in seconds. The defaults are the real ones (recordings/jenkins); tests shorten them and say so."""

    home: Path  # JENKINS_HOME: jobs/<name>/config.xml, jobs/<name>/builds/<n>/log
    workspace: Path  # parent of the jobs' workspaces (default: <home>/workspace)
    users: tuple[User, ...]
    host: str = "127.0.0.1"
    port: int = 0
    url: str | None = None  # root URL, with a trailing slash; default: where it listens
    cert: Path | None = None  # PEM; with `key` the part speaks HTTPS
    key: Path | None = None
    executors: int = 2
    labels: tuple[str, ...] = ("built-in",)
    path: tuple[str, ...] = ()  # folders put before the agent's PATH
    env: dict[str, str] = field(default_factory=dict)  # further environment of every sh
    path_map: dict[str, str] = field(default_factory=dict)  # path prefix in scripts and environment -> folder here
    quiet_period: float = 5.0  # of jobs that give none
    queue_scan: float = 5.0  # how often waiting items are looked at (recordings README: "for up to 5 s")
    left_items: float = 300.0  # how long a left queue item can be asked for
    build_start: float = 0.15  # from the queue to the pipeline's first line; a real one takes as long or longer
    timeout_grace: float = 60.0  # after a time limit, before the body is ended by force
    stop_again: float = 5.0  # TERM is sent again after this
    stop_wait: float = 20.0  # "After 20s process did not stop"
    offer_force: float = 15.0  # "Click here to forcibly terminate running steps"

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> Config:
        """Raises ValueError that names an unknown or missing key."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(raw) - known):
            raise ValueError(f"unknown config key {unknown[0]!r}; known: {', '.join(sorted(known))}")
        if "home" not in raw or not raw.get("users"):
            raise ValueError("the config needs `home` (a folder) and `users` ([{user, password, token}])")
        values: dict[str, Any] = dict(raw)
        values["home"] = Path(raw["home"])
        values["workspace"] = Path(raw.get("workspace") or values["home"] / "workspace")
        values["users"] = tuple(User(u["user"], u["password"], u["token"]) for u in raw["users"])
        for name in ("cert", "key"):
            if raw.get(name):
                values[name] = Path(raw[name])
        for name in ("labels", "path"):
            if name in raw:
                values[name] = tuple(raw[name])
        return cls(**values)
