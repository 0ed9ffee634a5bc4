"""Every reason word that the product can give, read from its source: for the test that docs/conditions.md knows them all.

A reason is a CamelCase constant at the place where a call takes one. What other systems call their own errors (the API server's
`reason`, vCenter's fault types) is passed on and cannot be read here; docs/conditions.md says so in words.
"""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "operator" / "vmscaler"

# Callable -> position of its reason (without self).
TAKES_REASON = {
    **dict.fromkeys(("Retryable", "Untrusted", "Closed", "Rejected", "NotFound", "Conflict", "OutsideError"), 1),
    **dict.fromkeys(("StepFailed", "Refusal", "Hold", "no"), 0),
    **dict.fromkeys(("Seen", "Verdict", "Outcome", "Claimed", "_error"), 1),
    "put": 2,
    "set_condition": 3,
    "until": 3,
    "emit": 2,
    "_held": 2,
}
_REASON = re.compile(r"[A-Z][a-z]+[A-Za-z]*\Z")


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _strings(node: ast.expr | None) -> Iterator[str]:
    """The constants of an expression that are reasons: a plain one, or each side of `a or b`."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and _REASON.match(node.value):
        yield node.value
    elif isinstance(node, ast.BoolOp):
        for value in node.values:
            yield from _strings(value)


def _of_call(call: ast.Call) -> Iterator[str]:
    name = _name(call)
    for keyword in call.keywords:
        if keyword.arg == "reason":
            yield from _strings(keyword.value)
        if keyword.arg == "timed_out":
            yield from _strings(keyword.value)
    position = TAKES_REASON.get(name)
    if name == "__init__" and isinstance(call.func, ast.Attribute) and isinstance(call.func.value, ast.Call):
        position = 1  # super().__init__(system, reason, message) of an error
    if position is not None and len(call.args) > position:
        yield from _strings(call.args[position])
    if name == "_named":  # vSphere's look-ups make two reasons of one word
        for argument in call.args:
            for word in _strings(argument):
                yield from (f"{word}NotFound", f"{word}Ambiguous")


def _of_dict(node: ast.Dict) -> Iterator[str]:
    for key, value in zip(node.keys, node.values, strict=True):
        if isinstance(key, ast.Constant) and key.value == "reason":
            yield from _strings(value)


def _of_assignment(node: ast.Assign) -> Iterator[str]:
    """`reason, message = "SiteNotFound", ...`"""
    for target in node.targets:
        if isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            for one, value in zip(target.elts, node.value.elts, strict=False):
                if isinstance(one, ast.Name) and one.id == "reason":
                    yield from _strings(value)


@cache
def reasons() -> dict[str, set[str]]:
    """reason -> the files (below operator/vmscaler) that give it."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            match node:
                case ast.Call():
                    words = _of_call(node)
                case ast.Dict():
                    words = _of_dict(node)
                case ast.Assign():
                    words = _of_assignment(node)
                case _:
                    continue
            for word in words:
                found[word].add(path.relative_to(PACKAGE).as_posix())
    return dict(found)
