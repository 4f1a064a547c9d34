"""The workloads: a program of an image, and how one sees that it has started."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A program in an image of `layers.py`, run as root unless `user` says otherwise."""

    name: str
    what: str
    """For the table of results."""
    image: str
    command: tuple[str, ...]
    ready_line: str | None = None
    """Text of the line of output that says so."""
    ready_socket: str | None = None
    """Path of a socket that answers an HTTP request when the program is ready."""
    user: str | None = None
    recorded_on: str | None = None
    """The image that its profile is recorded on, if that is another one."""

    def __post_init__(self) -> None:
        if (self.ready_line is None) == (self.ready_socket is None):
            raise ValueError(f"{self.name}: ready is seen by a line or by a socket")


_IMPORTS = "import sklearn.ensemble, pandas; print('ready', flush=True)"
_JAVA = "/usr/lib/jvm/java-17-openjdk-amd64/bin/java"
_TOMCAT_JARS = "/usr/share/tomcat10/bin/bootstrap.jar:/usr/share/tomcat10/bin/tomcat-juli.jar"

WORKLOADS = (
    Workload(
        name="python",
        what="Python imports scikit-learn's ensembles and pandas",
        image="python",
        command=("/usr/bin/python3", "-c", _IMPORTS),
        ready_line="ready",
    ),
    Workload(
        name="node",
        what="Node-RED until its server runs",
        image="node",
        command=(
            "/usr/local/bin/node",
            "/opt/app/node_modules/node-red/red.js",
            "--settings",
            "/data/settings.js",
        ),
        ready_line="Server now running",
    ),
    Workload(
        name="postgresql",
        what="PostgreSQL until it accepts connections",
        image="postgresql",
        command=("/usr/lib/postgresql/15/bin/postgres", "-D", "/var/lib/postgresql/data"),
        ready_line="ready to accept connections",
        user="postgres:postgres",
    ),
    Workload(
        name="nginx",
        what="nginx until it answers a request",
        image="nginx",
        command=("/usr/sbin/nginx", "-c", "/etc/nginx/site.conf"),
        ready_socket="run/nginx.sock",
    ),
    Workload(
        name="jvm",
        what="Tomcat on OpenJDK until its server runs",
        image="jvm",
        command=(
            *(
                _JAVA,
                "-cp",
                _TOMCAT_JARS,
                "-Dcatalina.home=/usr/share/tomcat10",
                "-Dcatalina.base=/srv/tomcat",
            ),
            *("org.apache.catalina.startup.Bootstrap", "start"),
        ),
        ready_line="Server startup in",
    ),
    Workload(
        name="reads-all",
        what="SHA-256 of each file of the Tomcat image",
        image="jvm",
        command=("/bin/sh", "-c", "find /usr /etc -xdev -type f -exec sha256sum {} + | sha256sum"),
        ready_line="  -",
    ),
)

NEXT_BUILD = replace(
    WORKLOADS[0],
    name="python-next",
    what="Python, with a profile of the build before",
    recorded_on="python-before",
)
