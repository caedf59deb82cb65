"""Sessions: their life, their expiry, and artifacts stored once per owner."""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

import holdfast
from holdfast import StateManager
from holdfast.sessions import (
    ArtifactDamagedError,
    ArtifactNotFoundError,
    AsyncSessions,
    SessionExistsError,
    SessionFileError,
    SessionNotFoundError,
    Sessions,
    SessionStatusError,
)
from holdfast.testing import FakeClock
from tests.conftest import QUICK, Stores


def stored(state: StateManager, scope: str, prefix: str) -> list[str]:
    """Return the keys of content in a domain."""
    return state.list_keys(scope, prefix=f"artifact-{prefix}/")


def test_the_life_of_a_session(state: StateManager) -> None:
    """A session starts, rests, goes on and ends; hooks see it, and its events are one work."""
    sessions, seen = Sessions(state), []
    state.hooks.after(
        lambda event: seen.append((event.scope.ids[0], event.new["status"])),
        scope="session:*",
        key="session",
        name="life",
    )
    sessions.start("s:0")
    info = sessions.start("s:1", metadata={"n": 1}, previous="s:0", owner="ada")
    assert (info.status, info.previous, info.owner, info.expires_at) == (
        *("active", "s:0", "ada"),
        None,
    )
    sessions.suspend("s:1")
    with pytest.raises(SessionStatusError) as error:
        sessions.put("s:1", "a", b"x")
    assert error.value.status == "suspended"
    sessions.resume("s:1")
    sessions.describe("s:1", {"n": 2})
    sessions.put("s:1", "a", b"x")
    sessions.end("s:1")
    for act in (sessions.resume, sessions.suspend, sessions.end):
        with pytest.raises(SessionStatusError):
            act("s:1")
    assert [s.id for s in sessions.list()] == ["s:0", "s:1"]
    assert [s.metadata for s in sessions.list("ended")] == [{"n": 2}]
    assert b"".join(sessions.read("s:1", "a")) == b"x"
    names = [event.name for event in state.events.read(correlation=info.correlation)]
    assert [name for name in names if name.startswith("session.")] == [
        *("session.started", "session.suspended", "session.resumed"),
        *("session.artifact.stored", "session.ended"),
    ]
    state.hooks.drain()
    assert [status for id, status in seen if id == "s:1"] == [
        *("active", "suspended", "active", "active", "ended"),
    ]
    with pytest.raises(SessionExistsError):
        sessions.start("s:1")
    with pytest.raises(SessionNotFoundError):
        sessions.start("s:2", previous="nobody")
    with pytest.raises(SessionNotFoundError):
        sessions.end("nobody")
    assert sessions.get("nobody") is None


def test_expiry_is_the_stores(open_store: Stores, clock: FakeClock) -> None:
    """A session is gone at its moment unless it was touched; `sweep` deletes what it leaves."""
    if open_store.engine == "postgres":
        pytest.skip("its time is the server's")
    state = open_store(clock=clock)
    sessions = Sessions(state)
    sessions.start("s", expires_in=10)
    sessions.put("s", "a", b"abc")
    state.set("session:s", "mine", 1)
    clock.advance(9)
    assert sessions.sweep() == (0, 0)
    sessions.touch("s")
    clock.advance(9.9)
    assert sessions.get("s") is not None
    clock.advance(0.1)
    assert sessions.get("s") is None
    assert sessions.list() == []
    for act in (sessions.touch, sessions.end, sessions.artifacts):
        with pytest.raises(SessionNotFoundError):
            act("s")
    state.set("session:other", "raw", 1)  # never started here: not ours to delete
    assert sessions.sweep() == (1, 0)
    assert [str(scope) for scope in state.scopes()] == ["session:other"]


def test_content_is_stored_once_per_owner(state: StateManager) -> None:
    """The same bytes are one blob inside a key domain, and never one across two."""
    sessions = Sessions(state, chunk_bytes=4)
    for id, owner in (("a1", "ada"), ("a2", "ada"), ("b", "bob"), ("none", None)):
        sessions.start(id, owner=owner)
        sessions.put(id, "x", b"0123456789", type="text/plain", metadata={"k": 1})
        sessions.put(id, "y", iter([b"01", b"", b"23456789"]))
        sessions.put(id, "z", io.BytesIO(b"0123456789"))
    for domain in ("user:ada", "user:bob", "session:none"):
        assert len(stored(state, domain, "chunk")) == 3
        assert len(stored(state, domain, "blob")) == 1
        assert len(stored(state, domain, "upload")) == 1
    assert stored(state, "session:a1", "chunk") == []
    item = sessions.artifacts("a1")["x"]
    assert item.sha256 == hashlib.sha256(b"0123456789").hexdigest()
    assert (item.size, item.type, item.metadata) == (10, "text/plain", {"k": 1})
    assert list(sessions.read("a1", "y")) == [b"0123", b"4567", b"89"]
    state.delete_scope("user:bob")  # erased
    assert b"".join(sessions.read("a2", "x")) == b"0123456789"
    assert sessions.delete("a1")
    assert len(stored(state, "user:ada", "chunk")) == 3
    for name in ("x", "y", "z"):
        sessions.remove("a2", name)
    assert state.list_keys("user:ada") == []
    with pytest.raises(ArtifactNotFoundError):
        sessions.artifact("a2", "x")
    with pytest.raises(ArtifactNotFoundError):
        sessions.remove("a2", "x")
    sessions.put("a2", "empty", b"")
    assert list(sessions.read("a2", "empty")) == []
    for source in ("text", 7, iter([1])):
        with pytest.raises(holdfast.UsageError):
            sessions.put("a2", "bad", source)  # type: ignore[arg-type]
    assert sorted(sessions.artifacts("a2")) == ["empty"]
    assert stored(state, "user:ada", "chunk") == []


def test_damage_is_noticed(state: StateManager) -> None:
    """A flipped byte, a missing chunk, a missing blob: each is a typed error naming it."""
    sessions = Sessions(state, chunk_bytes=4)
    sessions.start("s")
    sessions.put("s", "a", b"0123456789")
    chunks = stored(state, "session:s", "chunk")
    state.set("session:s", chunks[1], b"4568")
    with pytest.raises(ArtifactDamagedError, match="SHA-256") as error:
        list(sessions.read("s", "a"))
    assert (error.value.session, error.value.artifact) == ("s", "a")
    state.set("session:s", chunks[1], "text")
    with pytest.raises(ArtifactDamagedError, match="chunk 1"):
        list(sessions.read("s", "a"))
    state.delete("session:s", chunks[1])
    with pytest.raises(ArtifactDamagedError, match="missing"):
        list(sessions.read("s", "a"))
    state.delete("session:s", stored(state, "session:s", "blob")[0])
    with pytest.raises(ArtifactDamagedError, match="missing"):
        sessions.artifact("s", "a")
    sessions.put("s", "a", b"new")
    assert b"".join(sessions.read("s", "a")) == b"new"


def test_a_partial_upload_never_shows(open_store: Stores, clock: FakeClock) -> None:
    """A source that fails leaves nothing; one that was killed is collected, one at work is not."""
    if open_store.engine == "postgres":
        pytest.skip("its time is the server's")
    state = open_store(clock=clock)
    sessions = Sessions(state, chunk_bytes=2)
    sessions.start("s")

    def failing() -> Iterator[bytes]:
        yield b"012345"
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        sessions.put("s", "a", failing())
    assert state.list_keys("session:s") == ["session"]

    def slow() -> Iterator[bytes]:
        yield b"0123"
        assert sessions.artifacts("s") == {}
        assert sessions.sweep() == (0, 0)  # it is at work
        yield b"4567"
        clock.advance(3601)  # it rested too long, and somebody collects it
        assert sessions.sweep() == (0, 1)
        yield b"89"

    with pytest.raises(SessionStatusError, match="given up"):
        sessions.put("s", "a", slow())
    assert state.list_keys("session:s") == ["session"]


def test_a_file_and_back(state: StateManager, tmp_path: Path) -> None:
    """A session exports to one file and comes back equal, under another id and owner too."""
    sessions, file = Sessions(state, chunk_bytes=4), tmp_path / "s.jsonl"
    sessions.start("s", owner="ada", metadata={"m": [1]}, expires_in=3600)
    sessions.put("s", "a", b"0123456789", type="t")
    sessions.put("s", "e", b"")
    state.set("session:s", "when", {"at": holdfast.StateScope.GLOBAL.__class__.__name__})
    sessions.export("s", file)
    with pytest.raises(SessionExistsError):
        sessions.load(file)
    assert sessions.load(file, id="t", owner="bob") == "t"
    info = sessions.get("t")
    assert info is not None
    assert (info.owner, info.metadata, info.status) == ("bob", {"m": [1]}, "active")
    assert info.expires_at is not None
    assert sessions.artifacts("t") == sessions.artifacts("s")
    assert b"".join(sessions.read("t", "a")) == b"0123456789"
    assert state.get("session:t", "when") == state.get("session:s", "when")
    sessions.end("s")
    sessions.export("s", file)
    assert [sessions.load(file, id="v"), sessions.list("ended")[1].id] == ["v", "v"]
    lines = file.read_text().splitlines()
    data = next(n for n, line in enumerate(lines) if '"data"' in line)
    broken = {
        "cut": lines[:-1],
        "shorter": [*lines[:data], *lines[data + 1 :]],
        "flipped": [*lines[:data], lines[data].replace("MDEy", "MDEx"), *lines[data + 1 :]],
        "no chunk": [*lines[:data], '{"data": "?"}', *lines[data + 1 :]],
        "no JSON": [lines[0], "{", *lines[1:]],
        "no object": [lines[0], "[]", *lines[1:]],
        "no key": [lines[0], '{"scope": 1}', *lines[1:]],
        "headless": lines[1:],
        "newer": [json.dumps(json.loads(lines[0]) | {"format": 2}), *lines[1:]],
        "reserved": [lines[0], '{"scope": "session:s", "key": "session", "value": 1}', *lines[1:]],
        "empty": [],
    }
    for words, given in broken.items():
        file.write_text("".join(line + "\n" for line in given))
        with pytest.raises(SessionFileError):
            sessions.load(file, id="u")
        assert sessions.get("u") is None, words
        assert not state.scope_exists("session:u"), words


def test_the_awaited_face(tmp_path: Path) -> None:
    """`AsyncSessions` does the same, from asynchronous sources too."""

    async def main() -> None:
        async with await holdfast.open_async(tmp_path / "s.db", policies=QUICK) as state:
            sessions = AsyncSessions(state, chunk_bytes=3)
            await sessions.start("s", owner="ada")

            async def pieces() -> Any:
                for _ in range(4):
                    yield b"ab"
                    await asyncio.sleep(0)

            item = await sessions.put("s", "a", pieces())
            assert item.size == 8
            assert [piece async for piece in sessions.read("s", "a")] == [b"aba", b"bab", b"ab"]
            await sessions.suspend("s")
            await sessions.resume("s")
            await sessions.touch("s")
            await sessions.export("s", tmp_path / "f")
            assert await sessions.load(tmp_path / "f", id="t") == "t"

            async def endless() -> Any:
                while True:
                    yield b"abcdef"
                    await asyncio.sleep(0)

            task = asyncio.create_task(sessions.put("s", "b", endless()))
            await asyncio.sleep(0.01)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert list(await sessions.artifacts("s")) == ["a"]
            assert len(await state.list_keys("user:ada", prefix="artifact-chunk/")) == 3
            await sessions.remove("s", "a")
            assert await sessions.delete("s")
            assert await sessions.delete("t")
            assert await state.list_keys("user:ada") == []
            assert await state.scopes() == []
            assert await sessions.sweep() == (0, 0)

    asyncio.run(main())
    public = {name for name in vars(Sessions) if not name.startswith("_")}
    assert public == {name for name in vars(AsyncSessions) if not name.startswith("_")}


_IDS = ("s", "t", "u")
_OWNERS = {"s": "ada", "t": "ada", "u": None}
_CONTENTS = (b"", b"0", b"01", b"0123456789", b"9876543210")


class Artifacts(RuleBasedStateMachine):
    """Puts, removes, deletes and collects beside a dict: what is stored is exactly what is used."""

    def __init__(self) -> None:
        super().__init__()
        self.state = holdfast.open("memory:", policies=QUICK)
        self.sessions = Sessions(self.state, chunk_bytes=3)
        self.model: dict[str, dict[str, bytes]] = {}

    @rule(id=st.sampled_from(_IDS))
    def start(self, id: str) -> None:
        """Begin a session that is not there."""
        if id not in self.model:
            self.sessions.start(id, owner=_OWNERS[id])
            self.model[id] = {}

    @rule(id=st.sampled_from(_IDS), name=st.sampled_from("xy"), content=st.sampled_from(_CONTENTS))
    def put(self, id: str, name: str, content: bytes) -> None:
        """Store content, often the same."""
        if id in self.model:
            self.sessions.put(id, name, content)
            self.model[id][name] = content

    @rule(id=st.sampled_from(_IDS), name=st.sampled_from("xy"))
    def remove(self, id: str, name: str) -> None:
        """Take an artifact away."""
        if name in self.model.get(id, {}):
            self.sessions.remove(id, name)
            del self.model[id][name]

    @rule(id=st.sampled_from(_IDS))
    def delete(self, id: str) -> None:
        """Delete a session, there or not."""
        assert self.sessions.delete(id) == (self.model.pop(id, None) is not None)

    @rule()
    def sweep(self) -> None:
        """Find nothing to collect, ever."""
        assert self.sessions.sweep() == (0, 0)

    @invariant()
    def agree(self) -> None:
        """Compare sessions, references and chunks with the dict."""
        state, sessions = self.state, self.sessions
        assert [s.id for s in sessions.list()] == sorted(self.model)
        for domain, ids in (("user:ada", "st"), ("session:u", "u")):
            used = [c for id in ids for c in self.model.get(id, {}).values()]
            refs = {
                key.rpartition("/")[2]: state.get(domain, key)["refs"]
                for key in stored(state, domain, "blob")
            }
            expected = {hashlib.sha256(c).hexdigest(): used.count(c) for c in used}
            assert refs == expected
            assert len(stored(state, domain, "upload")) == len(expected)
            assert len(stored(state, domain, "chunk")) == sum(-(-len(c) // 3) for c in set(used))
        for id, names in self.model.items():
            read = {name: b"".join(sessions.read(id, name)) for name in sessions.artifacts(id)}
            assert read == names

    def teardown(self) -> None:
        """Close the store."""
        self.state.close()


TestArtifacts = Artifacts.TestCase
TestArtifacts.settings = settings(max_examples=20, stateful_step_count=20, deadline=None)

_WORKER = """
import random, sys, holdfast
from holdfast.sessions import *
chance = random.Random(int(sys.argv[2]))
with holdfast.open(sys.argv[1]) as state:
    sessions = Sessions(state, chunk_bytes=1000)
    print("ready", flush=True)
    while True:
        id, name = chance.choice("abc"), chance.choice("xyz")
        content = bytes([chance.randrange(3)]) * chance.choice((10, 5000))
        try:
            match chance.randrange(6):
                case 0: sessions.start(id, owner="o")
                case 1: sessions.delete(id)
                case 2: sessions.remove(id, name)
                case 3: sessions.sweep()
                case _: sessions.put(id, name, content)
        except (holdfast.RejectedError):
            pass
"""


@pytest.mark.slow
def test_killed_writers_leave_nothing_behind(tmp_path: Path) -> None:
    """Two processes put, remove, delete and collect, and are killed: all adds up afterwards."""
    path, chance = tmp_path / "s.db", random.Random(3)
    holdfast.open(path).close()
    for round in range(4):
        workers = [
            subprocess.Popen(
                [sys.executable, "-c", _WORKER, str(path), str(round * 2 + n)],
                stdout=subprocess.PIPE,
                text=True,
            )
            for n in range(2)
        ]
        for process in workers:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        time.sleep(0.1 + chance.random() * 0.4)
        for process in workers:
            process.send_signal(signal.SIGKILL)
            process.communicate()
    clock = FakeClock(time.time_ns() + 7200 * 10**9)
    with holdfast.open(path, clock=clock) as state:
        sessions = Sessions(state)
        sessions.sweep()
        used: list[str] = []
        for info in sessions.list():
            for name, item in sessions.artifacts(info.id).items():
                content = b"".join(sessions.read(info.id, name))
                assert hashlib.sha256(content).hexdigest() == item.sha256
                used.append(item.sha256)
        refs = {
            key.rpartition("/")[2]: state.get("user:o", key)["refs"]
            for key in stored(state, "user:o", "blob")
        }
        assert refs == {digest: used.count(digest) for digest in used}
        assert len(stored(state, "user:o", "upload")) == len(refs)
        chunks = {key.split("/")[1] for key in stored(state, "user:o", "chunk")}
        assert len(chunks) == len(refs)
        for id in "abc":
            sessions.delete(id)
        assert state.scopes() == []
        assert state.verify() == []
