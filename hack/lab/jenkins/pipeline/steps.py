"""The steps: sh, echo, error, readFile, writeFile, script, timeout, withCredentials; and expressions."""

from __future__ import annotations

from typing import Any

from lab.jenkins.agent_link import AgentError
from lab.jenkins.pipeline import syntax as s
from lab.jenkins.pipeline.checks import STEPS
from lab.jenkins.pipeline.context import Context, first_of
from lab.jenkins.pipeline.model import timeout_seconds
from lab.jenkins.pipeline.outcome import RESULTS, Crash, Ended


class Interpolated(str):
    """A GString: Jenkins warns when a secret got into it."""


def groovy(value: Any) -> str:
    """A value as Groovy prints it."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


class Steps:
    """Runs statements in a Context. Raises Ended."""

    def __init__(self, context: Context) -> None:
        self.context = context

    async def run(self, block: tuple[s.Stmt, ...]) -> None:
        """Statements in turn."""
        for statement in block:
            await self._statement(statement)

    async def _statement(self, statement: s.Stmt) -> None:
        match statement:
            case s.If():
                await self.run(statement.then if await self.value(statement.condition) else statement.otherwise)
            case s.Assign(target=target, value=value):
                self._assign(target, await self.value(value))
            case s.ExprStmt(expr=s.Call() as call, block=block):
                await self._step(call, block)
            case s.ExprStmt(expr=expr):
                await self.value(expr)

    def _assign(self, target: s.Expr, value: Any) -> None:
        context, build = self.context, self.context.build
        match target:
            case s.Name(name=name):
                context.locals[name] = value
            case s.Prop(owner=s.Name(name="env"), name=name):
                build.env_used = True
                context.overrides[name] = groovy(value)
            case s.Prop(name="result"):
                if value not in RESULTS:
                    raise Crash(f"java.lang.IllegalArgumentException: no such result {groovy(value)}")
                context.worsen(value)
            case s.Prop(name="description"):
                build.description = None if value is None else str(value)
            case s.Prop(name="displayName"):
                build.display_name = groovy(value)

    async def value(self, expr: s.Expr) -> Any:
        """Evaluate an expression."""
        match expr:
            case s.Literal(value=value):
                return value
            case s.GString(parts=parts):
                return Interpolated("".join([p if isinstance(p, str) else groovy(await self.value(p)) for p in parts]))
            case s.Name(name=name):
                return self._variable(name)
            case s.Prop(owner=s.Name(name=owner), name=name):
                return self._property(owner, name)
            case s.Call() as call:
                return await self._step(call, None)
            case s.Method(owner=owner, name=name):
                return self._method(name, await self.value(owner))
            case s.Operation(operator=operator, operands=operands):
                return await self._operation(operator, operands)
        raise Crash(f"the lab cannot evaluate {type(expr).__name__}")

    def _variable(self, name: str) -> Any:
        if name in self.context.locals:
            return self.context.locals[name]
        value = self.context.environment().get(name)
        if value is None and name not in self.context.build.contributed:
            raise Crash(f"groovy.lang.MissingPropertyException: No such property: {name} for class: groovy.lang.Binding")
        return value

    def _property(self, owner: str, name: str) -> Any:
        build = self.context.build
        if owner == "env":
            build.env_used = True
            return self.context.environment().get(name)
        if owner == "params":
            return build.parameter_values.get(name)
        values = {"result": build.result, "currentResult": build.result or "SUCCESS", "description": build.description}
        return (values | {"displayName": build.display_name, "number": build.number})[name]

    def _method(self, name: str, value: Any) -> Any:
        if value is None:
            raise Crash(f"java.lang.NullPointerException: Cannot invoke method {name}() on null object")
        if name == "toInteger":
            try:
                return int(value)
            except ValueError:
                raise Crash(f'java.lang.NumberFormatException: For input string: "{value}"') from None
        return groovy(value).strip() if name == "trim" else groovy(value)

    async def _operation(self, operator: str, operands: tuple[s.Expr, ...]) -> Any:
        if operator in ("&&", "||"):
            for operand in operands:
                if bool(await self.value(operand)) == (operator == "||"):
                    return operator == "||"
            return operator == "&&"
        values = [await self.value(operand) for operand in operands]
        if operator == "!":
            return not values[0]
        if operator == "+":
            if all(isinstance(v, int) for v in values):
                return sum(values)
            return Interpolated("".join(groovy(v) for v in values))
        if operator in ("==", "!="):
            return (values[0] == values[1]) == (operator == "==")
        try:
            return {"<": values[0] < values[1], ">": values[0] > values[1], "<=": values[0] <= values[1], ">=": values[0] >= values[1]}[
                operator
            ]
        except TypeError:
            raise Crash("java.lang.ClassCastException: cannot compare these values") from None

    async def _step(self, call: s.Call, block: tuple[s.Stmt, ...] | None) -> Any:
        context = self.context
        context.check()
        if call.name == "timeout":
            async with context.time_limit(timeout_seconds(call)):
                return await self.run(block or ())
        if call.name == "script":
            with context.block("script"):
                return await self.run(block or ())
        if call.name == "withCredentials":
            return await self._with_credentials(call, block or ())
        given = {name: await self.value(value) for name, value in call.named.items()}
        if call.args:
            given[STEPS[call.name].first] = await self.value(call.args[0])
        context.console.step(call.name)
        self._warn(call.name, given)
        return await getattr(self, f"_{call.name}")(**given)

    def _warn(self, step: str, given: dict[str, Any]) -> None:
        texts = [value for value in given.values() if isinstance(value, Interpolated)]
        scopes = self.context.secrets
        names = [n for scope in scopes for n, secret in scope.items() if secret and any(secret in text for text in texts)]
        if names:
            self.context.console.line(f'Warning: A secret was passed to "{step}" using Groovy String interpolation, which is insecure.')
            self.context.console.line(f"\t\t Affected argument(s) used the following variable(s): [{', '.join(names)}]")
            self.context.console.line("\t\t See https://jenkins.io/redirect/groovy-string-interpolation for details.")

    async def _echo(self, message: Any) -> None:
        self.context.line(groovy(message))

    async def _error(self, message: Any) -> None:
        raise Ended(groovy(message))

    async def _readFile(self, file: Any) -> str:
        return await self._file("read", "readFile", groovy(file))

    async def _writeFile(self, file: Any, text: Any) -> None:
        await self._file("write", "writeFile", groovy(file), groovy(text))

    async def _file(self, op: str, step: str, file: str, text: str = "") -> str:
        workspace = self.context.need_workspace(step)
        try:
            return await self.context.host.agent.file(op, workspace, file, text)
        except AgentError as error:
            raise Crash(str(error)) from None

    async def _sh(self, script: Any, label: Any = None, returnStatus: bool = False, returnStdout: bool = False) -> Any:
        context, agent, config = self.context, self.context.host.agent, self.context.host.config
        workspace, writer = context.need_workspace("sh"), context.writer()
        with context.interruptible() as (interruption, forced):
            shell = agent.sh(workspace, groovy(script), context.environment(), writer.write, stdout=returnStdout)
            try:
                await first_of(shell.ended, interruption, forced)
                if interruption.done() and not shell.ended.done() and not forced.done():
                    context.console.line("Sending interrupt signal to process")
                    agent.term(shell)
                    await first_of(shell.ended, forced, timeout=config.stop_wait)
                    if not shell.ended.done() and not forced.done():
                        writer.flush()
                        context.console.line(f"After {config.stop_wait:g}s process did not stop")
                if not shell.ended.done():
                    writer.flush()
                    raise forced.result() if forced.done() else interruption.result()
                code, stdout = shell.ended.result()
            except AgentError as error:
                raise Crash(str(error)) from None
            finally:
                agent.forget(shell)  # what it still does, it does alone: also when the build is killed, whose log is closed then
            writer.flush()
            if interruption.done():
                context.console.line(f"script returned exit code {code}")
            if forced.done() or interruption.done():
                raise forced.result() if forced.done() else interruption.result()
        if returnStatus:
            return code
        if code:
            raise Ended(f"script returned exit code {code}")
        return stdout if returnStdout else None

    async def _with_credentials(self, call: s.Call, block: tuple[s.Stmt, ...]) -> None:
        context = self.context
        bindings = call.args[0] if call.args else call.named["bindings"]
        assert isinstance(bindings, s.ListOf)
        variables: dict[str, str] = {}
        for item in bindings.items:
            assert isinstance(item, s.Call)
            named = {name: str(getattr(value, "value", "")) for name, value in item.named.items()}
            found = context.host.credentials.get(named["credentialsId"])
            if found is None:
                context.console.step("withCredentials")
                context.console.step("// withCredentials")
                raise Ended(f"Could not find credentials entry with ID '{named['credentialsId']}'")
            if item.name == "string":
                variables[named["variable"]] = found.secret
            else:
                variables |= {named["usernameVariable"]: found.username, named["passwordVariable"]: found.secret}
        context.build.credentials_used = True
        with context.block("withCredentials", masking_line(variables)), context.overlay(variables, variables):
            await self.run(block)


def masking_line(variables: dict[str, str]) -> str:
    """What withCredentials says first."""
    return "Masking supported pattern matches of " + " or ".join(f"${name}" for name in variables)
