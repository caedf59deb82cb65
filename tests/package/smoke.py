"""The smallest program worth running: `test_wheel.py` runs it where there is only the wheel."""

import sys
from importlib import metadata
from pathlib import Path

import holdfast
from holdfast import ConflictError, StateScope
from holdfast.testing import FakeClock

assert "site-packages" in holdfast.__file__, holdfast.__file__
assert metadata.version("holdfast") == holdfast.__version__

scope = StateScope.agent("smoke")
path = Path(sys.argv[1])
with holdfast.open(path) as state:
    first = state.set(scope, "n", 1)
    state.set(scope, "n", 2, if_revision=first)
    try:
        state.set(scope, "n", 3, if_revision=first)
    except ConflictError as error:
        assert (error.expected, error.actual) == (first, first + 1)
    else:
        raise AssertionError("a stale revision was accepted")
    assert state.update(scope, "n", lambda n: n + 40) == 42

with holdfast.open(path) as state:
    assert state.get(scope, "n") == 42
    assert state.get(scope, "n", as_of=first) == 1
    assert [change.value for change in state.history(scope, "n")] == [42, 2, 1]

clock = FakeClock()
with holdfast.open("memory:", clock=clock) as state:
    state.set(scope, "n", 1, expires_in=10)
    clock.advance(11)
    assert not state.exists(scope, "n")

unwanted = {"pytest", "hypothesis", "rocksdict", "pydantic", "typer", "rich"} & sys.modules.keys()
assert not unwanted, f"import holdfast loads {unwanted}"
print("sound")
