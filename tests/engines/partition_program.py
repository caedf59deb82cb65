"""What the processes of ``test_postgres_partitions.py`` run: a writer to be killed, a follower.

Each line on standard output is one fact: what a writer was told, or what a follower saw.
"""

from __future__ import annotations

import json
import random
import sys
import threading
from typing import Any

import holdfast
from holdfast import ConflictError

ACCOUNTS = [f"agent:account-{n}" for n in range(12)]
BALANCE = 100
TOTAL = len(ACCOUNTS) * BALANCE


def say(*fact: Any) -> None:
    """Write one line at once: a kill tears none, for a pipe takes it whole."""
    sys.stdout.buffer.write(json.dumps(fact).encode() + b"\n")
    sys.stdout.buffer.flush()


def write(url: str, name: str) -> None:
    """Set keys of every account and move amounts between them, until killed."""
    rng = random.Random(name)
    state = holdfast.open(url)
    number = 0
    while True:
        number += 1
        source, target = rng.sample(ACCOUNTS, 2)
        if number % 2:
            text = f"{name}-{number}"
            durability = rng.choice(["sync", "os"])
            revision = state.set(source, f"note-{rng.randrange(3)}", text, durability=durability)
            say(revision, source, text)
        else:
            amount = rng.randrange(1, 9)
            try:
                with state.transaction() as tx:
                    tx.increment(source, "balance", -amount)
                    tx.increment(target, "balance", amount)
            except ConflictError:
                continue
            say(tx.revision, source, None)


def follow(url: str) -> None:
    """Tail the changes by revision, and look at sums, until standard input says where it ends."""
    state = holdfast.open(url)
    end: list[int] = []
    threading.Thread(target=lambda: end.append(int(sys.stdin.readline())), daemon=True).start()
    seen = 0
    while not end or seen < end[0]:
        for change in state.changes(seen):
            say("change", change.revision, change.commit_id, str(change.scope), change.key)
            seen = max(seen, change.revision)
        with state.snapshot() as shown:
            say("sum", sum(shown.get(account, "balance") for account in ACCOUNTS))
        with state.snapshot(as_of=seen) as shown:
            say("sum", sum(shown.get(account, "balance") for account in ACCOUNTS))
    state.close()


if __name__ == "__main__":
    if sys.argv[1] == "write":
        write(sys.argv[2], sys.argv[3])
    else:
        follow(sys.argv[2])
