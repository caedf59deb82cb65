"""The check of a history against the journal's account finds what does not agree."""

from __future__ import annotations

from proof.histories import Txn
from proof.witness import Past, contradictions

PAST = Past.of([(1, "a/l", ["x"]), (2, "a/d", 1), (3, "a/d", None), (4, "a/l", ["x", "y"])])


def found(txn: Txn, *others: Txn) -> list[str]:
    """Return what is wrong with a transaction."""
    return list(contradictions([txn, *others], PAST))


def test_what_agrees() -> None:
    """A transaction that saw its start, and committed on the same state, is sound."""
    ops = [("get", "a/d", None), ("append", "a/l", "y"), ("list", "a/", ["a/l"])]
    assert found(Txn("1", 5, 6, True, ops, 3, 4)) == []


def test_what_was_read_is_compared() -> None:
    """A value, an absence and a listing of another moment are found, in aborted ones too."""
    for op in [("get", "a/d", 1), ("read", "a/l", []), ("list", "a/", ["a/d", "a/l"])]:
        assert found(Txn("1", 5, 6, False, [op], 3)), op
        assert not found(Txn("1", 5, 6, False, [op], 2 if op[0] != "read" else 0)), op


def test_a_commit_is_compared_with_the_state_before_it() -> None:
    """What changed between start and commit is a contradiction; a blind write is none."""
    ops = [("get", "a/d", None), ("append", "a/l", "y")]
    assert found(Txn("1", 5, 6, True, ops, 1, 4)) == []
    assert found(Txn("1", 5, 6, True, [("get", "a/d", 1), ("append", "a/l", "y")], 2, 4))


def test_what_was_written_is_compared() -> None:
    """Another value, or another set of keys, is found."""
    assert found(Txn("1", 5, 6, True, [("append", "a/l", "z")], 3, 4))
    assert found(Txn("1", 5, 6, True, [("append", "a/l", "y"), ("set", "a/e", 1)], 3, 4))


def test_real_time_is_compared() -> None:
    """A start, or a commit, behind what was acknowledged before is found."""
    first = Txn("1", 0, 1, True, [("append", "a/l", "y")], 3, 4)
    assert found(Txn("2", 2, 3, True, [("get", "a/d", None)], 3), first)
    assert not found(Txn("2", 0, 3, True, [("get", "a/d", None)], 3), first)
    assert found(Txn("2", 2, 3, True, [("set", "a/d", 1)], -1, 2), first)


def test_removing_what_is_absent_is_no_commit() -> None:
    """A transaction that only removed what was not there has no changes of its own."""
    ops = [("delete", "a/d", False)]
    assert found(Txn("1", 5, 6, True, ops, 3, 4)) == []
    assert found(Txn("1", 5, 6, True, [("delete", "a/d", True)], 3, 4))


def test_such_a_transaction_shares_the_revision_of_another() -> None:
    """It is told the last revision, also that of the commit that removed the key, or of none."""
    ops = [("delete", "a/d", False)]
    other = Txn("2", 0, 1, True, [("delete", "a/d", True)], 2, 3)
    assert found(Txn("1", 5, 6, True, ops, 3, 3), other) == []
    assert found(Txn("1", 5, 6, True, [("delete", "a/x", False)], 0, 0)) == []
    blind = [("set", "a/d", 5), ("delete", "a/d", True)]
    assert found(Txn("1", 5, 6, True, blind, 3, 4)) == []
