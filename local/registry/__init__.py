"""An OCI registry in memory, over HTTP on loopback, that behaves as Amazon ECR does where ECR is special.

    with Registry() as registry:
        registry.fail(Harm.CUT_BODY, number=7)
        ...                                      # a client works with registry.host
        assert not any(seen.has_authorization for seen in registry.requests if seen.origin == OBJECTS)

It answers ECR's own API too: with AWS_ENDPOINT_URL_ECR=http://HOST boto3 asks here for repositories, images
and the password of an `EcrLogin`.

`python -m local.registry --port 5000` runs one for a terminal. It needs the standard library alone and
shares no code with the core, so that the two can find each other's mistakes.
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
