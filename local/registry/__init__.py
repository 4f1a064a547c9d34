"""An OCI registry in memory, over HTTP on loopback, with the peculiarities of Amazon ECR.

    with Registry() as registry:
        registry.fail(Harm.CUT_BODY, number=7)
        ...                                      # a client uses registry.host
        assert not any(seen.has_authorization for seen in registry.requests if seen.origin == OBJECTS)

It also serves ECR's own API: with AWS_ENDPOINT_URL_ECR=http://HOST boto3 lists repositories and images here and gets
the password of an `EcrLogin`.

`python -m local.registry --port 5000` runs a registry in a terminal. It uses only the standard library and shares no
code with the core, so that each reveals mistakes of the other.
"""

from local.registry.behaviour import ECR_RATES, MIB, Behaviour
from local.registry.faults import Answer, Delay, Fault, Harm, Lie, Meanwhile, TimePasses, action, request_to
from local.registry.journal import OBJECTS, REGISTRY, Exchange
from local.registry.login import BasicLogin, BearerLogin, EcrLogin
from local.registry.registry import Registry

__all__ = [
    "ECR_RATES",
    "MIB",
    "OBJECTS",
    "REGISTRY",
    "Answer",
    "BasicLogin",
    "BearerLogin",
    "Behaviour",
    "Delay",
    "EcrLogin",
    "Exchange",
    "Fault",
    "Harm",
    "Lie",
    "Meanwhile",
    "Registry",
    "TimePasses",
    "action",
    "request_to",
]
