"""The environment of a function's process: Lambda's variables, and a Python path with only its own folders.

See "Defined runtime environment variables" in the developer guide of AWS Lambda.
"""

from __future__ import annotations

import atexit
import functools
import importlib.metadata
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

_CLIENT = ("awslambdaric", "simplejson", "snapshot-restore-py")


@functools.cache
def _shared_folder() -> Path:
    """Create the folder that all functions share; it is removed at exit.

    `client` holds only Lambda's runtime client and its dependencies. `bytecode` holds compiled Python, since the
    folders of a function must stay as they were built.
    """
    folder = Path(tempfile.mkdtemp(prefix="lambda-runtime-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    client = folder / "client"
    client.mkdir()
    for name in _CLIENT:
        distribution = importlib.metadata.distribution(name)
        tops = {path.parts[0] for path in distribution.files or ()}
        for top in tops - {"..", "__pycache__"}:
            (client / top).symlink_to(str(distribution.locate_file(top)))
    return folder


def command_line(handler: str) -> tuple[str, ...]:
    """Return the command that waits for events, without site-packages and the current directory."""
    return (sys.executable, "-S", "-P", "-s", "-m", "awslambdaric", handler)


def variables(
    *,
    name: str,
    handler: str,
    memory_mib: int,
    function_dir: Path,
    layer_dirs: Iterable[Path],
    api_address: str,
    environment: Mapping[str, str],
) -> dict[str, str]:
    """Return all environment variables of the process. Those in `environment`, the function's own, take precedence."""
    shared = _shared_folder()
    path = (function_dir, *(layer_dir / "python" for layer_dir in layer_dirs), shared / "client")
    region = environment.get("AWS_REGION", "us-east-1")
    return {
        "AWS_DEFAULT_REGION": region,
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_EXECUTION_ENV": "AWS_Lambda_python{}.{}".format(*sys.version_info),
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(memory_mib),
        "AWS_LAMBDA_FUNCTION_NAME": name,
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": "local",
        "AWS_LAMBDA_RUNTIME_API": api_address,
        "AWS_REGION": region,
        "AWS_XRAY_CONTEXT_MISSING": "LOG_ERROR",
        "LAMBDA_RUNTIME_DIR": str(shared / "client"),
        "LAMBDA_TASK_ROOT": str(function_dir),
        "LANG": "en_US.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "PYTHONPYCACHEPREFIX": str(shared / "bytecode"),
        "TZ": ":UTC",
        "_HANDLER": handler,
        **environment,
    }
