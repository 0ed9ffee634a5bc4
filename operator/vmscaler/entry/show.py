"""How the commands print: tables and sentences in plain text, whatever the objects hold. Called by entry/cli.py."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

PAGE = 120
"""Columns of what is read as a page (a ticket, a log) where there is no terminal that says how wide it is."""
WHOLE = 400
"""A pipe has no width: the lines of a list stay whole for grep."""
_MAY_WRAP = ("WHY", "RESULT", "")


def clean(text: str) -> str:
    """What came from outside cannot move the cursor or colour the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, piped: int = WHOLE) -> None:
    """A table as wide as the terminal (or COLUMNS), else `piped` columns; only the last, long column wraps."""
    shown = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        shown.add_column(column, overflow="fold", no_wrap=column not in _MAY_WRAP)
    for row in rows:
        shown.add_row(*(Text(clean(cell)) for cell in row))
    _print(shown, piped)


def pairs(rows: Sequence[tuple[str, str]], *, piped: int = PAGE) -> None:
    """Labels with their texts, which wrap below themselves."""
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(no_wrap=True)
    grid.add_column(overflow="fold")
    for label, text in rows:
        grid.add_row(Text(f"  {clean(label)}"), Text(clean(text)))
    _print(grid, piped)


def sentence(text: str, *, piped: int = PAGE) -> None:
    """One sentence, wrapped between words."""
    _print(Text(clean(text), overflow="fold"), piped)


def _print(what: Table | Text, piped: int) -> None:
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else piped
    page = Console(file=io.StringIO(), width=width, highlight=False, soft_wrap=False)
    if width is None:
        page.width = Console().width
    with page.capture() as drawn:
        page.print(what)
    for line in drawn.get().splitlines():
        typer.echo(line.rstrip())
