"""A writer to be killed: says on its standard output what was acknowledged, and nothing more.

It is run as a program by ``test_crash.py``. Each line is one acknowledged commit: what to expect.
"""

from __future__ import annotations

import json
import random
import sys

import holdfast
from holdfast import SetOperation

A = "agent:a"


def main(url: str, seed: int) -> None:
    """Write until killed."""
    rng = random.Random(seed)
    state = holdfast.open(url)
    with open(sys.stdout.fileno(), "wb", buffering=0, closefd=False) as out:
        number = 0
        while True:
            number += 1
            tag = f"{seed}-{number}"
            text = tag + "x" * rng.choice([0, 200, 6000])
            key = f"k{rng.randrange(5)}"
            kind = rng.randrange(5)
            durability = rng.choice(["sync", "os"])
            # Announced first: a kill between commit and line leaves this one undecided.
            out.write(json.dumps(["try", kind, key, text]).encode() + b"\n")
            if kind == 0:
                state.delete(A, key, durability=durability)
            elif kind == 1:
                items = [SetOperation("agent:batch", f"b{n}", text) for n in range(4)]
                state.set_batch(items, atomic=True, durability=durability)
            elif kind == 2:
                with state.transaction(durability=durability) as tx:
                    tx.set("agent:left", "t", text)
                    tx.set("agent:right", "t", text)
            else:
                state.set(A, key, text, durability=durability)
            out.write(json.dumps(["done", kind, key, text]).encode() + b"\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
