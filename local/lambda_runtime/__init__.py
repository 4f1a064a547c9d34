"""Run a Lambda function on this machine: its handler in a separate process with Lambda's own runtime client."""

from __future__ import annotations

from local.lambda_runtime.failures import LambdaError
from local.lambda_runtime.process import LambdaProcess

__all__ = ["LambdaError", "LambdaProcess"]
