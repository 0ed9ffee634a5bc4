from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from vmscaler.decide.yaml_text import item_lines, quoted, text

_CHARS = st.characters(exclude_categories=["Cs"])
_STRINGS = st.text(_CHARS) | st.sampled_from(
    ["no", "1e3", "- x", "\t", "a: b", "&a", "*a", "!!python/object/apply:os.system", "<<", "a\u202eb", "\ufeff", "\x85\x7f"]
)
_DOCUMENTS = st.recursive(
    _STRINGS | st.integers() | st.booleans(),
    lambda inner: st.lists(inner) | st.dictionaries(_STRINGS, inner),
    max_leaves=12,
)


@given(_DOCUMENTS)
def test_what_is_written_is_read_back_as_it_was(document: object) -> None:
    assert YAML(typ="safe", pure=True).load(text(document)) == document


@given(_STRINGS)
def test_a_string_stays_within_its_quotes_and_its_line(value: str) -> None:
    assert len(quoted(value).splitlines()) == 1
    assert quoted(value).isprintable()


@pytest.mark.parametrize("half", ["\ud800", "\udfff"])
def test_half_of_a_surrogate_pair_is_refused(half: str) -> None:
    with pytest.raises(ValueError, match="surrogate"):
        quoted(f"a{half}")


@pytest.mark.parametrize(
    ("char", "escaped"),
    [("\x00", "\\x00"), ("\x7f", "\\x7f"), ("\x80", "\\u0080"), ("\x9f", "\\u009f"), ("\uffff", "\\uffff"), ("\U0010ffff", "\\U0010ffff")],
)
def test_what_is_not_ascii_is_escaped_as_a_character(char: str, escaped: str) -> None:
    """Also for Go (PromQL, matchers), to whom \\x80 is a byte."""
    assert quoted(char) == f'"{escaped}"'


def test_what_is_no_document_is_refused() -> None:
    with pytest.raises(TypeError, match="float"):
        text({"a": 1.5})
    with pytest.raises(TypeError, match="bytes"):
        text({"a": b"x"})
    with pytest.raises(TypeError, match="key"):
        text({1: "a"})


@pytest.mark.parametrize("word", ["y", "n", "yes", "no", "on", "off", "true", "false", "null", "Yes", "NULL"])
def test_a_key_that_yaml_1_1_reads_as_something_else_is_quoted(word: str) -> None:
    assert text({word: "x"}) == f'"{word}": "x"\n'


def test_an_item_stands_at_its_column() -> None:
    assert item_lines({"a": {"b": ["c"]}, "no": []}, 3) == ["   - a:", "       b:", '         - "c"', '     "no": []']
