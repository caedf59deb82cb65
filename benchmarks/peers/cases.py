"""The work that every contender does. A case opens nothing: it gets a store that is open and empty.

What was stored is read back and compared in every case, outside of what is timed.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from benchmarks.data import Values, keys
from benchmarks.peers.figure import Found, percentile
from benchmarks.peers.peer import Item, NotOfferedError, Peer, Place
from benchmarks.peers.waiting import at_once, call, each


class WrongValueError(Exception):
    """A store returned something other than what it had been given."""


@dataclass(frozen=True, slots=True)
class Case:
    """A case.

    Attributes:
        about: What it does, in a line.
        units: Its works, and the unit of each.
        run: Does it.
        rounds: How often a full run repeats it.
        disk: Whether the bytes of the closed store are one of its works (``on disk``).
    """

    about: str
    units: dict[str, str]
    run: Callable[[Peer, float, Found], Awaitable[None]]
    rounds: int = 3
    disk: bool = False


def _count(full: int, factor: float, least: int) -> int:
    return max(least, int(full * factor))


def _check(found: object, expected: object, what: str) -> None:
    if found != expected:
        raise WrongValueError(f"{what} read back differs")


def _single(size: int, calls: int) -> Callable[[Peer, float, Found], Awaitable[None]]:
    async def run(peer: Peer, factor: float, found: Found) -> None:
        count, values = _count(calls, factor, 8), Values()
        names = keys(count)
        warm = [((0, name), values.document(size)) for name in names[:8]]
        await each(peer.set, warm)
        items: list[Item] = [((0, name), values.document(size)) for name in names]
        spent = await each(peer.set, items)
        found.figures["set"] = percentile(spent, 0.5) * 1e6
        found.tails["set"] = [one * 1e6 for one in spent]
        if peer.last_only:
            items = [items[-1]] * count
        await each(peer.get, [(place,) for place, _ in items[:8]])
        spent = await each(peer.get, [(place,) for place, _ in items])
        found.figures["get"] = percentile(spent, 0.5) * 1e6
        found.tails["get"] = [one * 1e6 for one in spent]
        for place, value in items:
            _check(await call(peer.get, place), value, place[1])

    return run


async def _together(peer: Peer, factor: float, found: Found) -> None:
    count, values = _count(1000, factor, 50), Values()
    items: list[Item] = [((n % 10_000, "state"), values.document(2000)) for n in range(count)]
    spent, single, errors = await at_once(peer.set_together(), items)
    found.failed(errors)
    found.figures["all"] = spent * 1e3
    if single:
        found.figures["each, p50"] = percentile(single, 0.5) * 1e3
        found.tails["each, p50"] = [one * 1e3 for one in single]
    if not errors:
        for place, value in items:
            _check(await call(peer.get, place), value, str(place))


async def _agents(peer: Peer, factor: float, found: Found) -> None:
    count, values = _count(10_000, factor, 100), Values()
    items: list[Item] = [((n, "state"), values.document(2000)) for n in range(count)]
    spent = 0.0
    for at in range(0, count, 1000):
        begun = time.perf_counter()
        await call(peer.set_many, items[at : at + 1000])
        spent += time.perf_counter() - begun
    found.figures["write all"] = spent
    chosen = [items[n] for n in values.shuffled(min(500, count), count)]
    single = await each(peer.get, [(place,) for place, _ in chosen])
    found.figures["read one"] = percentile(single, 0.5) * 1e6
    found.tails["read one"] = [one * 1e6 for one in single]
    for place, value in chosen:
        _check(await call(peer.get, place), value, str(place))
    await call(peer.tidy)


async def _listing(peer: Peer, factor: float, found: Found) -> None:
    count, values = _count(1000, factor, 100), Values()
    names = keys(count)
    await call(peer.keys, 0)  # not offered is known before anything is written
    await call(peer.set_many, [((0, name), values.document(200)) for name in names])
    for _ in range(3):
        begun = time.perf_counter()
        listed = await call(peer.keys, 0)
        found.tails.setdefault("list", []).append((time.perf_counter() - begun) * 1e3)
    found.figures["list"] = percentile(found.tails.pop("list"), 0.5)
    _check(sorted(listed), names, "the listing")


async def _turns(peer: Peer, factor: float, found: Found) -> None:
    count, values = _count(400, factor, 20), Values()
    texts = [values.text(2000) for _ in range(count)]
    said: list[dict[str, str]] = []
    spent = 0.0
    for number, text in enumerate(texts):
        said.append({"role": "assistant" if number % 2 else "user", "content": text})
        begun = time.perf_counter()
        await call(peer.say, said)
        spent += time.perf_counter() - begun
    found.figures["a turn"] = spent / count * 1e6
    begun = time.perf_counter()
    read = await call(peer.said)
    found.figures["read the list"] = (time.perf_counter() - begun) * 1e3
    _check(read, said, "the conversation")
    await call(peer.tidy)
    try:
        begun = time.perf_counter()
        versions = await call(peer.versions)
        found.figures["read all versions"] = time.perf_counter() - begun
        _check(versions, count, "the number of versions")
    except NotOfferedError as error:
        found.absent["read all versions"] = f"not offered: {error}"


async def _increments(peer: Peer, factor: float, found: Found) -> None:
    count = 1000  # in every run: the figure is how many of them survive
    ways = {"one operation": peer.increment_together, "read, change, write": peer.modify_together}
    for number, (work, way) in enumerate(ways.items()):
        place: Place = (number, "count")
        try:
            await call(peer.start, place)
            spent, _, errors = await at_once(way(), [(place,)] * count)
        except NotOfferedError as error:
            found.absent[work] = found.absent[f"{work}: time"] = f"not offered: {error}"
            continue
        found.failed(errors)
        found.figures[work] = await call(peer.number, place)
        found.figures[f"{work}: time"] = spent * 1e3


CASES = {
    "single-200": Case(
        "one caller, values of 200 B", {"set": "µs", "get": "µs"}, _single(200, 100), 3
    ),
    "single-2k": Case(
        "one caller, values of 2 KB", {"set": "µs", "get": "µs"}, _single(2000, 100), 3
    ),
    "single-64k": Case(
        "one caller, values of 64 KB", {"set": "µs", "get": "µs"}, _single(64_000, 30), 3
    ),
    "together": Case(
        "1,000 asyncio tasks, a set of 2 KB each",
        {"all": "ms", "each, p50": "ms"},
        _together,
        3,
    ),
    "agents": Case(
        "10,000 agents with 2 KB each, in batches of 1,000 where there are batches",
        {"write all": "s", "read one": "µs", "on disk": "MB"},
        _agents,
        1,
        disk=True,
    ),
    "listing": Case("the 1,000 keys of one agent", {"list": "ms"}, _listing, 3),
    "turns": Case(
        "a conversation of 400 turns of 2 KB (0.8 MB of text), stored after every turn",
        {"a turn": "µs", "read the list": "ms", "on disk": "MB", "read all versions": "s"},
        _turns,
        1,
        disk=True,
    ),
    "increments": Case(
        "1,000 tasks that add 1 to the same number: what the number is in the end",
        {
            "one operation": "of 1000",
            "one operation: time": "ms",
            "read, change, write": "of 1000",
            "read, change, write: time": "ms",
        },
        _increments,
        1,
    ),
}
