"""What the commands are run on."""

from __future__ import annotations

from tests.builders import file, gzip_of, symlink, tar_of, text

LAYER = gzip_of(tar_of(file("bin/app", text(200_000), mode=0o755, mtime=1.5), symlink("app", "bin/app")))
UPPER = gzip_of(tar_of(file("etc/motd", b"hello\n"), file("etc/empty")))

PLATFORMS = ("linux/s390x", "linux/ppc64le")
"""No machine that runs these tests has one of them, so both are taken unless one is asked for."""
