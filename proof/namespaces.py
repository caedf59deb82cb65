"""Network namespaces with one cable to ours, which can be pulled."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def namespace() -> Iterator[tuple[list[str], str, Callable[[bool], None]]]:
    """Make a network namespace; yield how to run in it, our address, and its switch."""
    number = os.getpid() % 250
    unique = os.urandom(3).hex()
    name, ours, theirs = f"hf{unique}", f"hfa{unique}", f"hfb{unique}"
    address, inside = f"10.213.{number}.1", f"10.213.{number}.2/30"

    def ip(*arguments: str) -> None:
        subprocess.run(["ip", *arguments], check=True, capture_output=True)

    ip("netns", "add", name)
    try:
        ip("link", "add", ours, "type", "veth", "peer", "name", theirs)
        ip("link", "set", theirs, "netns", name)
        ip("addr", "add", f"{address}/30", "dev", ours)
        ip("link", "set", ours, "up")
        ip("-n", name, "addr", "add", inside, "dev", theirs)
        ip("-n", name, "link", "set", theirs, "up")
        yield (
            ["ip", "netns", "exec", name],
            address,
            lambda up: ip("link", "set", ours, "up" if up else "down"),
        )
    finally:
        for gone in (["link", "del", ours], ["netns", "del", name]):
            subprocess.run(["ip", *gone], check=False, capture_output=True)


def can_make_namespaces() -> bool:
    """Say whether this process may make network namespaces and links."""
    if shutil.which("ip") is None or os.geteuid() != 0:
        return False
    name = f"hfprobe{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], check=False, capture_output=True)
    if made.returncode:
        return False
    link = ["ip", "-n", name, "link", "add", "hfx0", "type", "veth", "peer", "name", "hfx1"]
    able = subprocess.run(link, check=False, capture_output=True).returncode == 0
    subprocess.run(["ip", "netns", "del", name], check=False, capture_output=True)
    return able
