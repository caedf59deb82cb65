"""Flipped bits, zeroed sectors and cut files: an error or the right answer, never a wrong one.

Whatever a damaged store answers is compared with what was written. Where the damage is in the
log of the last commits, the store may show an exact earlier state: no library can tell a log
that lost its end from one that never had it. That is counted, and mixed states are refuted.
"""

from __future__ import annotations

import atexit
import functools
import random
import shutil
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import holdfast
from holdfast import SetOperation, StateError, StateManager
from proof import places
from proof.case import Case, Counts, Refuted, Trial
from proof.nursery import shared
from proof.oracle import Place, text
from proof.stores import PARTITIONS

DAMAGES = 10
KINDS = {"flip": 7, "cut": 2, "zero": 1}
EARLIER = "log damaged: an exact earlier state"
SCOPES = ("global", "agent:a", "session:s", "workflow:w", "workflow:w:step:one")


@dataclass(slots=True)
class Known:
    """What a sound store holds at every revision.

    Attributes:
        last: The last revision.
        live: For each revision the values.
        past: For each place all its versions, as revision and value.
    """

    last: int = 0
    live: dict[int, dict[Place, Any]] = field(default_factory=dict)
    past: dict[Place, list[tuple[int, Any]]] = field(default_factory=lambda: defaultdict(list))


def fill(order: dict[str, Any], say: Callable[..., None], listen: Callable[[], None]) -> None:
    """Write a store in two lives; the second one ends in a kill or an orderly close."""
    chance = random.Random(5)
    for life in range(2):
        state = holdfast.open(order["url"], partitions=order["partitions"])
        for number in range(60):
            scope, key = chance.choice(SCOPES), f"k{chance.randrange(8)}"
            tag = f"{life}-{number}:{chance.choice([0, 192, 1024, 4096])}"
            match chance.randrange(8):
                case 0:
                    state.delete(scope, key, durability="os")
                case 1:
                    items = [
                        SetOperation(one, f"b{at}", text(tag))
                        for at, one in enumerate([scope, "global", "workflow:w"])
                    ]
                    state.set_batch(items, atomic=True, durability="os")
                case 2:
                    grown = "".join(text(f"{at}:192") for at in range(number + 20))
                    state.set("session:s", "turns", grown, durability="os")
                case _:
                    state.set(scope, key, text(tag), durability="os")
        if life == 0 or order["closed"]:
            state.close()
    say("filled")
    listen()


@functools.cache
def _template(engine: str, closed: bool, partitions: int) -> tuple[Path, Known]:
    """Make a store once, and return its directory and what it holds."""
    folder = Path(tempfile.mkdtemp(prefix="holdfast-proof-template-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    made = folder / "made"
    made.mkdir()
    nursery = shared()
    nursery.abandon()
    order = {"url": _url(engine, made), "closed": closed, "partitions": partitions}
    child = nursery.child("proof.flips:fill", order)
    if child.hear() != ["filled"]:
        raise Refuted(f"the store was not made: {child.words}")
    child.kill()
    nursery.status()
    shutil.copytree(made, folder / "sound")
    known = Known()
    with holdfast.open(_url(engine, folder / "sound")) as state:
        known.last = state.revision
        live: dict[Place, Any] = {}
        known.live[0] = {}
        for change in state.changes():
            place = str(change.scope), change.key
            known.past[place].append((change.revision, change.value))
            live[place] = change.value
            known.live[change.revision] = {p: v for p, v in live.items() if v is not None}
    return made, known


def _url(engine: str, folder: Path) -> str:
    if engine == "sqlite":
        return f"sqlite:{folder / 'store'}?checkpoint_every_ms=3600000"
    return f"rocksdb:{folder / 'store'}?cache_capacity=1MiB"


def attempt(trial: Trial) -> Counts:
    """Damage copies of one store in several ways, each once, and read everything."""
    chance = trial.random()
    closed, partitions = chance.random() < 0.5, chance.choice(PARTITIONS)
    made, known = _template(trial.engine, closed, partitions)
    counts: Counter[str] = Counter()
    counts["with several partitions"] = DAMAGES if partitions > 1 else 0
    for number in range(DAMAGES):
        copy = trial.directory / str(number)
        shutil.copytree(made, copy)
        damage, victim = _damage(copy, chance)
        counts[damage.partition(" ")[0]] += 1
        try:
            outcome = _outcome(_url(trial.engine, copy), known, victim)
        except Refuted as error:
            where = f"{partitions} partitions, {'closed' if closed else 'killed'}"
            raise Refuted(f"{damage}, {where}: {error}") from error
        if outcome == EARLIER:
            outcome = f"{outcome} ({'cut' if damage.startswith('cut') else 'changed'})"
        counts[outcome] += 1
        shutil.rmtree(copy)
    return counts


def _damage(folder: Path, chance: random.Random) -> tuple[str, Path]:
    files = [f for f in sorted(folder.rglob("*")) if f.is_file() and f.stat().st_size]
    files = [f for f in files if not f.name.startswith("LOG")]  # RocksDB's diary, never read
    # Half of the time by size, so that every byte is as likely as another; else any file.
    weights = [f.stat().st_size for f in files] if chance.random() < 0.5 else None
    victim = chance.choices(files, weights)[0]
    raw = bytearray(victim.read_bytes())
    at = chance.randrange(len(raw))
    kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
    if kind == "flip":
        raw[at] ^= 1 << chance.randrange(8)
    elif kind == "cut":
        del raw[at:]
    else:
        at -= at % 512
        raw[at : at + 512] = bytes(len(raw[at : at + 512]))
    victim.write_bytes(raw)
    return f"{kind} {victim.relative_to(folder)} byte {at}", victim


def _outcome(url: str, known: Known, victim: Path) -> str:
    try:
        state = holdfast.open(url)
    except StateError:
        return "refused at opening"
    with state:
        try:
            revision = state.revision
        except StateError:
            revision = known.last
        if revision != known.last:
            if not victim.name.endswith(("-wal", ".log")):
                raise Refuted(f"silently at revision {revision} instead of {known.last}")
            if revision not in known.live:
                raise Refuted(f"at revision {revision}, which never was")
        errors = _read_all(state, known, revision)
        problems = state.verify()
        if errors and not problems:
            raise Refuted(f"verify finds nothing, but reading does: {errors[0]}")
        if revision != known.last:
            return "named by verify" if problems else EARLIER
    return "named by verify" if problems else "harmless"


def _read_all(state: StateManager, known: Known, revision: int) -> list[str]:
    """Read everything in every way; return the errors, and refute whatever is wrong."""
    errors: list[str] = []
    live = known.live[revision]

    def ask(what: str, expected: Any, read: Callable[[], Any]) -> None:
        try:
            found = read()
        except StateError as error:
            errors.append(f"{what}: {error.message}")
            return
        if found != expected:
            raise Refuted(f"{what} is silently wrong at revision {revision}")

    for (scope, key), versions in known.past.items():
        place = scope, key
        ask(f"get {place}", live.get(place), functools.partial(state.get, *place))
        then = [(r, v) for r, v in versions if r <= revision]
        ask(f"history {place}", then, functools.partial(_history, state, place))
        if then:
            at, value = then[len(then) // 2]
            ask(f"{place}@{at}", value, functools.partial(state.get, *place, as_of=at))
    for scope in SCOPES:
        pairs = sorted((k, v) for (s, k), v in live.items() if s == scope)
        ask(f"scan {scope}", pairs, functools.partial(_scan, state, scope))
        ask(f"list {scope}", [k for k, _ in pairs], functools.partial(state.list_keys, scope))
    ask("scopes", sorted({s for s, _ in live}), lambda: sorted(str(s) for s in state.scopes()))
    return errors


def _history(state: StateManager, place: Place) -> list[tuple[int, Any]]:
    return [(c.revision, c.value) for c in state.history(*place, newest_first=False)]


def _scan(state: StateManager, scope: str) -> list[tuple[str, Any]]:
    return [(key, item.value) for key, item in state.scan(scope)]


CASE = Case(
    name="flips",
    claim="a flipped bit or a cut file is an error or changes nothing; verify names it",
    run=attempt,
    engines=("sqlite", "rocksdb"),
    quick=20,
    in_tests=4,
    long=1000,
    unable=places.unable,
)
