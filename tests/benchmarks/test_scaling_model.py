"""The model of a fleet gives what can be worked out by hand where it can."""

from __future__ import annotations

import pytest

from benchmarks.scaling.model import Costs, Figures, Fleet, simulate, uniform, zipf


def run(costs: Costs, seconds: float = 4.0, **fleet: object) -> Figures:
    """Simulate with cores to spare."""
    fleet = {"writers": 1, "processes": 1, "cores": 100, **fleet}
    return simulate(costs, Fleet(**fleet), seconds=seconds)  # type: ignore[arg-type]


def near(value: float, share: float = 0.02) -> object:
    """Accept what the ends of a run leave over."""
    return pytest.approx(value, rel=share)


def test_one_writer_waits_for_everything_in_turn() -> None:
    """Alone, a set takes the sum of its parts, and waits for no lock."""
    costs = Costs(trip=0.001, client_set=0.002, client_group=0.003, held_group=0.004,
                  held_set=0.005, begin=0.006, held_server=0.007, server_set=0.008,
                  flush=0.009, bandwidth=1000.0, wal_group=10.0, wal_set=1.0)  # fmt: skip
    took = 3 * 0.001 + sum((2, 3, 4, 5, 6, 7, 8, 9)) / 1000 + 11 / 1000
    found = run(costs)
    assert found.rate == found.groups == near(1 / took)
    assert found.mean == near(took)
    assert found.waited == 0
    assert found.log == near(0.020 / took)


def test_writers_of_one_process_share_a_group() -> None:
    """All of a process's writers of one partition go as one group, every time."""
    found = run(Costs(flush=0.01), writers=50)
    assert found.rate == near(50 / 0.01)
    assert found.groups == near(1 / 0.01)
    assert found.mean == near(0.01)


def test_a_partition_is_locked_by_one_process_at_a_time() -> None:
    """Two processes on one partition take turns: no more groups than one, each waits for one."""
    found = run(Costs(held_server=0.01), writers=2, processes=2)
    assert found.rate == near(1 / 0.01)
    assert found.held == near(1.0)
    assert found.waited == near(0.01)


def test_partitions_work_at_once() -> None:
    """Processes that write one partition each do not wait for each other."""
    alone = run(Costs(held_server=0.01), writers=1)
    spread = run(Costs(held_server=0.01), writers=50, processes=50, shares=uniform(2000))
    assert alone.rate == near(100)
    assert spread.rate > 0.9 * 50 * alone.rate  # two meet at one, at times


def test_routed_processes_share_no_partition() -> None:
    """Processes that write partitions of their own never wait for a lock."""
    fleet = {"writers": 40, "processes": 4, "shares": uniform(8)}
    routed = run(Costs(held_server=0.01), routed=True, **fleet)
    assert routed.waited == 0
    assert routed.groups == near(8 / 0.01, 0.1)
    assert run(Costs(held_server=0.01), **fleet).waited > 0


def test_cores_bound_the_rate() -> None:
    """Work of the server on two cores is done at most two at once, whatever the partitions."""
    found = run(Costs(held_server=0.01), writers=64, processes=64, shares=uniform(64), cores=2)
    assert found.rate == near(2 / 0.01)
    assert found.cpu == near(1.0)


def test_the_interpreter_bounds_a_process() -> None:
    """A process whose every set costs it a millisecond makes a thousand a second, on any cores."""
    found = run(Costs(client_set=0.001), writers=20, shares=uniform(4))
    assert found.rate == near(1000, 0.03)
    both = run(Costs(client_set=0.001), writers=40, processes=2, shares=uniform(4), apart=True)
    assert both.rate == near(2000, 0.03)


def test_commits_share_a_flush() -> None:
    """While one flush is under way all others gather for the next, so two flushes serve all."""
    found = run(Costs(flush=0.01), writers=64, processes=64, shares=uniform(4096))
    assert 64 / 0.02 * 0.95 < found.rate < 64 / 0.01
    assert found.log == near(1.0)


def test_bandwidth_bounds_the_rate() -> None:
    """A log device of a thousand bytes a second takes a hundred sets of ten bytes."""
    found = run(Costs(wal_set=10.0, bandwidth=1000.0), writers=30, processes=3, shares=uniform(8))
    assert found.rate == near(100, 0.03)


def test_littles_law() -> None:
    """Writers are as many as the rate times the time of a cycle, whatever happens inside."""
    costs = Costs(trip=0.0003, client_group=0.0004, held_group=0.0003, held_set=0.00002,
                  begin=0.0002, held_server=0.0003, server_set=0.00005, flush=0.0005)  # fmt: skip
    fleet = Fleet(writers=300, processes=3, shares=zipf(8, 1000, 0.9), cores=4)
    found = simulate(costs, fleet, seconds=4)
    assert found.rate * found.mean == near(300)
    assert found.p50 <= found.p99


def test_a_seed_fixes_a_run() -> None:
    """The same seed gives the same figures; slowed cores give lower ones."""
    costs = Costs(trip=0.001, held_server=0.001, flush=0.001)
    fleet = Fleet(writers=20, processes=2, shares=uniform(4))
    assert simulate(costs, fleet, seed=3) == simulate(costs, fleet, seed=3)
    slow = Fleet(writers=20, processes=2, shares=uniform(4), slowed=3.0)
    assert simulate(costs, slow).rate < simulate(costs, fleet).rate


def test_shares() -> None:
    """Shares add up to one; skew gives the partition of the first scope its weight at least."""
    assert sum(zipf(8, 1000, 1.0)) == near(1.0)
    assert max(zipf(8, 1000, 1.0)) > 1 / 8
    assert max(zipf(8, 1, 1.0)) == 1.0
    assert zipf(1, 10, 1.0) == (1.0,)
    assert max(zipf(4, 40_000, 0.0)) == near(0.25, 0.03)
