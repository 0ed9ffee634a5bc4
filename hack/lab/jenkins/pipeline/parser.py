"""Jenkinsfile text to a syntax tree, by grammar.lark."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from lark import Lark, Token, Transformer, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedInput, UnexpectedToken, VisitError

from lab.jenkins.pipeline import syntax as s

_OPENING = {"LPAR", "LSQB"}
_CLOSING = {"RPAR", "RSQB"}
_JOINS_NEXT = {"LBRACE", "EQUAL", "PLUS", "EQ", "REL", "COMMA", "COLON", "__ANON_0", "__ANON_1", "BANG", "ELSE"}
_JOINS_BEFORE = {"RBRACE", "ELSE", "DOT"}
_REFUSED_WORDS = frozenset(
    {
        "assert",
        "break",
        "case",
        "catch",
        "class",
        "continue",
        "do",
        "enum",
        "extends",
        "finally",
        "for",
        "import",
        "in",
        "new",
        "package",
        "return",
        "static",
        "switch",
        "throw",
        "try",
        "while",
    }
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f", "\\": "\\", "'": "'", '"': '"', "$": "$", "\n": ""}


class _LineEnds:
    """The lexer's second pass: which line ends separate statements."""

    always_accept = ()

    def process(self, stream: Iterator[Token]) -> Iterator[Token]:
        depth, last, waiting = 0, "", None
        for token in stream:
            if token.type == "NAME" and token in _REFUSED_WORDS:
                raise _error(token, f'"{token}" is not in the lab\'s pipeline grammar')
            if token.type == "_SEP":
                waiting = token if not depth and last and last not in _JOINS_NEXT else None
                continue
            if waiting is not None and token.type not in _JOINS_BEFORE:
                yield waiting
            waiting = None
            depth += (token.type in _OPENING) - (token.type in _CLOSING)
            # A closure inside an argument list is not in the grammar, so a brace always begins at depth 0.
            last = token.type
            yield token


def _error(token: Any, message: str) -> s.CompileError:
    return s.CompileError([(getattr(token, "line", 0) or 0, getattr(token, "column", 0) or 0, message)])


@cache
def _lark() -> Lark:
    grammar = Path(__file__).resolve().parent.parent / "grammar.lark"
    return Lark(
        grammar.read_text(),
        start=["start", "expr"],
        parser="lalr",
        lexer="basic",
        postlex=_LineEnds(),
        propagate_positions=True,
        maybe_placeholders=False,
    )


def parse(script: str) -> tuple[s.Stmt, ...]:
    """The statements of a script. Raises CompileError."""
    return tuple(_parse(script, "start", s.Place()))


def _parse(text: str, start: str, base: s.Place) -> Any:
    try:
        return _ToSyntax(base).transform(_lark().parse(text, start=start))
    except VisitError as error:
        if isinstance(error.orig_exc, s.CompileError):
            raise error.orig_exc from None
        raise
    except UnexpectedToken as error:
        what = "end of file" if error.token.type == "$END" else error.token
        raise _error(error, f"unexpected token: {what}") from None
    except UnexpectedCharacters as error:
        raise _error(error, f"unexpected char: {error.char!r}") from None
    except UnexpectedInput as error:
        raise _error(error, "unexpected input") from None


def _unescape(text: str) -> str:
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), text, flags=re.DOTALL)


_HOLE = re.compile(r"\\.|\$\{([^}]*)\}|\$([A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)", re.DOTALL)


@v_args(meta=True)
class _ToSyntax(Transformer[Token, Any]):
    """lark's tree to ours; `base` is where an interpolated expression stands."""

    def __init__(self, base: s.Place) -> None:
        super().__init__()
        self._base = base

    def _at(self, meta: Any) -> s.Place:
        if getattr(meta, "empty", True):
            return self._base
        return self._base if self._base.line else s.Place(meta.line, meta.column)

    def start(self, _meta: Any, items: list[Any]) -> tuple[s.Stmt, ...]:
        return items[0] if items else ()

    def body(self, _meta: Any, items: list[Any]) -> tuple[s.Stmt, ...]:
        return tuple(items)

    def block(self, _meta: Any, items: list[Any]) -> tuple[s.Stmt, ...]:
        return items[0] if items else ()

    def if_stmt(self, meta: Any, items: list[Any]) -> s.If:
        branches = [b if isinstance(b, tuple) else (b,) for b in items[1:]]
        return s.If(self._at(meta), items[0], branches[0], branches[1] if len(branches) > 1 else ())

    def declare(self, meta: Any, items: list[Any]) -> s.Assign:
        return s.Assign(self._at(meta), s.Name(self._at(meta), str(items[1])), items[2], declared=True)

    def assign(self, meta: Any, items: list[Any]) -> s.Assign:
        if not isinstance(items[0], s.Name | s.Prop):
            raise _error(meta, "only a variable or a property can be assigned to")
        return s.Assign(self._at(meta), items[0], items[1])

    def expr_stmt(self, meta: Any, items: list[Any]) -> s.ExprStmt:
        expr, block = items[0], items[1] if len(items) > 1 else None
        if block is not None and isinstance(expr, s.Name):
            expr = s.Call(expr.at, expr.name)
        return s.ExprStmt(self._at(meta), expr, block)

    def command(self, meta: Any, items: list[Any]) -> s.ExprStmt:
        block = items.pop() if isinstance(items[-1], tuple) and not isinstance(items[-1], _Named) else None
        return s.ExprStmt(self._at(meta), self._call(meta, items), block)

    def _call(self, meta: Any, items: list[Any]) -> s.Call:
        named = {n.name: n.value for n in items[1:] if isinstance(n, _Named)}
        args = tuple(a for a in items[1:] if not isinstance(a, _Named))
        return s.Call(self._at(meta), str(items[0]), args, named)

    def call(self, meta: Any, items: list[Any]) -> s.Call:
        return self._call(meta, items)

    def named(self, _meta: Any, items: list[Any]) -> _Named:
        return _Named(str(items[0]), items[1])

    def name(self, meta: Any, items: list[Any]) -> s.Name:
        return s.Name(self._at(meta), str(items[0]))

    def prop(self, meta: Any, items: list[Any]) -> s.Prop:
        return s.Prop(self._at(meta), items[0], str(items[1]))

    def method(self, meta: Any, items: list[Any]) -> s.Method:
        return s.Method(self._at(meta), items[0], str(items[1]), tuple(items[2:]))

    def list_of(self, meta: Any, items: list[Any]) -> s.ListOf:
        return s.ListOf(self._at(meta), tuple(items))

    def any_of(self, meta: Any, items: list[Any]) -> s.Operation:
        return s.Operation(self._at(meta), "||", tuple(items))

    def all_of(self, meta: Any, items: list[Any]) -> s.Operation:
        return s.Operation(self._at(meta), "&&", tuple(items))

    def compare(self, meta: Any, items: list[Any]) -> s.Operation:
        return s.Operation(self._at(meta), str(items[1]), (items[0], items[2]))

    def add(self, meta: Any, items: list[Any]) -> s.Operation:
        return s.Operation(self._at(meta), "+", tuple(items))

    def not_(self, meta: Any, items: list[Any]) -> s.Operation:
        return s.Operation(self._at(meta), "!", tuple(items))

    def number(self, meta: Any, items: list[Any]) -> s.Literal:
        return s.Literal(self._at(meta), int(items[0]))

    def true(self, meta: Any, _items: list[Any]) -> s.Literal:
        return s.Literal(self._at(meta), True)

    def false(self, meta: Any, _items: list[Any]) -> s.Literal:
        return s.Literal(self._at(meta), False)

    def null(self, meta: Any, _items: list[Any]) -> s.Literal:
        return s.Literal(self._at(meta), None)

    def string(self, meta: Any, items: list[Any]) -> s.Literal:
        return s.Literal(self._at(meta), _unescape(_unquote(items[0])))

    def gstring(self, meta: Any, items: list[Any]) -> s.Expr:
        text, at, parts, place = _unquote(items[0]), 0, [], self._at(meta)
        for hole in _HOLE.finditer(text):
            if hole[1] is None and hole[2] is None:
                continue
            parts += [_unescape(text[at : hole.start()]), _parse(hole[1] or hole[2], "expr", place)]
            at = hole.end()
        parts.append(_unescape(text[at:]))
        if len(parts) == 1:
            return s.Literal(place, parts[0])
        return s.GString(place, tuple(p for p in parts if p != ""))


class _Named(tuple[str, s.Expr]):
    """`name: value` among arguments."""

    __slots__ = ()

    def __new__(cls, name: str, value: s.Expr) -> _Named:
        return super().__new__(cls, (name, value))

    @property
    def name(self) -> str:
        return self[0]

    @property
    def value(self) -> s.Expr:
        return self[1]


def _unquote(token: str) -> str:
    size = 3 if token[:3] in ("'''", '"""') else 1
    return token[size:-size]
