"""What steps and expressions may hold; everything else is refused by name when the pipeline is compiled.

steps         sh echo error readFile writeFile script timeout withCredentials
in script     also int/def/String/boolean x = ..., x = ..., env.X = ..., currentBuild.{result,description,displayName} = ..., if / else
expressions   strings, GStrings, numbers, true false null, + == != < > <= >= && || !, ( ), env.X, params.X, variables,
              currentBuild.{result,currentResult,description,displayName,number}, sh(...), readFile(...), .trim() .toInteger() .toString()
"""

from __future__ import annotations

from dataclasses import dataclass

from lab.jenkins.pipeline import syntax as s


@dataclass(frozen=True)
class StepSpec:
    """`first` is the parameter that may stand alone; `block` says whether a closure follows."""

    first: str
    parameters: tuple[str, ...] = ()
    block: bool = False
    value: bool = False


STEPS = {
    "sh": StepSpec("script", ("script", "label", "returnStatus", "returnStdout"), value=True),
    "echo": StepSpec("message", ("message",)),
    "error": StepSpec("message", ("message",)),
    "readFile": StepSpec("file", ("file",), value=True),
    "writeFile": StepSpec("file", ("file", "text")),
    "script": StepSpec("", block=True),
    "timeout": StepSpec("", ("time", "unit"), block=True),
    "withCredentials": StepSpec("bindings", ("bindings",), block=True),
}
BINDINGS = {
    "string": {"credentialsId", "variable"},
    "usernamePassword": {"credentialsId", "usernameVariable", "passwordVariable"},
}
METHODS = ("trim", "toInteger", "toString")
CURRENT_BUILD = ("currentResult", "description", "displayName", "number", "result")
SETTABLE = ("description", "displayName", "result")


class Checks:
    """Walks statements and expressions and collects what the lab does not know."""

    def __init__(self) -> None:
        self.problems: list[tuple[int, int, str]] = []

    def refuse(self, at: s.Place, message: str) -> None:
        """One fault more."""
        self.problems.append((at.line, at.column, message))

    def constant(self, expr: s.Expr) -> str | int | bool | None:
        """The value of a literal."""
        if isinstance(expr, s.Literal):
            return expr.value
        self.refuse(expr.at, "the lab takes a literal here")
        return None

    def text(self, expr: s.Expr) -> str:
        """The value of a literal string."""
        value = self.constant(expr)
        if not isinstance(value, str):
            self.refuse(expr.at, "Expected a string")
        return str(value)

    def steps(self, block: tuple[s.Stmt, ...], *, script: bool = False) -> None:
        """Check a block of steps; `script` allows what only stands in script {}."""
        for statement in block:
            if isinstance(statement, s.ExprStmt) and isinstance(statement.expr, s.Call):
                self._step(statement, statement.expr, script)
            elif not script:
                self.refuse(statement.at, "Expected a step")
            elif isinstance(statement, s.If):
                self.expression(statement.condition)
                self.steps(statement.then, script=True)
                self.steps(statement.otherwise, script=True)
            elif isinstance(statement, s.Assign):
                self._target(statement)
                self.expression(statement.value)
            elif isinstance(statement, s.ExprStmt) and statement.block is None:
                self.expression(statement.expr)
            else:
                self.refuse(statement.at, "Expected a step")

    def _step(self, statement: s.ExprStmt, call: s.Call, script: bool) -> None:
        spec = STEPS.get(call.name)
        if spec is None:
            self.refuse(call.at, f'Unknown step "{call.name}". Steps that the lab knows: [{", ".join(sorted(STEPS))}]')
            return
        if spec.block != (statement.block is not None):
            self.refuse(call.at, f"{call.name} {'needs' if spec.block else 'takes no'} block")
            return
        if call.name == "timeout":
            self.duration(call)
        elif call.name == "withCredentials":
            self._bindings(call)
        else:
            self._arguments(call, spec)
        self.steps(statement.block or (), script=script or call.name == "script")

    def duration(self, call: s.Call) -> float:
        """Seconds of a `timeout`; the builder of the model knows the units."""
        raise NotImplementedError

    def _arguments(self, call: s.Call, spec: StepSpec) -> None:
        if len(call.args) > (1 if spec.first else 0):
            self.refuse(call.at, f"Too many arguments for {call.name}")
        for name in call.named:
            if name not in spec.parameters:
                known = ", ".join(spec.parameters)
                self.refuse(call.at, f'Invalid parameter "{name}" of step {call.name}. The lab knows: [{known}]')
        if spec.first and not call.args and spec.first not in call.named:
            self.refuse(call.at, f'Missing required parameter "{spec.first}" of {call.name}')
        for value in (*call.args, *call.named.values()):
            self.expression(value)

    def _bindings(self, call: s.Call) -> None:
        bindings = call.args[0] if call.args else call.named.get("bindings")
        if not isinstance(bindings, s.ListOf):
            self.refuse(call.at, "withCredentials takes a list of bindings")
            return
        for item in bindings.items:
            wanted = BINDINGS.get(item.name) if isinstance(item, s.Call) else None
            if not isinstance(item, s.Call) or wanted is None:
                name = item.name if isinstance(item, s.Call | s.Name) else "?"
                self.refuse(item.at, f'Unknown binding "{name}". The lab knows: [{", ".join(BINDINGS)}]')
            elif set(item.named) != wanted or item.args:
                self.refuse(item.at, f"{item.name} takes {', '.join(sorted(wanted))}")
            else:
                for value in item.named.values():
                    self.text(value)

    def _target(self, statement: s.Assign) -> None:
        target = statement.target
        if isinstance(target, s.Prop) and isinstance(target.owner, s.Name):
            if target.owner.name == "env":
                return
            if target.owner.name == "currentBuild" and target.name in SETTABLE:
                return
            self.refuse(target.at, f"the lab cannot set {target.owner.name}.{target.name}")
        elif not isinstance(target, s.Name):
            self.refuse(target.at, "the lab cannot set this")

    def expression(self, expr: s.Expr) -> None:
        """Check an expression that has a value."""
        match expr:
            case s.GString(parts=parts):
                for part in parts:
                    if isinstance(part, s.Expr):
                        self.expression(part)
            case s.Call(name=name):
                spec = STEPS.get(name)
                if spec is None or not spec.value:
                    known = ", ".join(n for n, sp in STEPS.items() if sp.value)
                    self.refuse(expr.at, f'the lab cannot use "{name}" as a value; it knows: [{known}]')
                else:
                    self._arguments(expr, spec)
            case s.Method(owner=owner, name=name, args=args):
                if name not in METHODS or args:
                    self.refuse(expr.at, f'Unknown method "{name}". The lab knows: [{", ".join(METHODS)}]')
                self.expression(owner)
            case s.Prop(owner=s.Name(name="env" | "params")):
                pass
            case s.Prop(owner=s.Name(name="currentBuild"), name=name):
                if name not in CURRENT_BUILD:
                    self.refuse(expr.at, f"Unknown property currentBuild.{name}. The lab knows: [{', '.join(CURRENT_BUILD)}]")
            case s.Prop(name=name):
                self.refuse(expr.at, f'Unknown property "{name}"')
            case s.Operation(operands=operands) | s.ListOf(items=operands):
                for operand in operands:
                    self.expression(operand)
            case _:
                pass
