"""The syntax tree of a Jenkinsfile; made by `parser`, checked by `model`, evaluated by `interpreter`."""

from __future__ import annotations

from dataclasses import dataclass, field


class CompileError(Exception):
    """What is wrong with the script, in Groovy's form: (line, column, message) of each fault."""

    def __init__(self, problems: list[tuple[int, int, str]]) -> None:
        super().__init__("; ".join(f"{line}: {message}" for line, _, message in problems))
        self.problems = problems

    def console(self, script: str) -> str:
        """As Jenkins prints it (recordings/jenkins/12 e1-i)."""
        lines = script.splitlines()
        out = ["org.codehaus.groovy.control.MultipleCompilationErrorsException: startup failed:"]
        for line, column, message in self.problems:
            source = lines[line - 1] if 0 < line <= len(lines) else ""
            out += [f"WorkflowScript: {line}: {message} @ line {line}, column {column}.", f"   {source}"]
            out += [" " * (column + 2) + "^", ""]
        count = len(self.problems)
        return "\n".join([*out, f"{count} error{'s' if count > 1 else ''}", ""])


@dataclass(frozen=True)
class Place:
    """Where something stands in the script, from 1."""

    line: int = 0
    column: int = 0


@dataclass(frozen=True)
class Expr:
    """An expression."""

    at: Place


@dataclass(frozen=True)
class Literal(Expr):
    """A string in single quotes, a number, true, false, null."""

    value: str | int | bool | None


@dataclass(frozen=True)
class GString(Expr):
    """A string in double quotes: text and expressions in turn."""

    parts: tuple[str | Expr, ...]


@dataclass(frozen=True)
class Name(Expr):
    """A variable, or a word as in `agent any`."""

    name: str


@dataclass(frozen=True)
class Prop(Expr):
    """`owner.name`."""

    owner: Expr
    name: str


@dataclass(frozen=True)
class Call(Expr):
    """`name(args)` or `name args`."""

    name: str
    args: tuple[Expr, ...] = ()
    named: dict[str, Expr] = field(default_factory=dict)


@dataclass(frozen=True)
class Method(Expr):
    """`owner.name(args)`."""

    owner: Expr
    name: str
    args: tuple[Expr, ...] = ()


@dataclass(frozen=True)
class Operation(Expr):
    """`+ == != < > <= >= && || !` on operands."""

    operator: str
    operands: tuple[Expr, ...]


@dataclass(frozen=True)
class ListOf(Expr):
    """`[a, b]`."""

    items: tuple[Expr, ...]


@dataclass(frozen=True)
class Stmt:
    """A statement."""

    at: Place


@dataclass(frozen=True)
class ExprStmt(Stmt):
    """An expression, with the closure that follows it if there is one."""

    expr: Expr
    block: tuple[Stmt, ...] | None = None


@dataclass(frozen=True)
class Assign(Stmt):
    """`target = value`; `declared` for `int x = ...`."""

    target: Expr
    value: Expr
    declared: bool = False


@dataclass(frozen=True)
class If(Stmt):
    """`if (condition) then else otherwise`."""

    condition: Expr
    then: tuple[Stmt, ...]
    otherwise: tuple[Stmt, ...] = ()
