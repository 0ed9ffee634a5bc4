"""YAML that people wrote, as nodes with their positions: parsed to be looked at, never to be written back.

Called by `decide.splice`. Positions are ruamel.yaml's marks (indices into the text); two trees are compared by fingerprints, so
that aliases that hold one another cost nothing. 0.34 MB take 0.7 s of CPU: never on the event loop.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

MAX_BYTES = 4 * 1024 * 1024
_MAX_DEPTH = 100


class StyleNotSupported(ValueError):
    """The file cannot be spliced as it is; the message names the line and what to change. The file is untouched."""


@dataclass(frozen=True)
class Tree:
    """A parsed text. `shared` holds the ids of nodes that an alias refers to."""

    text: str
    root: Node | None
    shared: frozenset[int] = field(default_factory=frozenset)

    def line(self, index: int) -> int:
        """The number of the line of this index, from 1."""
        return self.text.count("\n", 0, index) + 1


def parse(text: str) -> Tree:
    """Raises StyleNotSupported for what is no single YAML document without duplicate keys."""
    if lone := re.search(r"\r(?!\n)", text):
        raise StyleNotSupported(f"line {text.count(chr(10), 0, lone.start()) + 1} holds a carriage return that ends no line: remove it")
    yaml = YAML(typ="safe", pure=True)
    yaml.composer.warn_double_anchors = False
    try:
        root = yaml.compose(text)
    except MarkedYAMLError as error:
        raise StyleNotSupported(_explained(error)) from None
    except ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise StyleNotSupported(
            f"line {line} holds the character U+{ord(text[error.position]):04X}, which YAML forbids: remove it"
        ) from None
    except RecursionError:
        raise StyleNotSupported("the file is nested too deeply to be read") from None
    except (YAMLError, ValueError, OverflowError) as error:  # the last two: numbers of characters that there are not, in escapes
        raise StyleNotSupported(f"the file cannot be read as YAML: {error}") from None
    tree = Tree(text, root)
    return tree if root is None else Tree(text, root, _look_through(tree, root))


def _explained(error: MarkedYAMLError) -> str:
    mark = error.problem_mark or error.context_mark
    where = f"line {mark.line + 1}" if mark is not None else "the file"
    problem = " ".join(str(error.problem or error.context or error).split())
    if "expected a single document" in str(error):
        return f"{where} begins a second YAML document, which the program would not read: keep one document in the file"
    advice = "write spaces in place of the tab" if "'\\t'" in problem else "correct it"
    return f"{where} cannot be read as YAML ({problem}): {advice}"


def _look_through(tree: Tree, root: Node) -> frozenset[int]:
    """Refuse duplicate keys; gives the nodes that are met more than once."""
    seen: set[int] = set()
    shared: set[int] = set()
    stack = [(root, 1)]
    while stack:
        node, depth = stack.pop()
        if id(node) in seen:
            shared.add(id(node))
            continue
        seen.add(id(node))
        if depth > _MAX_DEPTH:
            raise StyleNotSupported(f"line {node.start_mark.line + 1} is nested more than {_MAX_DEPTH} deep: flatten it")
        if isinstance(node, MappingNode):
            _refuse_duplicates(tree, node)
        stack += [(child, depth + 1) for child in children(node)]
    return frozenset(shared)


def _refuse_duplicates(tree: Tree, node: MappingNode) -> None:
    seen: dict[str, int] = {}
    for key, _ in node.value:
        if isinstance(key, ScalarNode):
            index = key.start_mark.index
            if key.value in seen:
                first = tree.line(seen[key.value])
                raise StyleNotSupported(f"line {tree.line(index)} repeats the key {key.value!r} of line {first}: keep one of them")
            seen[key.value] = index


def children(node: Node) -> Iterator[Node]:
    """Keys and values of a mapping, items of a sequence."""
    if isinstance(node, MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, SequenceNode):
        yield from node.value


def entry(node: MappingNode, name: str) -> tuple[ScalarNode, Node] | None:
    """Key and value of this name, or None."""
    for key, value in node.value:
        if isinstance(key, ScalarNode) and key.value == name:
            return key, value
    return None


def is_empty(node: Node) -> bool:
    """A value that is not written at all (`key:`)."""
    return isinstance(node, ScalarNode) and not node.value and node.style is None and str(node.tag).endswith(":null")


def last_index(node: Node) -> int:
    """Where the node's last written character ends: collections in block style themselves end only at the next token."""
    start: int = node.start_mark.index
    last = start
    stack = [node]
    while stack:
        one = stack.pop()
        if one.start_mark.index < start:
            continue  # an alias: written elsewhere
        if isinstance(one, ScalarNode) or getattr(one, "flow_style", False):
            last = max(last, one.end_mark.index)
        elif isinstance(one, MappingNode):
            # The mark of a value that is not written (`key:`) is where the next token begins, below people's comments.
            stack += [child for child in children(one) if child.start_mark.index < child.end_mark.index]
        else:
            stack += children(one)
    return last


def fingerprint(node: Node | None, omitted: Mapping[int, frozenset[int]], memo: dict[int, bytes] | None = None) -> bytes:
    """What the tree means: tags and values, no comments, no styles. `omitted` maps a collection to the children to leave out."""
    if node is None:
        return b"nothing"
    memo = {} if memo is None else memo
    if id(node) in memo:
        return memo[id(node)]
    memo[id(node)] = b"itself"  # an alias to what holds it
    out = hashlib.sha256(f"{type(node).__name__} {node.tag}\n".encode())
    without = omitted.get(id(node), frozenset())
    if isinstance(node, ScalarNode):
        out.update(node.value.encode("utf-8", "surrogatepass"))
    elif isinstance(node, MappingNode):
        for key, value in node.value:
            if id(key) not in without:
                out.update(fingerprint(key, omitted, memo) + fingerprint(value, omitted, memo))
    else:
        for child in children(node):
            if id(child) not in without:
                out.update(fingerprint(child, omitted, memo))
    memo[id(node)] = out.digest()
    return memo[id(node)]
