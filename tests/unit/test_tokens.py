"""A policy's pair of tokens as the operator holds it."""

from __future__ import annotations

from vmscaler.flows.tokens import Tokens


def test_they_are_not_shown() -> None:
    """Whatever prints one, a log line or a traceback, prints no secret."""
    for shown in (repr(Tokens(hook="sample-hook", step="sample-step")), f"{Tokens(hook='sample-hook', step='sample-step')}"):
        assert "sample" not in shown
