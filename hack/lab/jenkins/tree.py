"""Jenkins' remote API as JSON: exported beans, `depth=` and `tree=`.

Stapler's rules: with depth D a property of visibility V shows at nesting N when V > N - D; with `tree=` exactly the named ones show. `_class` always
comes first, unless the type is the declared one of its place (class None here). Unknown names in a tree are ignored, bad syntax is a 500
(recordings/jenkins/03).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

INLINE = 99  # a visibility that shows at any depth


class TreeSyntaxError(ValueError):
    """The `tree` parameter cannot be parsed."""


@dataclass
class Bean:
    """An exported object: `_class` and its properties in the order in which they are written."""

    cls: str | None
    properties: dict[str, tuple[int, Any]] = field(default_factory=dict)

    def add(self, name: str, value: Any, visibility: int = 1) -> Bean:
        """Export a property; a callable is only called when the property shows."""
        self.properties[name] = (visibility, value)
        return self

    def many(self, visibility: int = 1, **values: Any) -> Bean:
        """Export several properties of one visibility."""
        for name, value in values.items():
            self.add(name, value, visibility)
        return self


@dataclass
class Node:
    """One parsed level of `tree=`."""

    children: dict[str, Node] = field(default_factory=dict)
    start: int = 0
    end: int | None = None


_TOKEN = re.compile(r"[A-Za-z0-9_*$.-]+|[\[\],{}]")


def parse_tree(text: str) -> Node:
    """`a,b[c]{0,5}` as Nodes. Raises TreeSyntaxError."""
    tokens = _TOKEN.findall(text)
    if "".join(tokens) != re.sub(r"\s", "", text):
        raise TreeSyntaxError(text)
    root, rest = _level(tokens, 0)
    if rest != len(tokens):
        raise TreeSyntaxError(text)
    return root


def _level(tokens: list[str], at: int) -> tuple[Node, int]:
    node = Node()
    while True:
        if at >= len(tokens) or tokens[at] in "[],{}":
            raise TreeSyntaxError("a name is missing")
        name, child, at = tokens[at], Node(), at + 1
        if at < len(tokens) and tokens[at] == "[":
            child, at = _level(tokens, at + 1)
            if at >= len(tokens) or tokens[at] != "]":
                raise TreeSyntaxError("] is missing")
            at += 1
        if at < len(tokens) and tokens[at] == "{":
            close = tokens.index("}", at) if "}" in tokens[at:] else -1
            if close < 0:
                raise TreeSyntaxError("} is missing")
            child.start, child.end = _range("".join(tokens[at + 1 : close]))
            at = close + 1
        node.children[name] = child
        if at < len(tokens) and tokens[at] == ",":
            at += 1
            continue
        return node, at


def _range(text: str) -> tuple[int, int | None]:
    first, comma, last = text.partition(",")
    try:
        if not comma:
            return int(first), int(first) + 1
        return int(first or 0), int(last) if last else None
    except ValueError as error:
        raise TreeSyntaxError(text) from error


def render(value: Any, shows: Callable[[str, int], Callable[..., Any] | None], node: Node | None = None) -> Any:
    """A Bean (list, dict, scalar) as plain data; `shows(name, visibility)` gives the rule for what is below, or None."""
    if isinstance(value, Bean):
        out: dict[str, Any] = {"_class": value.cls} if value.cls else {}
        for name, (visibility, content) in value.properties.items():
            below = shows(name, visibility)
            if below is not None:
                child = node.children.get(name) if node else None
                out[name] = render(content() if callable(content) else content, below, child)
        return out
    if isinstance(value, list):
        part = value[node.start : node.end] if node else value
        return [render(entry, shows, node and Node(node.children)) for entry in part]
    return value


def by_depth(depth: int) -> Callable[[str, int], Any]:
    """The rule of `depth=`."""

    def level(hidden: int) -> Callable[[str, int], Any]:
        return lambda _name, visibility: level(hidden + (visibility != INLINE)) if visibility >= hidden else None

    return level(1 - depth)


def by_tree(node: Node) -> Callable[[str, int], Any]:
    """The rule of `tree=`."""
    every = node.children.get("*")

    def shows(name: str, _visibility: int) -> Any:
        child = node.children.get(name, every)
        return None if child is None else by_tree(child)

    return shows


def api_json(bean: Bean, query: dict[str, str]) -> str:
    """The text of `<url>/api/json` for a query's tree, depth and pretty. Raises TreeSyntaxError."""
    if tree := query.get("tree"):
        node = parse_tree(tree)
        data = render(bean, by_tree(node), node)
    else:
        data = render(bean, by_depth(int(query.get("depth", "0") or 0)))
    if query.get("pretty") == "true":
        return json.dumps(data, indent=2, separators=(",", " : "), ensure_ascii=False)
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False)
