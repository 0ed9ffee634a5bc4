"""Putting a named item into a list of somebody's YAML file, and taking it out again, by splicing lines of text.

Called by `decide.monitoring_files`, whose files belong to people: they come back byte for byte but for our lines, and removing
what was added gives the very bytes from before. Parsed positions say where; the result is parsed again and compared, so a
file that would come to mean anything else is refused (StyleNotSupported) and left alone.

Our blocks begin with a line that holds MARKER alone. They go to the top of their list, directly below its key, so that they touch
neither people's first comment nor the end of the list. A list that is not there is made, its key under a MARKER of its own:
it goes again with the last item.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from ruamel.yaml.nodes import MappingNode

from vmscaler.decide.splice_place import MARKER, Found, Place, eol_near, locate
from vmscaler.decide.yaml_nodes import MAX_BYTES, StyleNotSupported, Tree, fingerprint, is_empty, parse
from vmscaler.decide.yaml_text import item_lines
from vmscaler.decide.yaml_text import text as yaml_text

__all__ = ["MARKER", "Change", "Place", "StyleNotSupported", "YamlFile"]

_BOM = "\ufeff"


@dataclass(frozen=True)
class Change:
    """What one place should hold under one name: a document (a mapping or a string), or nothing (None)."""

    place: Place
    name: str
    document: Mapping[str, object] | str | None


@dataclass(frozen=True)
class _Splice:
    """Replace text[start:end], whole lines, by these lines."""

    start: int
    end: int
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class YamlFile:
    """A file's bytes, parsed once when first needed. `edit` gives another one, or itself where nothing has to change."""

    content: bytes

    @cached_property
    def tree(self) -> Tree:
        """Raises StyleNotSupported."""
        if len(self.content) > MAX_BYTES:
            raise StyleNotSupported(f"the file is larger than {MAX_BYTES} bytes: too large to be edited safely")
        try:
            text = self.content.decode()
        except UnicodeDecodeError as error:
            line = self.content.count(b"\n", 0, error.start) + 1
            raise StyleNotSupported(f"line {line} is not UTF-8: save the file as UTF-8") from None
        return parse(text.removeprefix(_BOM))

    def edit(self, changes: Sequence[Change]) -> YamlFile:
        """With these changes, or itself. Raises StyleNotSupported; the result then does not exist, not even in part."""
        changes = [change for change in changes if change.document is not None or change.name.encode() in self.content]
        if not changes:
            return self  # nothing of ours in it: whatever its style is, there is nothing to remove
        tree = self.tree
        places = {change.place: locate(tree, change.place) for change in changes}
        splices = [splice for change in changes for splice in _splices(tree.text, places[change.place], change)]
        if not splices:
            return self
        ordered = _merged(tree.text, splices)
        text = _applied(tree.text, ordered)
        bom = _BOM if self.content.startswith(_BOM.encode()) else ""
        edited = YamlFile((bom + text).encode())
        try:
            _compare(tree, edited.tree, changes)
        except StyleNotSupported as error:
            line = tree.line(ordered[0].start)
            raise StyleNotSupported(
                f"line {line}: an edit here would change what the rest of the file means ({error}): simplify the YAML around this line"
            ) from None
        return edited


def _splices(text: str, found: Found, change: Change) -> list[_Splice]:
    items = found.items_named(change.name)
    ranges = [found.block(item) for item in items]
    if change.document is None:
        cuts = [_Splice(start, end) for start, end in ranges]
        if items and len(items) == found.count and (key := found.own_key()):
            cuts.append(_Splice(*key))
        return cuts
    lines = _block(change.document, found.column)
    if len(ranges) == 1 and found.in_place(items[0]):
        start, end = ranges[0]
        if text[start:end].splitlines() == lines:
            return []
        return [_Splice(start, end, tuple(lines))]
    at, head = found.insertion()
    return [*(_Splice(start, end) for start, end in ranges), _Splice(at, at, (*head, *lines))]


def _block(document: Mapping[str, object] | str, column: int) -> list[str]:
    return [" " * column + MARKER, *item_lines(document, column)]


def _merged(text: str, splices: list[_Splice]) -> list[_Splice]:
    """In order of position; what touches becomes one, so that the end of the file is dealt with once."""
    merged: list[_Splice] = []
    for one in sorted(splices, key=lambda splice: (splice.start, splice.end)):
        if merged and one.start <= merged[-1].end:
            last = merged.pop()
            one = _Splice(last.start, max(last.end, one.end), last.lines + one.lines)
        merged.append(one)
    return merged


def _applied(text: str, splices: list[_Splice]) -> str:
    out, position = [], 0
    for one in splices:
        start, end, eol = one.start, one.end, eol_near(text, one.start)
        new = "".join(line + eol for line in one.lines)
        if end == len(text) and not text.endswith("\n"):
            # The last line has no end. Ours takes its place as the last: what is added before it here, a removal takes away again.
            if start == end and text:
                new = eol + new
            elif not one.lines and start > 0:
                start -= len(eol_near(text, start))
            new = new.removesuffix(eol)
        out += [text[position:start], new]
        position = end
    return "".join([*out, text[position:]])


def _compare(before: Tree, after: Tree, changes: Sequence[Change]) -> None:
    """Raises StyleNotSupported unless the trees are equal but for the items named, and those are what was wanted."""
    if _others(before, changes) != _others(after, changes):
        raise StyleNotSupported("the rest would not be the same")
    for change in changes:
        items = locate(after, change.place).items_named(change.name)
        if change.document is None:
            if items:
                raise StyleNotSupported(f"{change.name!r} would still be there")
            continue
        wanted = fingerprint(parse(yaml_text(change.document)).root, {})
        if [fingerprint(item, {}) for item in items] != [wanted]:
            raise StyleNotSupported(f"{change.name!r} would not be what it should")


def _others(tree: Tree, changes: Sequence[Change]) -> bytes:
    """The tree without the items of these changes; a list that holds nothing else counts as absent."""
    names: dict[Place, set[str]] = {}
    for change in changes:
        names.setdefault(change.place, set()).add(change.name)
    omitted: dict[int, frozenset[int]] = {}
    for place, these in names.items():
        for parent, children in locate(tree, place).omissions(these).items():
            omitted[parent] = omitted.get(parent, frozenset()) | children
    root = tree.root
    if root is None or is_empty(root) or (isinstance(root, MappingNode) and len(omitted.get(id(root), ())) == len(root.value)):
        return b""
    return fingerprint(root, omitted)
