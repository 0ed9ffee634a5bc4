"""The host's files: what people wrote, the folders that are the product's, and programs under the names of the Site.

Called by `lab.monitoring.host`. People's files are templates of ours whose only blanks are addresses and durations.
"""

from __future__ import annotations

import ipaddress
import re
import shlex
import string
from dataclasses import dataclass
from pathlib import Path

from lab.control import BadRequest

_PEOPLE = Path(__file__).parent / "people"
_HOST_PORT = re.compile(r"([0-9.]+):(\d{1,5})")
_DURATION = re.compile(r"\d+(ms|s|m)")
_URL = re.compile(r"http://[0-9.:]+/[a-z]+")


@dataclass(frozen=True)
class Files:
    """Where things are under the host's root folder."""

    root: Path

    @property
    def prometheus(self) -> Path:
        """/etc/prometheus/prometheus.yml of this host."""
        return self.root / "etc" / "prometheus" / "prometheus.yml"

    @property
    def alertmanager(self) -> Path:
        """/etc/alertmanager/alertmanager.yml of this host."""
        return self.root / "etc" / "alertmanager" / "alertmanager.yml"

    @property
    def rules(self) -> Path:
        """The folder for the product's rule files; nothing includes it until the product says so."""
        return self.prometheus.parent / "vmscaler-rules"

    @property
    def targets(self) -> Path:
        """The folder for the product's file_sd files."""
        return self.prometheus.parent / "vmscaler-targets"

    @property
    def tokens(self) -> Path:
        """The folder for the product's token files."""
        return self.alertmanager.parent / "vmscaler-tokens"

    @property
    def state(self) -> Path:
        """Keys, data and process ids."""
        return self.root / "var"

    def log(self, name: str) -> Path:
        """The log of one program."""
        return self.root / "log" / f"{name}.log"

    def program(self, name: str) -> Path:
        """promtool or amtool as the Site names it: a link here, so that a fault can take it away."""
        return self.root / "bin" / name

    def write_people(self, values: dict[str, str]) -> None:
        """Lay out the folders and what people wrote. Raises ValueError for a value that is not an address or duration."""
        for name, value in values.items():
            _check(name, value)
        for folder in (self.rules, self.targets):
            folder.mkdir(parents=True)
        self.tokens.mkdir(parents=True, mode=0o700)
        for folder in (self.state, self.root / "bin", self.root / "log"):
            folder.mkdir(parents=True)
        for template, target, mode in (
            ("prometheus.yml", self.prometheus, 0o644),
            ("alertmanager.yml", self.alertmanager, 0o640),  # receivers hold secrets: people keep it narrower
            ("rules.yml", self.prometheus.parent / "rules" / "platform.yml", 0o644),
            ("billing-targets.yml", self.prometheus.parent / "targets" / "billing-1.yml", 0o644),
            ("subject.tmpl", self.alertmanager.parent / "templates" / "subject.tmpl", 0o644),
        ):
            target.parent.mkdir(exist_ok=True)
            text = (_PEOPLE / template).read_text()
            blanks = target in (self.prometheus, self.alertmanager)
            target.write_text(string.Template(text).substitute(values) if blanks else text)
            target.chmod(mode)

    def append_comment(self, file: str, comment: str) -> Path:
        """A person writes a comment at the end of "prometheus" or "alertmanager", in place, as with an editor.

        Raises BadRequest for another file or a comment of several lines."""
        if file not in ("prometheus", "alertmanager") or not comment.isprintable():
            raise BadRequest('file is "prometheus" or "alertmanager", comment is one printable line')
        path = self.prometheus if file == "prometheus" else self.alertmanager
        with path.open("a") as opened:
            opened.write(f"# {comment}\n")
        return path

    def set_program(self, name: str, real: str, fault: str | None) -> None:
        """Make `program(name)` the real one (None), one that says so and exits 1 ("fails"), or nothing ("missing")."""
        path = self.program(name)
        path.unlink(missing_ok=True)
        if fault is None:
            path.symlink_to(real)
        elif fault == "fails":
            path.write_text(f"#!/bin/sh\necho {shlex.quote(name)}: fault switched on in the lab >&2\nexit 1\n")
            path.chmod(0o755)


def _check(name: str, value: str) -> None:
    if match := _HOST_PORT.fullmatch(value):
        ipaddress.IPv4Address(match.group(1))
    elif not _DURATION.fullmatch(value) and not _URL.fullmatch(value):
        raise ValueError(f"{name}: {value!r} is no address, duration or URL")
