"""List prices of AWS, used by all estimates: us-east-1, without discounts and free tiers.

Prices change, and differ by region. See the page of each price before you rely on it.
"""

from __future__ import annotations

from dataclasses import dataclass

REGION = "us-east-1"
AS_OF = "2026-03"
"""Year and month of the prices."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A price per unit."""

    usd: float
    per: str
    source: str
    """The page of AWS that gives the price."""


_LAMBDA = "https://aws.amazon.com/lambda/pricing/"
_CLOUDWATCH = "https://aws.amazon.com/cloudwatch/pricing/"
_KMS = "https://aws.amazon.com/kms/pricing/"
_DYNAMODB = "https://aws.amazon.com/dynamodb/pricing/on-demand/"

LAMBDA_ARM64 = Price(usd=0.0000133334, per="GB-second of Lambda, arm64", source=_LAMBDA)
LAMBDA_X86_64 = Price(usd=0.0000166667, per="GB-second of Lambda, x86_64", source=_LAMBDA)
LAMBDA_REQUEST = Price(usd=0.20 / 1_000_000, per="invocation of Lambda", source=_LAMBDA)
TRANSITION = Price(
    usd=25 / 1_000_000,
    per="state transition of Step Functions, standard workflow",
    source="https://aws.amazon.com/step-functions/pricing/",
)
EVENT = Price(
    usd=1 / 1_000_000,
    per="event of ours on EventBridge; those of AWS are free",
    source="https://aws.amazon.com/eventbridge/pricing/",
)
TABLE_READ = Price(usd=0.125 / 1_000_000, per="read unit of DynamoDB, on demand", source=_DYNAMODB)
TABLE_WRITE = Price(usd=0.625 / 1_000_000, per="write unit of DynamoDB, on demand", source=_DYNAMODB)
KEY_REQUEST = Price(usd=0.03 / 10_000, per="request of KMS: a MAC made or checked", source=_KMS)
KEY_MONTH = Price(usd=1.00, per="key of KMS and month", source=_KMS)
LOGS_GB = Price(usd=0.50, per="GB of logs taken in by CloudWatch", source=_CLOUDWATCH)
METRIC_MONTH = Price(usd=0.30, per="metric of CloudWatch and month", source=_CLOUDWATCH)
ALARM_MONTH = Price(usd=0.10, per="alarm of CloudWatch and month", source=_CLOUDWATCH)
DASHBOARD_MONTH = Price(usd=3.00, per="dashboard of CloudWatch and month", source=_CLOUDWATCH)
STORAGE_GB_MONTH = Price(
    usd=0.10, per="GB stored in ECR and month", source="https://aws.amazon.com/ecr/pricing/"
)
NAT_GB = Price(
    usd=0.045, per="GB through a NAT gateway, only in a VPC", source="https://aws.amazon.com/vpc/pricing/"
)

ALL = (
    *(LAMBDA_ARM64, LAMBDA_X86_64, LAMBDA_REQUEST, TRANSITION, EVENT, TABLE_READ, TABLE_WRITE),
    *(KEY_REQUEST, KEY_MONTH),
    *(LOGS_GB, METRIC_MONTH, ALARM_MONTH, DASHBOARD_MONTH, STORAGE_GB_MONTH, NAT_GB),
)
