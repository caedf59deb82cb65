"""Servers as child processes: not as root, and gone when this process is."""

from __future__ import annotations

import os
import pwd
import socket
import subprocess
from collections.abc import Sequence
from typing import Any

USER = "nobody"  #: whom a server runs as where this process is root's


def launch(command: Sequence[str], *, stderr: Any) -> subprocess.Popen[bytes]:
    """Start a server; as `USER` where this process is root's, for servers refuse to run as root."""
    as_user: dict[str, Any] = {}
    if os.geteuid() == 0:
        entry = pwd.getpwnam(USER)
        as_user = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        cwd="/",
        start_new_session=True,  # a Ctrl-C of the tests is not for it
        **as_user,
    )


def guard(pid: int) -> subprocess.Popen[bytes]:
    """Start what stops a server when this process is killed: then its end of the pipe closes.

    `communicate` it a line to dismiss it.
    """
    return subprocess.Popen(
        ["/bin/sh", "-c", 'read -r _ || kill -QUIT "$0"', str(pid)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def free_port() -> int:
    """Return a port of the loopback address that nobody uses."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
