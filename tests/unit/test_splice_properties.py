"""Whatever people's file looks like: in and out again is identity, and what is around ours is theirs to the byte."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from vmscaler.decide.monitoring_files import RECEIVERS, ROUTES
from vmscaler.decide.splice import Change, StyleNotSupported, YamlFile

_COMMENT = st.sampled_from(["", "# plain", "   # deep", "#vmscaler: managed", "    # 🙂 \u00e9", "#\tx"])
_VALUE = st.sampled_from(
    ["x", "'a: b'", '"\\u00e9"', "[ a, {b: c} ]", "no", "1e3", "~", "|\n{}  text\n{}   more", "&n{} z", "!!str 5", ">-\n{}  folded\n"]
)


@st.composite
def files(draw: st.DrawFn) -> str:
    """An alertmanager.yml by somebody: their indentation, comments, blanks, order, line ends and footers."""
    step = draw(st.integers(1, 5))
    number = iter(range(1000))

    def gap() -> list[str]:
        return draw(st.lists(_COMMENT, max_size=2))

    def value(margin: str) -> str:
        return draw(_VALUE).replace("&n{}", f"&n{next(number)}").replace("{}", margin)

    def items(identity: str, margin: str, names: list[str]) -> list[str]:
        dash = margin + " " * (step if draw(st.booleans()) else 0)
        space = " " * draw(st.integers(1, 3))
        lines = []
        for name in names:
            inner = dash + " " + space
            lines += [*gap(), f"{dash}-{space}{identity}: {name}", f"{inner}extra: {value(inner)}"]
        return lines

    theirs = draw(st.lists(st.sampled_from(["ops", "'dba'", '"vmscaler-other"']), max_size=3, unique=True))
    routes = draw(st.sampled_from(["absent", "empty", "list"]))
    margin = " " * step
    route = [f"{margin}receiver: ops", *gap(), f"{margin}group_by: {value(margin)}"]
    if routes == "empty" or (routes == "list" and not theirs):
        route.insert(draw(st.integers(0, 1)) * len(route), f"{margin}routes:" + draw(st.sampled_from(["", " # why"])))
    elif routes == "list":
        route += [*gap(), f"{margin}routes:", *items("receiver", margin, theirs)]
    sections = [
        ["route:" + draw(st.sampled_from(["", "  # the tree", "   "])), *gap(), *route],
        [*gap(), "receivers:", *items("name", "", ["ops", *theirs])],
        [*gap(), f"templates: {value('')}"],
    ]
    lines = [line for section in draw(st.permutations(sections)) for line in section]
    text = "\n".join([*gap(), *draw(st.sampled_from([[], ["---"]])), *lines, *gap()])
    text += draw(st.sampled_from(["", "\n", "\n\n", "\n# end"]))
    text = text.replace("\n", draw(st.sampled_from(["\n", "\r\n"])))
    return draw(st.sampled_from(["", "\ufeff"])) + text


def put(file: YamlFile, *names: str) -> YamlFile:
    for name in names:
        file = file.edit([Change(ROUTES, name, {"receiver": name, "continue": True}), Change(RECEIVERS, name, {"name": name})])
    return file


def drop(file: YamlFile, *names: str) -> YamlFile:
    for name in names:
        file = file.edit([Change(ROUTES, name, None), Change(RECEIVERS, name, None)])
    return file


@given(files(), st.permutations(["vmscaler/a/x", "vmscaler/a/y", "vmscaler/b/x"]))
def test_in_and_out_again_is_identity(text: str, order: list[str]) -> None:
    given_file = YamlFile(text.encode())
    try:
        edited = put(given_file, "vmscaler/a/x", "vmscaler/a/y", "vmscaler/b/x")
    except StyleNotSupported:
        # The one style drawn here that an added line end would change: a block scalar that ends with the file.
        assert not text.endswith("\n")
        return
    assert put(edited, "vmscaler/a/y") is edited
    assert drop(edited, *order).content == given_file.content


@given(files())
def test_every_line_of_theirs_is_there_in_order_and_the_meaning_is_kept(text: str) -> None:
    try:
        edited = put(YamlFile(text.encode()), "vmscaler/a/x").content.decode()
    except StyleNotSupported:
        return
    added = iter(edited.split("\n"))
    assert all(line.rstrip("\r") in (one.rstrip("\r") for one in added) for line in text.split("\n"))
    yaml = YAML(typ="safe", pure=True)
    before, after = yaml.load(text.removeprefix("\ufeff")), yaml.load(edited.removeprefix("\ufeff"))
    assert after["route"]["routes"].pop(0) == {"receiver": "vmscaler/a/x", "continue": True}
    assert after["receivers"].pop(0) == {"name": "vmscaler/a/x"}
    if not before["route"].get("routes"):
        assert not after["route"].pop("routes")
        before["route"].pop("routes", None)
    assert after == before


@given(files(), st.sampled_from(["\n", "\n- ", "[", "&a [*a]", "\t", ": ", "'", "--- ", "<<: *x"]), st.integers(0, 400))
def test_a_broken_file_is_refused_or_edited_but_never_spoiled(text: str, noise: str, at: int) -> None:
    broken = YamlFile((text[:at] + noise + text[at:]).encode())
    try:
        edited = put(broken, "vmscaler/a/x")
    except StyleNotSupported:
        return
    assert drop(edited, "vmscaler/a/x").content == broken.content
