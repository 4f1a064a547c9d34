"""The failures of an invocation, with the names that Lambda and Step Functions use."""

from __future__ import annotations

from collections.abc import Mapping

TIMED_OUT = "Sandbox.Timedout"
EXITED = "Runtime.ExitError"
RESPONSE_TOO_LARGE = "Function.ResponseSizeTooLarge"


class LambdaError(Exception):
    """An invocation without a result: the handler raised, the process ended, or the time ran out.

    `error_type` is the name that Retry and Catch of a state machine match: that of the exception's class, or one of
    Lambda such as `Sandbox.Timedout`. `stack` holds the frames as Python prints them.
    """

    def __init__(self, error_type: str, message: str, stack: tuple[str, ...] = ()) -> None:
        super().__init__(f"{error_type}: {message}")
        self.error_type = error_type
        self.message = message
        self.stack = stack

    @classmethod
    def from_report(cls, report: Mapping[str, object]) -> LambdaError:
        """Parse the report that the runtime client sends when a handler raises or cannot be imported."""
        stack = report.get("stackTrace")
        return cls(
            str(report.get("errorType", "")),
            str(report.get("errorMessage", "")),
            tuple(map(str, stack)) if isinstance(stack, list) else (),
        )

    def to_payload(self) -> dict[str, object]:
        """Return the payload that Lambda sends to the caller."""
        return {"errorType": self.error_type, "errorMessage": self.message, "stackTrace": list(self.stack)}
