"""The comparison of two build logs (tests/contract/lab_jenkins_compare.py): how shells mix their traces is chance, all else is a difference."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.contract.lab_jenkins_compare import console_differences

_SHELLS = [["+ ", "env", "\n"], ["+ ", "sort", "\n"], ["+ ", "grep ", "-E ", "^(CI|EXECUTOR_NUMBER)=", "\n"]]
_RECORDED = """\
[Pipeline] sh
+ env
+ sort
+ grep -E ^(CI|EXECUTOR_NUMBER)=
CI=true
EXECUTOR_NUMBER=2
[Pipeline] }
"""


@st.composite
def mixed(draw: st.DrawFn) -> str:
    """The traces of three shells of one pipe, written word by word, a word sometimes in two."""
    shells, text = [list(words) for words in _SHELLS], ""
    while left := [words for words in shells if words]:
        words = draw(st.sampled_from(left))
        word = words.pop(0)
        cut = draw(st.integers(1, len(word)))
        if cut < len(word) and word != "+ ":
            words.insert(0, word[cut:])
            word = word[:cut]
        text += word
    return text


@settings(max_examples=30)
@given(mixed(), st.integers(0, 9))
def test_any_mix_of_traces_says_the_same(traces: str, executor: int) -> None:
    seen = f"[Pipeline] sh\n{traces}CI=true\nEXECUTOR_NUMBER={executor}\n[Pipeline] }}\n"
    assert not console_differences(_RECORDED, seen)
    assert console_differences(_RECORDED, seen.replace("CI=true", "CI=false"))
    assert console_differences(_RECORDED, seen.replace("CI=true\n", ""))
    assert console_differences(_RECORDED, seen.replace("EXECUTOR_NUMBER=", "EXECUTOR_NUMBERS="))


def test_one_trace_is_compared_word_by_word() -> None:
    assert not console_differences("[Pipeline] sh\n+ pwd\n/a\n", "[Pipeline] sh\n+ pwd\n/a\n")
    assert console_differences("[Pipeline] sh\n+ pwd\n/ab\n", "[Pipeline] sh\n+ pwd\n/ba\n")
    assert console_differences("[Pipeline] sh\n+ pwd\n", "[Pipeline] sh\n+ pwd\n[Pipeline] }\n") == ["console: 2 blocks -> 3"]
