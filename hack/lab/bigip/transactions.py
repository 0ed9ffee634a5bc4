"""/mgmt/tm/transaction: facts/bigip.md "Transactions".

```
POST -> STARTED --commands queue--> PATCH VALIDATING --all apply--> COMPLETED (gone)
                                          |--one does not--> 400, nothing applied, still STARTED
        120 s without a word -> gone      |--validateOnly--> COMPLETED is answered, nothing applied, still STARTED
```
The words for a transaction that does not exist are ours (no source has them): 404, and no proof of anything.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from .errors import ApiError, Json, config_error

TIMEOUT = 120


@dataclass
class Command:
    """One queued write. `path` is as in routing.segments; `url` is what is shown."""

    number: int
    order: int
    method: str
    path: tuple[str, ...]
    url: str
    body: Json


@dataclass
class Transaction:
    """An open transaction; `touched` in seconds of the device's clock."""

    number: int
    touched: float
    commands: list[Command] = field(default_factory=list)


class Transactions:
    """The open ones. `apply(commands, commit)` runs them against a copy and puts it in place, or raises ApiError."""

    def __init__(self, clock: Callable[[], float], apply: Callable[[list[Command], bool], None], version: str, first: int) -> None:
        """`first` is the first number; the device takes them from its clock."""
        self._clock = clock
        self._apply = apply
        self._version = version
        self._numbers = itertools.count(first)
        self._open: dict[int, Transaction] = {}

    def handle(self, method: str, path: tuple[str, ...], body: Json) -> Json | None:
        """Answer a request below /tm/transaction; `path` is what follows. Raises ApiError."""
        match method, path:
            case "POST", ():
                transaction = Transaction(next(self._numbers), self._clock())
                self._open[transaction.number] = transaction
                return self._render(transaction, "STARTED")
            case "GET", ():
                items = [self._render(self._get(number), "STARTED") for number in list(self._open)]
                return self._frame("tm:transactioncollectionstate", "", {"items": items} if items else {})
            case "GET", (number,):
                return self._render(self._get(number), "STARTED")
            case "PATCH" | "PUT", (number,):
                return self._submit(self._get(number), body)
            case "DELETE", (number,):
                del self._open[self._get(number).number]
                return None
            case "GET", (number, "commands"):
                transaction = self._get(number)
                shown = [self._render_command(transaction, command) for command in self._ordered(transaction)]
                kind = "tm:transaction:commandscollectionstate"
                return self._frame(kind, f"/{number}/commands", {"items": shown} if shown else {})
            case (("GET" | "PATCH" | "DELETE"), (number, "commands", which)):
                return self._command(method, self._get(number), which, body)
        raise config_error(405, f"The HTTP method {method} is not supported on this URI.")

    def queue(self, number: str, method: str, path: tuple[str, ...], url: str, body: Json) -> Json:
        """Put a write that came with X-F5-REST-Coordination-Id into its transaction; nothing is checked yet."""
        transaction = self._get(number)
        last = max((command.number for command in transaction.commands), default=0)
        command = Command(last + 1, len(transaction.commands) + 1, method, path, url, body)
        transaction.commands.append(command)
        return self._render_command(transaction, command)

    def _get(self, number: str | int) -> Transaction:
        transaction = self._open.get(int(number)) if str(number).isdigit() else None
        if transaction is not None and transaction.touched + TIMEOUT < self._clock():
            del self._open[transaction.number]
            transaction = None
        if transaction is None:
            raise config_error(404, f"Transaction {number} does not exist.", api_error=2)
        transaction.touched = self._clock()
        return transaction

    def _submit(self, transaction: Transaction, body: Json) -> Json:
        if body.get("state") != "VALIDATING":
            raise config_error(400, f"invalid transaction state {body.get('state')}", api_error=2)
        if not transaction.commands:
            raise config_error(400, "there is no command to commit in the transaction", api_error=2)
        commit = body.get("validateOnly") not in (True, "true")
        try:
            self._apply(self._ordered(transaction), commit)
        except ApiError as error:
            raise config_error(400, f"transaction failed:{error.message}", api_error=2) from error
        if commit:
            del self._open[transaction.number]
        return self._render(transaction, "COMPLETED")

    def _command(self, method: str, transaction: Transaction, which: str, body: Json) -> Json | None:
        found = next((command for command in transaction.commands if str(command.number) == which), None)
        if found is None:
            raise config_error(404, f"Command {which} does not exist in transaction {transaction.number}.", api_error=2)
        if method == "DELETE":
            transaction.commands.remove(found)
            self._number_anew(transaction)
            return None
        if method == "PATCH":
            order = body.get("evalOrder")
            if not isinstance(order, int) or not 1 <= order <= len(transaction.commands):
                raise config_error(400, f"invalid evalOrder {order}", api_error=2)
            rest = [command for command in self._ordered(transaction) if command is not found]
            rest.insert(order - 1, found)
            transaction.commands = rest
            self._number_anew(transaction)
        return self._render_command(transaction, found)

    @staticmethod
    def _number_anew(transaction: Transaction) -> None:
        for order, command in enumerate(transaction.commands, 1):
            command.order = order

    @staticmethod
    def _ordered(transaction: Transaction) -> list[Command]:
        return sorted(transaction.commands, key=lambda command: command.order)

    def _link(self, rest: str) -> str:
        return f"https://localhost/mgmt/tm/transaction{rest}?ver={self._version}"

    def _frame(self, kind: str, rest: str, more: Json) -> Json:
        return {"kind": kind, "selfLink": self._link(rest), **more}

    def _render(self, transaction: Transaction, state: str) -> Json:
        return {
            "transId": transaction.number,
            "state": state,
            "timeoutSeconds": TIMEOUT,
            "asyncExecution": False,
            "validateOnly": False,
            "executionTimeout": 300,
            "executionTime": 0,
            "failureReason": "",
            **self._frame("tm:transactionstate", f"/{transaction.number}", {}),
        }

    def _render_command(self, transaction: Transaction, command: Command) -> Json:
        return {
            "method": command.method,
            "uri": command.url,
            "body": command.body,
            "evalOrder": command.order,
            "commandId": command.number,
            **self._frame("tm:transaction:commandsstate", f"/{transaction.number}/commands/{command.number}", {}),
        }
