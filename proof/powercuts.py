"""Power cuts under a real filesystem: what was synced is there, whatever else the disk kept.

A writer runs on ext4 on the remembering disk of `proof.disk`. At the cut, all that was written
before the last completed flush is on the disk; of what came later each write is kept, lost, or
torn between sectors, at random. Each such disk is mounted, which replays ext4's journal, and the
store on it is opened and compared. Some trials are controls: under ``os`` durability a cut must
lose acknowledged commits, and a disk that ignores flushes must lose synced ones; if they do not,
the case shows nothing.
"""

from __future__ import annotations

import copy
import ctypes
import dataclasses
import functools
import os
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import holdfast
from holdfast import StateError
from proof.case import Case, Counts, Refuted, Trial
from proof.disk import read_log
from proof.nursery import ROOT, shared
from proof.oracle import Oracle
from proof.stores import PARTITIONS

SIZE = 24 << 20
SECTOR = 512
KEEP = (0.0, 0.5, 0.9, 1.0)  #: chances of a write after the last flush to have reached the disk
TOOLS = ("mkfs.ext4", "losetup", "mount", "umount")
_TRIES = 5  #: of a control
Writes = list[tuple[int, bytes]]


@functools.cache
def _unable() -> str | None:
    if os.geteuid() != 0 or sys.platform != "linux":
        return "needs root on Linux, for loop devices and mounts"
    for tool in TOOLS:
        if shutil.which(tool) is None:
            return f"{tool} is not installed"
    if not (Path("/dev/fuse").exists() and Path("/dev/loop-control").exists()):
        return "there is no FUSE or no loop device here"
    with tempfile.TemporaryDirectory(prefix="holdfast-proof-") as folder:
        try:
            with _disk(Path(folder)):
                return None
        except (OSError, subprocess.CalledProcessError) as error:
            return f"cannot mount here: {error}"


def _command(*words: str | Path) -> str:
    done = subprocess.run([*map(str, words)], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@functools.cache
def _blank() -> bytes:
    """Return an empty ext4 filesystem."""
    with tempfile.NamedTemporaryFile() as file:
        os.truncate(file.name, SIZE)
        lazy = "lazy_itable_init=0,lazy_journal_init=0"
        _command("mkfs.ext4", "-q", "-F", "-J", "size=4", "-E", lazy, file.name)
        return Path(file.name).read_bytes()


@contextmanager
def _mounted(device: Path, folder: Path) -> Iterator[Path]:
    loop = _command("losetup", "--find", "--show", device)
    try:
        _command("mount", "-t", "ext4", loop, folder)
    finally:
        _command("losetup", "-d", loop)  # for the time when it is unmounted
    try:
        yield folder
    finally:
        _unmount(folder)


def _unmount(folder: Path) -> None:
    """Unmount; a loop device lets go of its file, and a reader of its folder, a moment late."""
    for tried in range(500):
        try:
            _command("umount", folder)
            return
        except subprocess.CalledProcessError:
            if tried == 499:
                raise
            threading.Event().wait(0.02)


@contextmanager
def _disk(directory: Path) -> Iterator[tuple[Path, socket.socket, Path]]:
    """Mount a blank filesystem on a remembering disk: its folder, its control, its log."""
    image, log, fuse, folder = (directory / name for name in ("image", "log", "fuse", "disk"))
    image.write_bytes(_blank())
    fuse.mkdir()
    folder.mkdir()
    kernel = os.open("/dev/fuse", os.O_RDWR)
    ours, theirs = socket.socketpair()
    given = f"fd={kernel},rootmode=40000,user_id=0,group_id=0".encode()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"holdfast-proof", os.fsencode(fuse), b"fuse", 0, given):
        os.close(kernel)
        raise OSError(ctypes.get_errno(), "mount of fuse")
    server = subprocess.Popen(
        [sys.executable, "-m", "proof.disk", str(kernel), str(theirs.fileno()), image, log],
        pass_fds=[kernel, theirs.fileno()],
        cwd=ROOT,
    )
    os.close(kernel)
    theirs.close()
    try:
        with _mounted(fuse / "disk", folder):
            yield folder, ours, log
    finally:
        _unmount(fuse)
        server.wait(30)
        ours.close()


def attempt(trial: Trial) -> Counts:
    """Cut the power once, and look at several disks that this may leave.

    A control is tried a few times: the system may have written everything back by itself.
    """
    control = {1: "os durability", 4: "a disk that ignores flushes"}.get(trial.index % 6)
    if control is None:
        return _cut(trial, None)
    for number in range(_TRIES):
        folder = trial.directory / f"try-{number}"
        folder.mkdir()
        again = dataclasses.replace(trial, seed=f"{trial.seed}/{number}", directory=folder)
        counts = _cut(again, control)
        if counts["controls that lost commits"]:
            return counts
    raise Refuted(f"{control} lost nothing: the attack is too weak to show anything")


def _cut(trial: Trial, control: str | None) -> Counter[str]:
    chance = trial.random()
    durability = "os" if control == "os durability" else "sync"
    name = _name(trial.engine, durability)
    partitions = chance.choice(PARTITIONS)
    nursery = shared()
    nursery.abandon()
    with _disk(trial.directory) as (folder, disk, log):
        order = {
            "url": f"{trial.engine}:{folder}/{name}",
            "partitions": partitions,
            "mode": chance.choice(["write", "write", "compact"]) if control is None else "write",
            "threads": chance.choice([1, 3]),
            "seed": trial.seed,
            "durability": [durability],
        }
        child = nursery.child("proof.writer:run", order)
        acknowledgements = chance.randrange(5, 80)
        while acknowledgements > 0:
            word = child.hear()
            if word is None or word[0] in ("broke", "stopped"):
                raise Refuted(f"the writer ended by itself: {child.words[-2:]}")
            acknowledgements -= word[0] == "done"
        child.kill()
        disk.send(b"cut")
        length = int(disk.recv(32))
        nursery.status()
    oracle = Oracle()
    oracle.trimmed = order["mode"] == "compact"
    for word in child.words:
        oracle.hear(word)
    writes = read_log(log, length)
    counts: Counter[str] = Counter(acknowledged=oracle.acknowledged)
    counts["cuts with several partitions"] = int(partitions > 1)
    for keep in KEEP:
        image = _after(writes, keep, chance, flushes=control != "a disk that ignores flushes")
        lost = _lost(trial, image, name, copy.deepcopy(oracle))
        if control is None:
            counts["disks after cuts"] += 1
            if lost is not None:
                raise Refuted(f"with {keep:.0%} of what came after the last flush: {lost}")
        else:
            counts[f"controls: {control}"] += 1
            counts["controls that lost commits"] += lost is not None
    return counts


def _name(engine: str, durability: str) -> str:
    """Return a store's name and options, under which what is asked for is what syncs."""
    if engine == "rocksdb":
        return "store?write_buffer_size=64KiB&cache_capacity=1MiB"
    # A checkpoint syncs the log, and with it whatever `os` left there.
    often = 5 if durability == "sync" else 3_600_000
    return f"store?wal_limit=64KiB&checkpoint_every_ms={often}"


def _after(writes: Writes, keep: float, chance: random.Random, *, flushes: bool) -> bytearray:
    """Return what a disk holds after a power cut."""
    image = bytearray(_blank())
    synced = max((at for at, (_, data) in enumerate(writes) if not data), default=0)
    if not flushes:
        synced = len(writes) // 2
    for at, (offset, data) in enumerate(writes):
        if at < synced:
            image[offset : offset + len(data)] = data
            continue
        whole = chance.random() < 0.8
        kept = chance.random() < keep
        for low in range(0, len(data), SECTOR):
            if kept if whole else chance.random() < keep:
                image[offset + low : offset + low + SECTOR] = data[low : low + SECTOR]
    return image


def _lost(trial: Trial, image: bytearray, name: str, oracle: Oracle) -> str | None:
    """Mount a disk and compare its store with what was acknowledged; None if nothing is amiss."""
    device, folder = trial.directory / "after", trial.directory / "disk"
    device.write_bytes(image)
    try:
        with _mounted(device, folder):
            try:
                with holdfast.open(f"{trial.engine}:{folder}/{name}") as state:
                    oracle.check(state)
            except (Refuted, StateError) as error:
                return f"{type(error).__name__}: {error}"
    except subprocess.CalledProcessError as error:
        return f"the filesystem itself is lost: {error.stderr}"
    finally:
        device.unlink()
    return None


CASE = Case(
    name="power-cuts",
    claim="a power cut loses nothing that was synced, whatever else the disk kept or tore",
    run=attempt,
    engines=("sqlite", "rocksdb"),
    quick=6,
    in_tests=2,
    long=1200,
    unable=lambda _engine: _unable(),
)
