"""How an invocation fails, in the names that Lambda and Step Functions have for it."""

from __future__ import annotations

from collections.abc import Mapping

TIMED_OUT = "Sandbox.Timedout"
EXITED = "Runtime.ExitError"
RESPONSE_TOO_LARGE = "Function.ResponseSizeTooLarge"


class LambdaError(Exception):
    """An invocation that gave no payload: the handler raised, the process ended, or time ran out.

    `error_type` is what the Retry and Catch of a state machine compare with: the name of the exception's class, or a
    name of Lambda's own such as `Sandbox.Timedout`. `stack` holds the frames as Python prints them.
    """

    def __init__(self, error_type: str, message: str, stack: tuple[str, ...] = ()) -> None:
        super().__init__(f"{error_type}: {message}")
        self.error_type = error_type
        self.message = message
        self.stack = stack

    @classmethod
    def from_report(cls, report: Mapping[str, object]) -> LambdaError:
        """Read what the runtime client sends when a handler raises, or could not be imported."""
        stack = report.get("stackTrace")
        return cls(
            str(report.get("errorType", "")),
            str(report.get("errorMessage", "")),
            tuple(map(str, stack)) if isinstance(stack, list) else (),
        )

    def to_payload(self) -> dict[str, object]:
        """Return the payload that Lambda answers a caller with."""
        return {"errorType": self.error_type, "errorMessage": self.message, "stackTrace": list(self.stack)}
