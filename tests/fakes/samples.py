"""deploy/samples as plain objects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ruamel.yaml import YAML

from vmscaler.api.meta import Json

SAMPLES = Path(__file__).resolve().parents[2] / "deploy" / "samples"


def sample(file: str, change: Callable[[Json], None] = lambda body: None) -> Json:
    """The object of `file` (without its ending), changed."""
    body: Json = YAML(typ="safe").load((SAMPLES / f"{file}.yaml").read_text())
    change(body)
    return body
