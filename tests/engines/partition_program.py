"""What the processes of ``test_postgres_partitions.py`` run: a writer to be killed, a follower.

Each message on their pipe is one fact: what a writer was told, or what a follower saw.
"""

from __future__ import annotations

import json
import random
import threading
from multiprocessing.connection import Connection
from typing import Any

import holdfast
from holdfast import ConflictError

ACCOUNTS = [f"agent:account-{n}" for n in range(12)]
BALANCE = 100
TOTAL = len(ACCOUNTS) * BALANCE


def write(pipe: Connection, url: str, name: str) -> None:
    """Set keys of every account and move amounts between them, until killed."""
    rng = random.Random(name)
    state = holdfast.open(url)
    number = 0
    while True:
        number += 1
        source, target = rng.sample(ACCOUNTS, 2)
        durability = rng.choice(["sync", "os"])
        if number % 2:
            text = f"{name}-{number}"
            revision = state.set(source, f"note-{rng.randrange(3)}", text, durability=durability)
            _say(pipe, revision, source, text)
        else:
            amount = rng.randrange(1, 9)
            try:
                with state.transaction(durability=durability) as tx:
                    tx.increment(source, "balance", -amount)
                    tx.increment(target, "balance", amount)
            except ConflictError:
                continue
            _say(pipe, tx.revision, source, None)


def follow(pipe: Connection, url: str) -> None:
    """Tail the changes by revision, and look at sums, until told which revision is the last."""
    state = holdfast.open(url)
    end: list[int] = []
    threading.Thread(target=lambda: end.append(int(pipe.recv_bytes())), daemon=True).start()
    seen = turns = 0
    while not end or seen < end[0]:
        for change in state.changes(seen):
            _say(pipe, "change", change.revision, change.commit_id, str(change.scope), change.key)
            seen = max(seen, change.revision)
        turns += 1
        if turns % 10:
            continue
        with state.snapshot() as shown:
            _say(pipe, "sum", sum(shown.get(account, "balance") for account in ACCOUNTS))
        with state.snapshot(as_of=seen) as shown:
            _say(pipe, "sum", sum(shown.get(account, "balance") for account in ACCOUNTS))
    state.close()


def _say(pipe: Connection, *fact: Any) -> None:
    pipe.send_bytes(json.dumps(fact).encode())
