"""`python -m local.registry`: run a registry in a terminal until interrupted."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

from local.registry.behaviour import Behaviour
from local.registry.login import BasicLogin, EcrLogin
from local.registry.registry import Registry


def main() -> None:
    """Run a registry and print its requests."""
    parser = argparse.ArgumentParser(prog="python -m local.registry", description=__doc__)
    parser.add_argument("--port", type=int, default=5000, help="port on 127.0.0.1 (default: 5000)")
    parser.add_argument("--plain", action="store_true", help="without ECR's redirects, limits and quirks")
    parser.add_argument("--immutable", action="store_true", help="refuse to move tags")
    parser.add_argument("--no-referrers", action="store_true", help="without the referrers API")
    parser.add_argument("--login", metavar="USER:PASSWORD", help="require this login (Basic)")
    parser.add_argument(
        "--ecr-login", action="store_true", help="require a password from GetAuthorizationToken"
    )
    options = parser.parse_args()

    base = Behaviour.plain() if options.plain else Behaviour()
    behaviour = replace(base, immutable_tags=options.immutable, referrers_api=not options.no_referrers)
    basic = BasicLogin(*options.login.split(":", 1)) if options.login else None
    login = EcrLogin() if options.ecr_login else basic
    with Registry(behaviour, login=login, port=options.port) as registry:
        print(f"Registry at http://{registry.host}, blobs at http://{registry.objects_host}; Ctrl-C ends it.")
        print(f"    skopeo copy --dest-tls-verify=false oci:DIR docker://{registry.host}/app:1")
        print(f"    AWS_ENDPOINT_URL_ECR=http://{registry.host} aws ecr describe-repositories")
        _print_requests(registry)


def _print_requests(registry: Registry) -> None:
    seen = 0
    try:
        while True:
            time.sleep(0.2)
            for exchange in registry.requests[seen:]:
                seen += 1
                what = exchange.aws_action or exchange.path
                line = f"{exchange.status} {exchange.method:6} {exchange.origin:8} {what}"
                print(line, flush=True)
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
