"""Where an item of ours stands, or would stand, in a parsed YAML text. The positions behind `decide.splice`.

What cannot be kept exactly is refused here by name: a list in flow style, an alias, a merge key, a key on a line with others.
"""

from __future__ import annotations

import re
from collections.abc import Set
from dataclasses import dataclass

from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from vmscaler.decide.yaml_nodes import StyleNotSupported, Tree, entry, is_empty, last_index

MARKER = "# vmscaler: managed, do not edit"

_AFTER_KEY = re.compile(r"[ \t]*:(?:[ \t]+[&!][^ \t\r\n]*)*[ \t]*(?:[ \t]#[^\n]*)?\r?\Z")
_SILENT = re.compile(r"[ \t]*(?:#[^\n]*)?\r?\Z")
_DASH = re.compile(r"( *)-[ \t]+\Z")
_FIRST_DASH = re.compile(r"( *)-(?:[ \t\r\n]|\Z)")


@dataclass(frozen=True)
class Place:
    """A list in the file: the keys that lead to it, and the key whose value is an item's name (None: the item itself is it).

    `ahead_of`: ours must stand before every item whose name does not begin so (routes: the first match wins).
    """

    path: tuple[str, ...]
    identity: str | None
    ahead_of: str | None = None

    @property
    def label(self) -> str:
        """For messages: `route.routes`."""
        return ".".join(self.path)

    def name_of(self, item: Node) -> str | None:
        """The item's name, if it has one."""
        if self.identity is not None:
            pair = entry(item, self.identity) if isinstance(item, MappingNode) else None
            if pair is None:
                return None
            item = pair[1]
        return item.value if isinstance(item, ScalarNode) else None


@dataclass(frozen=True)
class Found:
    """A place in a text. `parent` holds (or would hold) the key; all three are None where they are not there."""

    tree: Tree
    place: Place
    parent: MappingNode | None
    parent_key: ScalarNode | None
    key: ScalarNode | None
    value: Node | None

    @property
    def count(self) -> int:
        """How many items there are."""
        return len(self.value.value) if isinstance(self.value, SequenceNode) else 0

    def items_named(self, name: str) -> list[Node]:
        """The items of this name."""
        items = self.value.value if isinstance(self.value, SequenceNode) else []
        return [item for item in items if self.place.name_of(item) == name]

    def in_place(self, item: Node) -> bool:
        """Whether it stands where it must."""
        if self.place.ahead_of is None or not isinstance(self.value, SequenceNode):
            return True
        before = [self.place.name_of(one) or "" for one in self.value.value[: self.value.value.index(item)]]
        return all(name.startswith(self.place.ahead_of) for name in before)

    @property
    def column(self) -> int:
        """The column of the list's dashes, as people wrote them; two more than its key where there are none yet."""
        if self.key is None:
            return self._key_column + 2
        if not isinstance(self.value, SequenceNode):
            return int(self.key.start_mark.column) + 2
        text, at = self.tree.text, line_end(self.tree.text, self.key.end_mark.index)
        first = self.value.value[0].start_mark.index
        while at <= first:
            end = line_end(text, at)
            if dash := _FIRST_DASH.match(text[at:end]):
                return len(dash.group(1))
            if not _SILENT.match(text[at:end].removesuffix("\n")):
                break
            at = end
        raise self._refusal(at, f"write the items of `{self.place.label}` on lines of their own, each beginning with a dash")

    @property
    def _key_column(self) -> int:
        return int(self.parent.value[0][0].start_mark.column) if self.parent is not None else 0

    def insertion(self) -> tuple[int, tuple[str, ...]]:
        """Where a new item's lines go, and the lines that make the list where it is not there."""
        text = self.tree.text
        if self.key is not None:
            return line_end(text, self.key.end_mark.index), ()
        margin = " " * self._key_column
        head = (margin + MARKER, f"{margin}{self.place.path[-1]}:")
        if self.parent_key is not None:
            return line_end(text, self.parent_key.end_mark.index), head
        if end_mark := re.search(r"^\.\.\.(?=\s|\Z)", text, re.MULTILINE):
            raise self._refusal(end_mark.start(), f"it ends the document, and `{self.place.label}` would come after it: remove the line")
        return len(text), head

    def block(self, item: Node) -> tuple[int, int]:
        """The lines of an item, with the marker above it."""
        text, begin = self.tree.text, item.start_mark.index
        start = line_start(text, begin)
        if not _DASH.match(text[start:begin]):
            raise self._refusal(begin, f"this item of `{self.place.label}` is ours and was given another shape: delete it")
        # A block scalar's mark is where the next token begins: blank lines between are people's.
        written = text[begin : last_index(item)].rstrip()
        return self._with_marker(start), line_end(text, begin + len(written))

    def own_key(self) -> tuple[int, int] | None:
        """The lines of the list's key with its marker, if it is one that we made."""
        assert self.key is not None
        start = line_start(self.tree.text, self.key.start_mark.index)
        marked = self._with_marker(start)
        return None if marked == start else (marked, line_end(self.tree.text, self.key.end_mark.index))

    def _with_marker(self, start: int) -> int:
        above = line_start(self.tree.text, start - 1) if start else start
        return above if self.tree.text[above:start].strip() == MARKER else start

    def omissions(self, names: Set[str]) -> dict[int, frozenset[int]]:
        """For `yaml_nodes.fingerprint`: the items of these names; the key too where nothing else is in the list."""
        if self.key is None or self.value is None or self.parent is None:
            return {}
        ours = [item for name in names for item in self.items_named(name)]
        if len(ours) == self.count:
            return {id(self.parent): frozenset({id(self.key)})}
        return {id(self.value): frozenset(map(id, ours))}

    def _refusal(self, index: int, what: str) -> StyleNotSupported:
        return StyleNotSupported(f"line {self.tree.line(index)}: {what}")


def locate(tree: Tree, place: Place) -> Found:
    """Raises StyleNotSupported where the place is written in a way that cannot be spliced."""
    parent, parent_key, at = _block_mapping(tree, tree.root, "the file", None), None, ""
    for name in place.path[:-1]:
        at = f"{at}.{name}".lstrip(".")
        pair = entry(parent, name) if parent is not None else None
        if pair is None:
            raise StyleNotSupported(f"there is no `{at}:` in the file: write one first")
        parent_key, value = pair
        parent = _block_mapping(tree, value, f"`{at}`", parent_key)
        if parent is None:
            raise StyleNotSupported(f"line {tree.line(parent_key.start_mark.index)}: `{at}` is empty: write what belongs there first")
    pair = entry(parent, place.path[-1]) if parent is not None else None
    if pair is None:
        if parent is not None and (merge := entry(parent, "<<")):
            line = tree.line(merge[0].start_mark.index)
            raise StyleNotSupported(f"line {line}: `{place.label}` may come from this merge key: write it out")
        return Found(tree, place, parent, parent_key, None, None)
    key, value = pair
    _check_own_lines(tree, key, value, f"`{place.label}`")
    if not is_empty(value) and not (isinstance(value, SequenceNode) and not value.flow_style and value.value):
        line = tree.line(key.start_mark.index)
        raise StyleNotSupported(
            f"line {line}: `{place.label}` is not a list in block style: write each item on lines of its own, beginning with a dash"
            " (an empty list: leave the value away)"
        )
    return Found(tree, place, parent, parent_key, key, value)


def _block_mapping(tree: Tree, node: Node | None, what: str, key: ScalarNode | None) -> MappingNode | None:
    """The node as a mapping whose lines can be added to; None where nothing is written."""
    if node is None or (is_empty(node) and key is None):
        return None
    if key is not None:
        _check_own_lines(tree, key, node, what)
        if is_empty(node):
            return None
    if not isinstance(node, MappingNode) or node.flow_style or not node.value:
        line = tree.line((key or node).start_mark.index)
        raise StyleNotSupported(f"line {line}: {what} is not a mapping in block style: write each key on a line of its own")
    return node


def _check_own_lines(tree: Tree, key: ScalarNode, value: Node, what: str) -> None:
    """The key's line holds nothing of the value, and the value is written here and nowhere else."""
    line = tree.line(key.start_mark.index)
    if id(value) in tree.shared or value.start_mark.index < key.end_mark.index:
        raise StyleNotSupported(f"line {line}: {what} is shared by an anchor and an alias: write it out")
    end = line_end(tree.text, key.end_mark.index)
    rest = tree.text[key.end_mark.index : end].removesuffix("\n")
    if tree.text[line_start(tree.text, key.start_mark.index) : key.start_mark.index].strip(" ") or not _AFTER_KEY.match(rest):
        raise StyleNotSupported(
            f"line {line}: {what} must be in block style: its key on a line of its own, what belongs to it on the lines below"
        )


def line_start(text: str, index: int) -> int:
    """The index at which the line of `index` begins."""
    return text.rfind("\n", 0, index) + 1


def line_end(text: str, index: int) -> int:
    """The index after the end of the line of `index`."""
    end = text.find("\n", index)
    return len(text) if end < 0 else end + 1


def eol_near(text: str, index: int) -> str:
    """The line ending in use just before `index`; the file's first where nothing is before it."""
    end = text.rfind("\n", 0, index)
    if end < 0:
        end = text.find("\n")
    return "\r\n" if end > 0 and text[end - 1] == "\r" else "\n"
