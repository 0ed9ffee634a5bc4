"""How a fake's methods come to raise: before they do anything, or when all is done and only the answer is lost."""

from __future__ import annotations

from dataclasses import dataclass

from vmscaler.ports.errors import OutsideError


@dataclass
class _Failure:
    error: OutsideError
    left: int | None
    after_effect: bool


class Failing:
    """A base of fakes. A method strikes at its begin and at its end."""

    def __init__(self) -> None:
        self._failures: dict[str, _Failure] = {}

    def fail(self, method: str, error: OutsideError, *, times: int | None = 1, after_effect: bool = False) -> None:
        """Let a method raise: `times` times (None: until `heal`), before or after it has done its work."""
        self._failures[method] = _Failure(error, times, after_effect)

    def heal(self) -> None:
        """No method fails any more."""
        self._failures.clear()

    def _strike(self, method: str, *, after_effect: bool) -> None:
        failure = self._failures.get(method)
        if failure is None or failure.after_effect is not after_effect or failure.left == 0:
            return
        if failure.left is not None:
            failure.left -= 1
        raise failure.error
