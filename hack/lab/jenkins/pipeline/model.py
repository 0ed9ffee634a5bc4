"""Declarative pipelines: which sections, options, conditions and steps there are; the rest is refused by name.

pipeline    agent environment options parameters stages post
stage       agent environment options when steps | stages post
agent       any | { label 'x' }
options     timeout(time:, unit:), skipDefaultCheckout()
parameters  string, booleanParam, password
when        { expression { ... } }, { environment name:, value: }
post        always unsuccessful aborted failure notBuilt success cleanup (run in this order, as measured)
steps, expressions: see `checks`
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lab.jenkins.pipeline import syntax as s
from lab.jenkins.pipeline.checks import Checks
from lab.jenkins.pipeline.parser import parse
from lab.jenkins.xmlstore import Parameter

CONDITIONS = ("always", "unsuccessful", "aborted", "failure", "notBuilt", "success", "cleanup")
OPTIONS = ("skipDefaultCheckout", "timeout")
UNITS = {"NANOSECONDS": 1e-9, "MICROSECONDS": 1e-6, "MILLISECONDS": 1e-3, "SECONDS": 1, "MINUTES": 60, "HOURS": 3600, "DAYS": 86400}
_PARAMETER_KINDS = {"string": "String", "booleanParam": "Boolean", "password": "Password"}


@dataclass
class Section:
    """What a pipeline and a stage have in common. Times in seconds."""

    label: str | None = None
    environment: list[tuple[str, s.Expr]] = field(default_factory=list)
    timeout: float | None = None
    post: dict[str, tuple[s.Stmt, ...]] = field(default_factory=dict)
    stages: list[Stage] = field(default_factory=list)


@dataclass
class Stage(Section):
    """One stage: steps or nested stages."""

    name: str = ""
    when: s.Expr | None = None
    steps: tuple[s.Stmt, ...] | None = None


@dataclass
class Pipeline(Section):
    """A whole Jenkinsfile."""

    parameters: list[Parameter] = field(default_factory=list)


def compile_pipeline(script: str) -> Pipeline:
    """The pipeline of a Jenkinsfile. Raises CompileError with every fault that was found."""
    statements = parse(script)
    builder = _Builder()
    first = statements[0] if statements else None
    if not (isinstance(first, s.ExprStmt) and isinstance(first.expr, s.Call) and first.expr.name == "pipeline" and first.block):
        raise s.CompileError([(1, 1, "the lab runs declarative pipelines only: `pipeline { ... }` is missing")])
    for extra in statements[1:]:
        builder.refuse(extra.at, "nothing may stand beside `pipeline`")
    pipeline = builder.pipeline(first.block)
    if builder.problems:
        raise s.CompileError(builder.problems)
    return pipeline


class _Builder(Checks):
    def pipeline(self, block: tuple[s.Stmt, ...]) -> Pipeline:
        out = Pipeline()
        seen = self._sections(
            out,
            block,
            {"agent": self._agent, "parameters": self._parameters, "stages": self._stages},
            "section",
        )
        for missing in sorted({"agent", "stages"} - seen):
            self.refuse(block[0].at, f'Missing required section "{missing}"')
        return out

    def _stage(self, statement: s.Stmt) -> Stage:
        out = Stage()
        call = statement.expr if isinstance(statement, s.ExprStmt) else None
        block = statement.block if isinstance(statement, s.ExprStmt) else None
        if not isinstance(call, s.Call) or call.name != "stage" or block is None or len(call.args) != 1:
            self.refuse(statement.at, f"Expected a stage, found {_what(statement)}")
            return out
        out.name = self.text(call.args[0])
        seen = self._sections(
            out, block, {"agent": self._agent, "when": self._when, "steps": self._steps, "stages": self._stages}, "stage section"
        )
        if len(seen & {"steps", "stages"}) != 1:
            self.refuse(statement.at, f'Expected one of "steps" or "stages" for stage "{out.name}"')
        return out

    def _sections(self, out: Any, block: tuple[s.Stmt, ...], extra: dict[str, Callable[..., None]], what: str) -> set[str]:
        known = {"environment": self._environment, "options": self._options, "post": self._post} | extra
        seen: set[str] = set()
        for statement in block:
            call = statement.expr if isinstance(statement, s.ExprStmt) else None
            if not isinstance(call, s.Call) or call.name not in known:
                valid = ", ".join(sorted(known))
                self.refuse(statement.at, f"Unknown {what} {_what(statement)}. Known to the lab: [{valid}]")
                continue
            if call.name in seen:
                self.refuse(statement.at, f"Multiple occurrences of the {call.name} section")
            seen.add(call.name)
            assert isinstance(statement, s.ExprStmt)
            known[call.name](out, statement)
        return seen

    def _calls(self, statement: s.ExprStmt, what: str) -> list[tuple[s.Call, tuple[s.Stmt, ...] | None]]:
        found = []
        for inner in statement.block or ():
            if isinstance(inner, s.ExprStmt) and isinstance(inner.expr, s.Call):
                found.append((inner.expr, inner.block))
            else:
                self.refuse(inner.at, f"Expected {what}, found {_what(inner)}")
        return found

    def _agent(self, out: Section, statement: s.ExprStmt) -> None:
        call = statement.expr
        assert isinstance(call, s.Call)
        if statement.block is None and len(call.args) == 1 and isinstance(call.args[0], s.Name):
            if call.args[0].name == "any" and isinstance(out, Pipeline):
                return
            self.refuse(statement.at, f'Invalid agent type "{call.args[0].name}" specified. Known to the lab: [any, label]')
            return
        for inner, _ in self._calls(statement, "an agent type"):
            if inner.name != "label" or len(inner.args) != 1 or not isinstance(out, Pipeline):
                self.refuse(inner.at, f'Invalid agent type "{inner.name}" specified. Known to the lab: [any, label]')
            else:
                out.label = self.text(inner.args[0])

    def _environment(self, out: Section, statement: s.ExprStmt) -> None:
        for inner in statement.block or ():
            if not isinstance(inner, s.Assign) or not isinstance(inner.target, s.Name) or inner.declared:
                self.refuse(inner.at, f"Expected name=value in environment, found {_what(inner)}")
                continue
            value = inner.value
            if isinstance(value, s.Call) and value.name == "credentials" and len(value.args) == 1:
                self.text(value.args[0])
            else:
                self.expression(value)
            out.environment.append((inner.target.name, value))

    def _options(self, out: Section, statement: s.ExprStmt) -> None:
        for call, _ in self._calls(statement, "an option"):
            if call.name == "timeout":
                out.timeout = self.duration(call)
            elif call.name != "skipDefaultCheckout":
                valid = ", ".join(OPTIONS)
                self.refuse(call.at, f'Invalid option type "{call.name}". Valid option types: [{valid}]')

    def _parameters(self, out: Pipeline, statement: s.ExprStmt) -> None:
        for call, _ in self._calls(statement, "a parameter"):
            kind = _PARAMETER_KINDS.get(call.name)
            if kind is None:
                self.refuse(call.at, f'Invalid parameter type "{call.name}". Valid parameter types: [{", ".join(_PARAMETER_KINDS)}]')
                continue
            given = {name: self.constant(value) for name, value in call.named.items()}
            if unknown := set(given) - {"name", "defaultValue", "description"}:
                self.refuse(call.at, f'Invalid parameter "{sorted(unknown)[0]}" of {call.name}')
            default = given.get("defaultValue", False if kind == "Boolean" else "")
            text = str(default).lower() if isinstance(default, bool) else str(default)
            out.parameters.append(Parameter(kind, str(given.get("name", "")), text, str(given.get("description") or "") or None))

    def _stages(self, out: Section, statement: s.ExprStmt) -> None:
        out.stages = [self._stage(inner) for inner in statement.block or ()]
        if not out.stages:
            self.refuse(statement.at, "No stages specified")

    def _when(self, out: Stage, statement: s.ExprStmt) -> None:
        calls = self._calls(statement, "a condition")
        if len(calls) != 1:
            self.refuse(statement.at, "the lab knows one condition in a `when`")
            return
        call, block = calls[0]
        if call.name == "expression" and block is not None and len(block) == 1 and isinstance(block[0], s.ExprStmt):
            self.expression(block[0].expr)
            out.when = block[0].expr
        elif call.name == "environment" and set(call.named) == {"name", "value"}:
            prop = s.Prop(call.at, s.Name(call.at, "env"), self.text(call.named["name"]))
            self.expression(call.named["value"])
            out.when = s.Operation(call.at, "==", (prop, call.named["value"]))
        else:
            self.refuse(call.at, f'Unknown conditional "{call.name}". Known to the lab: [environment, expression]')

    def _steps(self, out: Stage, statement: s.ExprStmt) -> None:
        out.steps = statement.block or ()
        self.steps(out.steps)

    def _post(self, out: Section, statement: s.ExprStmt) -> None:
        for call, block in self._calls(statement, "a post condition"):
            if call.name not in CONDITIONS:
                self.refuse(call.at, f'Invalid condition "{call.name}" - valid conditions are [{", ".join(CONDITIONS)}]')
                continue
            out.post[call.name] = block or ()
            self.steps(block or ())

    def duration(self, call: s.Call) -> float:
        """Seconds of `timeout(time:, unit:)`."""
        if set(call.named) - {"time", "unit"} or "time" not in call.named or call.args:
            self.refuse(call.at, "timeout takes time and unit")
            return 0.0
        time = self.constant(call.named["time"])
        unit = self.constant(call.named["unit"]) if "unit" in call.named else "MINUTES"
        if not isinstance(time, int) or isinstance(time, bool) or unit not in UNITS:
            self.refuse(call.at, f"timeout takes a number and one of {', '.join(UNITS)}")
            return 0.0
        return timeout_seconds(call)


def timeout_seconds(call: s.Call) -> float:
    """Of a `timeout` that was checked."""
    time, unit = (getattr(call.named.get(name), "value", default) for name, default in (("time", 0), ("unit", "MINUTES")))
    return float(time or 0) * UNITS[str(unit)]


def _what(statement: s.Stmt) -> str:
    if isinstance(statement, s.ExprStmt) and isinstance(statement.expr, s.Call | s.Name):
        return f'"{statement.expr.name}"'
    return {s.Assign: "an assignment", s.If: '"if"'}.get(type(statement), "an expression")
