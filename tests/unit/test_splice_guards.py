"""What keeps an edit honest: the comparison after it, and people's files in which ours is half there, moved, or only spoken of."""

from __future__ import annotations

import pytest

from vmscaler.decide.monitoring_files import RECEIVERS, ROUTES, RULE_FILES, without_entries
from vmscaler.decide.splice import MARKER, Change, StyleNotSupported, YamlFile, _compare
from vmscaler.decide.yaml_nodes import parse

OURS = "/etc/prometheus/vmscaler/rules/vmscaler-*.yml"
NAME = "vmscaler/acme/web"


def rule_file(text: str, document: str | None = OURS, name: str = OURS) -> YamlFile:
    return YamlFile(text.encode()).edit([Change(RULE_FILES, name, document)])


def routed(file: YamlFile, name: str = NAME) -> YamlFile:
    return file.edit([Change(ROUTES, name, {"receiver": name})])


# --- the comparison


@pytest.mark.parametrize(("one", "other"), [("a: 1", "b: 1"), ("a: 1", "a: '1'"), ("a: [x, y]", "a: [y, x]"), ("a: {b: c}", "a: {b: d}")])
def test_another_meaning_has_another_fingerprint(one: str, other: str) -> None:
    _compare(parse(one), parse(one + " # as it was"), [])
    with pytest.raises(StyleNotSupported, match="the rest would not be the same"):
        _compare(parse(one), parse(other), [])


@pytest.mark.parametrize(
    ("after", "document", "message"),
    [
        ("rule_files:\n- ours\n- theirs\n", "ours", None),
        ("rule_files:\n- theirs\n", None, None),
        ("rule_files:\n- ours\n- other\n", "ours", "the rest would not be the same"),
        ("rule_files:\n- ours\n", "ours", "the rest would not be the same"),
        ("rule_files:\n- ours\n- theirs\na: 1\n", "ours", "the rest would not be the same"),
        ("rule_files:\n- ours\n- theirs\nb: [x]\n", "ours", "the rest would not be the same"),
        ("rule_files:\n- ours\n- theirs\n", None, "'ours' would still be there"),
        ("rule_files:\n- theirs\n", "ours", "'ours' would not be what it should"),
        ("rule_files:\n- ours\n- ours\n- theirs\n", "ours", "'ours' would not be what it should"),
        ("rule_files:\n- !x ours\n- theirs\n", "ours", "'ours' would not be what it should"),
    ],
)
def test_an_edit_that_went_wrong_is_found(after: str, document: str | None, message: str | None) -> None:
    before = parse("rule_files:\n- theirs\n")
    changes = [Change(RULE_FILES, "ours", document)]
    if message is None:
        _compare(before, parse(after), changes)
        return
    with pytest.raises(StyleNotSupported, match=message):
        _compare(before, parse(after), changes)


# --- where nothing of ours is, or only its name


@pytest.mark.parametrize("text", ["a: [1\n", "a: 1\na: 2\n", "rule_files: []\n", "\x07"])
def test_a_file_with_nothing_of_ours_is_not_even_read_to_remove_it(text: str) -> None:
    file = YamlFile(text.encode())
    assert without_entries(file, OURS) is file


@pytest.mark.parametrize(
    "text", [f"a: 1 # {OURS} was here\n", f"rule_files:\n# {OURS}\n", f"# {OURS}\n", f"{MARKER}\nrule_files: # {OURS}\n"]
)
def test_our_name_in_a_comment_is_nothing_to_remove(text: str) -> None:
    file = YamlFile(text.encode())
    assert without_entries(file, OURS).content == text.encode()


# --- to the byte


def test_an_empty_file_gets_our_lines_alone() -> None:
    assert rule_file("").content.decode() == f'{MARKER}\nrule_files:\n  {MARKER}\n  - "{OURS}"'


@pytest.mark.parametrize("above", ["", "\ufeff", "\n", "\n\n", "a: 1\r\n"])
def test_the_list_at_the_files_top_and_below_lines_that_end_otherwise(above: str) -> None:
    text = f"{above}rule_files:\n- x\n"
    edited = rule_file(text)
    assert edited.content.decode() == f'{above}rule_files:\n{MARKER}\n- "{OURS}"\n- x\n'
    assert rule_file(edited.content.decode(), None).content == text.encode()


@pytest.mark.parametrize("text", ["", "a: 1", "a: 1\n", "a: 1\r\nb: 2", 'a: "\\ud800"\n'])
def test_ours_at_the_very_end_is_replaced_and_goes_again(text: str) -> None:
    def put(file: YamlFile, value: str) -> YamlFile:
        return file.edit([Change(RECEIVERS, NAME, {"name": NAME, "x": value})])

    first = put(YamlFile(text.encode()), "1")
    second = put(first, "2")
    assert second.content == first.content.replace(b'"1"', b'"2"')
    assert second.edit([Change(RECEIVERS, NAME, None)]).content == text.encode()


# --- items of people's that are odd, and ours where people put it

ODD = [
    "    - match: {team: dba}\n",  # inherits its receiver, as many a route does
    "    - receiver: [a]\n",
    "    - word\n",
    "    -\n",
]


@pytest.mark.parametrize("odd", ODD)
def test_items_without_a_name_are_theirs(odd: str) -> None:
    text = f"route:\n  receiver: a\n  routes:\n{odd}"
    given = YamlFile(text.encode())
    edited = routed(given)
    assert edited.content.decode() == f'route:\n  receiver: a\n  routes:\n    {MARKER}\n    - receiver: "{NAME}"\n{odd}'
    assert routed(edited) is edited
    below = YamlFile(f'{text}    {MARKER}\n    - receiver: "{NAME}"\n'.encode())
    assert routed(below).content == edited.content, "ours was moved below"
    assert edited.edit([Change(ROUTES, NAME, None)]).content == given.content


def test_ours_below_another_of_ours_but_also_below_theirs_comes_to_the_top() -> None:
    head = "route:\n  routes:\n"
    other, theirs, ours = (f'  {MARKER}\n  - receiver: "vmscaler/a/b"\n', "  - receiver: ops\n", f'  {MARKER}\n  - receiver: "{NAME}"\n')
    assert routed(YamlFile((head + other + theirs + ours).encode())).content.decode() == head + ours + other + theirs
    for right in (head + other + ours + theirs, head + ours + other + theirs):
        file = YamlFile(right.encode())
        assert routed(file) is file
        assert routed(file, "vmscaler/a/b") is file


@pytest.mark.parametrize(
    "extra",
    [
        "",
        "[a,\n      b\n    ]",
        "{a: [\n    ]}",
        "'a\n\n      b'",
        "|\n      a\n\n      b",
        ">+\n      a",
        "|-",
        "*all",
        "!!str",
        "\n    -",
        "\n    - 1\n    -",
        "\n      a:",
    ],
)
@pytest.mark.parametrize(
    "theirs", ["", "  - receiver: ops\n", "\n\n  - receiver: ops\n", "  # why\n\n  - receiver: ops\n", "\n# end\n", "b: 1\n"]
)
def test_what_people_wrote_into_ours_goes_with_it(extra: str, theirs: str) -> None:
    head = "&all\nroute:\n  routes:\n  - receiver: first\n"
    file = YamlFile(f"{head}  {MARKER}\n  - receiver: {NAME}\n    extra: {extra}\n{theirs}".encode())
    assert file.edit([Change(ROUTES, NAME, None)]).content.decode() == head + theirs


@pytest.mark.parametrize("document", [None, {"receiver": NAME}])
def test_ours_in_another_shape_is_refused_by_line(document: dict[str, object] | None) -> None:
    file = YamlFile(f"route:\n  routes:\n  - receiver: ops\n  -\n    receiver: {NAME}\n".encode())
    with pytest.raises(StyleNotSupported, match=r"line 5: this item of `route.routes` is ours and was given another shape: delete it"):
        file.edit([Change(ROUTES, NAME, document)])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "there is no `route:`"),
        ("route:\n  routes: !!str\n", "line 2: `route.routes` is not a list in block style"),
        ("route:\n  routes:\n    a: 1\n", "line 2: `route.routes` is not a list in block style"),
    ],
)
def test_routes_that_have_no_place(text: str, message: str) -> None:
    with pytest.raises(StyleNotSupported, match=message):
        routed(YamlFile(text.encode()))


# --- what cannot be read


@pytest.mark.parametrize("number", ["00110000", "FFFFFFFF"])
def test_an_escape_of_no_character_is_refused_and_no_crash(number: str) -> None:
    with pytest.raises(StyleNotSupported, match="cannot be read as YAML"):
        rule_file(f'a: "\\U{number}"\n')


def test_the_advice_fits() -> None:
    with pytest.raises(StyleNotSupported, match=r"line 1 cannot be read as YAML .*: correct it"):
        rule_file("a: *nothing\n")


@pytest.mark.parametrize("key", ["? [a, b]\n: 1\n", "? {a: 1}\n: 1\n", "? [a, b]\n: 1\n? [a, b]\n: 2\n", "? |\n  a\n: 1\n"])
def test_keys_that_are_no_words_are_theirs(key: str) -> None:
    text = f"{key}rule_files:\n- x\n{key}z: 1\n" if key.startswith("? [") else f"{key}rule_files:\n- x\n"
    edited = rule_file(text)
    assert edited.content.decode() == text.replace("rule_files:\n", f'rule_files:\n{MARKER}\n- "{OURS}"\n')
    assert rule_file(edited.content.decode(), None).content == text.encode()
