"""Keys and scopes: packing, the text grammar, what is refused, and that nothing reaches across."""

from __future__ import annotations

import enum
import sys
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast import ScopeKind, StateManager, StateScope
from holdfast.errors import (
    InvalidArgumentError,
    InvalidKeyError,
    InvalidScopeError,
    LimitExceededError,
    StateError,
)
from holdfast.keys import after, normal_text, pack_int, pack_prefix, pack_text, unpack_text
from holdfast.store.address import Addressing, _parsed
from holdfast.store.layout import owner_of, place_of, split_place
from holdfast.unicode14 import is_assigned

any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
#: Texts that keys may be, with the characters that grammars trip over.
an_id = st.text(
    st.one_of(st.sampled_from(":/%*.\\ '\"aé한🎉step"), st.characters(exclude_categories=["C"])),
    min_size=1,
    max_size=12,
).filter(lambda t: all(is_assigned(c) for c in unicodedata.normalize("NFC", t)))

a_scope = st.one_of(
    st.just(StateScope.GLOBAL),
    st.builds(StateScope.agent, an_id),
    st.builds(StateScope.workflow, an_id),
    st.builds(StateScope.step, an_id, an_id),
    st.builds(StateScope.session, an_id),
    st.builds(StateScope.user, an_id),
    st.builds(StateScope.custom, an_id),
)


# --- packing ----------------------------------------------------------------------------------


@given(any_text, any_text)
def test_packed_texts_sort_as_their_utf8(one: str, other: str) -> None:
    """Packing keeps order and is injective, NUL included."""
    assert (pack_text(one) < pack_text(other)) is (one.encode() < other.encode())
    assert (pack_text(one) == pack_text(other)) is (one == other)


@given(st.lists(any_text, max_size=4), st.lists(any_text, max_size=4))
def test_packed_tuples_are_injective_and_ordered(one: list[str], other: list[str]) -> None:
    """A tuple's bytes sort as the tuple does, whatever its components contain."""
    packed = [b"".join(map(pack_text, texts)) for texts in (one, other)]
    encoded = [[t.encode() for t in texts] for texts in (one, other)]
    assert (packed[0] < packed[1]) is (encoded[0] < encoded[1])
    assert (packed[0] == packed[1]) is (one == other)


@given(st.lists(any_text, max_size=4))
def test_packed_tuples_unpack(texts: list[str]) -> None:
    """Components come back one after another, and the end is found."""
    packed, at, found = b"".join(map(pack_text, texts)), 0, []
    while at < len(packed):
        text, at = unpack_text(packed, at)
        found.append(text)
    assert found == texts


@given(any_text, any_text)
def test_prefixes_bound_exactly_the_texts_that_start_with_them(prefix: str, text: str) -> None:
    """The range of a prefix holds what starts with it, and nothing else."""
    if prefix:
        start = pack_prefix(prefix)
        inside = start <= pack_text(text) < after(start)
        assert inside is text.startswith(prefix)


@given(st.binary(min_size=1, max_size=6), st.binary(max_size=6))
def test_after_is_the_least_upper_bound(prefix: bytes, rest: bytes) -> None:
    """`after` lies behind everything with the prefix, and in front of all that comes later."""
    if not prefix.strip(b"\xff"):
        with pytest.raises(ValueError, match="no key"):
            after(prefix)
        return
    assert prefix + rest < after(prefix)
    assert not (prefix < rest < after(prefix)) or rest.startswith(prefix)


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1))
def test_integers_sort(one: int, other: int) -> None:
    """Packed integers have eight bytes and sort as numbers."""
    assert len(pack_int(one)) == 8
    assert (pack_int(one) < pack_int(other)) is (one < other)


@pytest.mark.parametrize("packed", [b"", b"abc", b"a\0\xff", b"\xff\0", b"\xed\xa0\x80\0"])
def test_unsound_components_are_refused(packed: bytes) -> None:
    """No terminator, no UTF-8: no text."""
    with pytest.raises(ValueError, match=r".*"):
        unpack_text(packed, 0)


@given(a_scope, an_id, a_scope, an_id)
def test_places_are_apart(one: StateScope, key: str, other: StateScope, key2: str) -> None:
    """A place splits into what made it, and no scope's range holds another's places."""
    key, key2 = (unicodedata.normalize("NFC", k) for k in (key, key2))
    mine, theirs = place_of(b"\0", one, key), place_of(b"\0", other, key2)
    assert split_place(mine) == ("", one, key)
    assert owner_of(mine) == b"\0" + one.packed
    owner = b"\0" + one.packed
    assert (owner <= theirs < after(owner)) is (one == other)
    assert (mine == theirs) is ((one, key) == (other, key2))


# --- scopes -----------------------------------------------------------------------------------


@given(a_scope)
def test_scopes_read_back_from_their_text(scope: StateScope) -> None:
    """``parse(str(scope)) == scope``, whatever the ids."""
    again = StateScope.parse(str(scope))
    assert again == scope
    assert (again.kind, again.ids) == (scope.kind, scope.ids)
    assert str(again) == str(scope)
    assert hash(again) == hash(scope)


@given(a_scope, a_scope)
def test_texts_of_scopes_are_injective(one: StateScope, other: StateScope) -> None:
    """Two scopes are one exactly if their texts are."""
    assert (str(one) == str(other)) is (one == other)


def test_texts_of_scopes() -> None:
    """The grammar, by example."""
    assert str(StateScope.GLOBAL) == "global"
    assert str(StateScope.agent("a")) == "agent:a"
    assert str(StateScope.agent("a:b%c")) == "agent:a%3Ab%25c"
    assert str(StateScope.workflow("w")) == "workflow:w"
    assert str(StateScope.step("w", "s")) == "workflow:w:step:s"
    assert str(StateScope.session("s")) == "session:s"
    assert str(StateScope.user("u")) == "user:u"
    assert str(StateScope.custom("n")) == "custom:n"
    assert StateScope.parse("workflow:step:step:step") == StateScope.step("step", "step")
    assert StateScope.parse("custom:wf%3Astep1") == StateScope.custom("wf:step1")
    assert StateScope.step("w", "s").parent() == StateScope.workflow("w")
    assert StateScope.workflow("w").parent() is None
    assert StateScope.agent("e\u0301").ids == ("\u00e9",), "ids are in form NFC"


@pytest.mark.parametrize(
    "text",
    [
        "", "agent", "agent:", "Agent:a", "GLOBAL", "global:", "global:x", "agent:a:b", "a",
        "workflow:w:s", "workflow:w:step", "workflow:w:step:", "workflow:w:step:a:b",
        "workflow:w:Step:a", "tenant:t", "agent:%", "agent:%zz", "agent:%3a", "agent:%00",
        "agent:a\n", "agent:\0", "agent:\ud800", " agent:a", ":a", "step:w:s", "agent:\u0378",
    ],
)  # fmt: skip
def test_texts_that_are_no_scopes(text: str, memory_store: Any) -> None:
    """What is not of the grammar is refused, with a hint, and nothing happens."""
    with pytest.raises(InvalidScopeError) as caught:
        StateScope.parse(text)
    assert caught.value.hint
    state = memory_store()
    with pytest.raises(InvalidScopeError):
        state.set(text, "k", 1)
    assert state.revision == 0


@pytest.mark.parametrize("wrong", [None, 5, b"agent:a", ["agent:a"], ScopeKind.AGENT], ids=range(5))
def test_things_that_are_no_scopes(wrong: Any, memory_store: Any) -> None:
    """A scope is a StateScope or text."""
    state = memory_store()
    for call in (state.get, state.delete, state.exists):
        with pytest.raises(InvalidScopeError):
            call(wrong, "k")
    with pytest.raises(InvalidScopeError):
        state.list_keys(wrong)


def test_scopes_cannot_be_changed() -> None:
    """A scope is a value."""
    scope = StateScope.agent("a")
    with pytest.raises(AttributeError):
        scope.kind = ScopeKind.USER  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del scope.ids
    with pytest.raises(InvalidScopeError):
        StateScope(ScopeKind.AGENT)
    with pytest.raises(InvalidScopeError):
        StateScope(ScopeKind.GLOBAL, "x")


# --- keys -------------------------------------------------------------------------------------

GOOD = [
    "valid_key", "key-with-dashes", "key.with.dots", "key:with:colons", "a..b", "특수 문자 🎉",
    " ", "%", "..", "/etc/passwd", "\u200b", "a" * 2400, "global", "null", "\u2028",
]  # fmt: skip


def test_keys_that_are_accepted(state: StateManager) -> None:
    """Text without control characters is a key, and is told apart and listed."""
    for at, key in enumerate(GOOD):
        state.set("global", key, at)
    assert [state.get("global", key) for key in GOOD] == list(range(len(GOOD)))
    assert state.list_keys("global") == sorted(GOOD, key=str.encode)
    assert all(state.delete("global", key) for key in GOOD)
    assert state.list_keys("global") == []


BAD = {
    "empty": "",
    "NUL": "a\0b",
    "newline": "a\nb",
    "tab": "a\tb",
    "escape": "\x1b[0m",
    "delete": "\x7f",
    "C1": "\x85",
    "lone surrogate": "\ud83c",
    "unassigned": "\u0378",
    "noncharacter": "\uffff",
    "plane 16 noncharacter": "\U0010ffff",
    "assigned in Unicode 15": "\U0001fae8",
    "assigned in Unicode 15.1": "\u2ffc",
    "assigned in Unicode 16": "\U0001fadf",
}


@pytest.mark.parametrize("name", BAD)
def test_keys_that_are_refused(name: str, memory_store: Any) -> None:
    """Empty, control characters, lone surrogates and what Unicode 14 lacks: an error, a hint."""
    key = BAD[name]
    state = memory_store()
    with pytest.raises(InvalidKeyError) as caught:
        state.set("agent:a", key, 1)
    assert caught.value.hint
    for call in (state.get, state.delete, state.exists, state.touch, state.increment):
        with pytest.raises(InvalidKeyError):
            call("agent:a", key)
    with pytest.raises(InvalidScopeError):
        StateScope.agent(key)
    assert state.revision == 0


@pytest.mark.parametrize("key", [None, 5, b"k", ["k"], 1.5, object()], ids=range(6))
def test_keys_that_are_not_text(key: Any, memory_store: Any) -> None:
    """A key is text."""
    with pytest.raises(InvalidKeyError):
        memory_store().set("agent:a", key, 1)


def test_text_of_a_subclass_is_the_text_it_holds(memory_store: Any) -> None:
    """An enumeration of texts names keys by its values."""

    class Name(str, enum.Enum):  # noqa: UP042 - the older kind
        PROFILE = "profile"

    state = memory_store()
    state.set("agent:a", Name.PROFILE, 1)
    assert state.list_keys("agent:a") == ["profile"]
    assert StateScope.agent(Name.PROFILE).ids == ("profile",)


def test_the_table_of_unicode_14() -> None:
    """The table agrees with this Python's Unicode wherever both assign, on every Python."""
    newer = 0
    for code in range(sys.maxunicode + 1):
        here = unicodedata.category(chr(code)) != "Cn"
        if is_assigned(chr(code)):
            assert here, f"U+{code:04X} is assigned by the table only"
        elif here:
            newer += 1
    known = unicodedata.unidata_version
    assert newer == 0 if known == "14.0.0" else newer > 0
    assert (
        sum(is_assigned(chr(c)) for c in range(sys.maxunicode + 1)) == 144697 + 2048 + 137468 + 65
    )


def test_normal_form_comes_before_checking_and_measuring(state: StateManager) -> None:
    """Keys are NFC, are returned so, and are measured so."""
    state.set("agent:a", "e\u0301", 1)
    assert state.get("agent:a", "\u00e9") == 1
    assert state.list_keys("agent:a") == ["\u00e9"]
    assert state.list_keys("agent:a", prefix="e\u0301") == ["\u00e9"]
    # 3 bytes each as typed, 2 bytes each in form C: fits only in form C.
    key = "e\u0301" * 1000
    state.set("agent:a", key, 2)
    assert state.get("agent:a", "\u00e9" * 1000) == 2


@given(an_id)
def test_normal_text_is_stable(text: str) -> None:
    """What `normal_text` returns is in form C and is returned as it is."""
    once = normal_text(text, what="key")
    assert once == unicodedata.normalize("NFC", text)
    assert normal_text(once, what="key") == once


def test_the_longest_key(state: StateManager) -> None:
    """The limit is on the whole encoded key; the error names the figures."""
    scope = StateScope.agent("a")
    room = 2500 - 12 - len(b"\0" + scope.packed) - 1
    state.set(scope, "k" * room, 1)
    assert state.get(scope, "k" * room) == 1
    state.set(scope, "k" * room, 2, expires_in=100)  # the longest of all row keys
    assert [len(k) for k in state.list_keys(scope)] == [room]
    with pytest.raises(LimitExceededError) as caught:
        state.set(scope, "k" * (room + 1), 1)
    assert (caught.value.limit, caught.value.actual) == (2500, 2501)
    assert caught.value.hint
    with pytest.raises(LimitExceededError):
        state.set(StateScope.agent("i" * 2500), "k", 1)
    assert state.revision == 2


def test_batch_keys_that_become_equal(state: StateManager) -> None:
    """Two spellings of one key in a batch are refused."""
    from holdfast import SetOperation

    items = [SetOperation("agent:a", "e\u0301", 1), SetOperation("agent:a", "\u00e9", 2)]
    with pytest.raises(InvalidArgumentError):
        state.set_batch(items, atomic=True)
    assert state.revision == 0
    first, second = state.set_batch(items)
    assert (first, type(second)) == (1, InvalidArgumentError)
    assert state.get("agent:a", "\u00e9") == 1


# --- nothing reaches across -------------------------------------------------------------------


def test_ids_and_keys_cannot_be_confused(state: StateManager) -> None:
    """``(agent a, "b:c")`` is not ``(agent a:b, "c")``, and listing one never shows the other."""
    one, other = StateScope.agent("a"), StateScope.agent("a:b")
    state.set(one, "b:c", 1)
    state.set(other, "c", 2)
    state.set(StateScope.agent("ab"), "c", 3)
    assert (state.get(one, "b:c"), state.get(other, "c")) == (1, 2)
    assert (state.get(one, "c"), state.get(other, "b:c")) == (None, None)
    assert state.list_keys(one) == ["b:c"]
    assert state.list_keys(other) == ["c"]
    assert state.delete_scope(one) == 1
    assert state.get(other, "c") == 2


def test_five_scopes_one_key(state: StateManager) -> None:
    """The same key in every kind of scope is so many values."""
    scopes = [
        StateScope.GLOBAL,
        StateScope.agent("x"),
        StateScope.workflow("x"),
        StateScope.step("x", "x"),
        StateScope.session("x"),
        StateScope.user("x"),
        StateScope.custom("x"),
    ]
    for at, scope in enumerate(scopes):
        state.set(scope, "k", at)
    assert [state.get(scope, "k") for scope in scopes] == list(range(7))
    assert state.scopes() == scopes
    assert state.scopes(ScopeKind.USER) == [StateScope.user("x")]


def test_a_workflow_does_not_hold_its_steps(state: StateManager) -> None:
    """A workflow never lists, counts, copies or clears its steps unless asked to."""
    workflow = StateScope.workflow("w")
    steps = [StateScope.step("w", name) for name in ("a", "b")]
    others = [StateScope.step("w2", "a"), StateScope.step("w:a", "a"), StateScope.custom("w")]
    state.set(workflow, "k", 0)
    for scope in steps + others:
        state.set(scope, "k", 1)
    assert state.list_keys(workflow) == ["k"]
    assert state.scopes(within=workflow) == steps
    assert state.delete_scope(workflow) == 1
    assert state.scopes(within=workflow) == steps
    assert not state.scope_exists(workflow)
    state.set(workflow, "k", 0)
    assert state.copy_scope(workflow, "workflow:copy") == 1
    assert state.scopes(within="workflow:copy") == []
    assert state.copy_scope(workflow, "workflow:all", recursive=True) == 3
    assert state.scopes(within="workflow:all") == [
        StateScope.step("all", "a"),
        StateScope.step("all", "b"),
    ]
    assert state.delete_scope(workflow, recursive=True) == 3
    assert state.scopes(within=workflow) == []
    assert all(state.get(scope, "k") == 1 for scope in others)
    for wrong in ("agent:a", "workflow:w:step:a"):
        with pytest.raises(InvalidArgumentError):
            state.scopes(within=wrong)


def test_copy_and_move_report_and_move_empties(state: StateManager) -> None:
    """Copy and move say how many keys; move leaves nothing; both are one commit."""
    for n in range(5):
        state.set("agent:a", f"k{n}", n)
    assert state.copy_scope("agent:a", "agent:b") == 5
    assert state.revision == 6
    assert state.count("agent:a") == state.count("agent:b") == 5
    state.set("agent:c", "k3", "mine")
    with pytest.raises(StateError):
        state.move_scope("agent:a", "agent:c")
    assert (state.list_keys("agent:c"), state.count("agent:a")) == (["k3"], 5)
    assert state.move_scope("agent:a", "agent:c", overwrite=True) == 5
    assert state.revision == 8
    assert (state.count("agent:a"), state.scope_exists("agent:a")) == (0, False)
    assert [v.value for _, v in state.scan("agent:c")] == list(range(5))
    assert state.move_scope("agent:a", "agent:d") == 0
    with pytest.raises(InvalidArgumentError):
        state.copy_scope("agent:b", "agent:b")


def test_a_scope_as_a_mapping(state: StateManager) -> None:
    """A scope behaves as a dict does."""
    view = state.scope("agent:a")
    view["b"], view["a"] = 2, None
    assert (list(view), len(view), dict(view)) == (["a", "b"], 2, {"a": None, "b": 2})
    assert "a" in view
    assert "c" not in view
    assert 5 not in view
    assert view.pop("b") == 2
    assert view.setdefault("a", 7) is None
    with pytest.raises(KeyError):
        view["c"]
    with pytest.raises(KeyError):
        del view["c"]
    view.update({"x": 1, "y": 2})
    view.clear()
    assert (list(view), state.scope_exists("agent:a")) == ([], False)


def test_texts_of_scopes_that_are_long_are_not_remembered() -> None:
    """Scopes given as text are parsed once, and however long they are that takes little memory."""
    _parsed.cache_clear()
    address = Addressing("", 2500)
    for _ in range(2):
        address.scope("agent:a")
        assert address.scope("agent:" + "x" * 100_000).ids == ("x" * 100_000,)
    assert (_parsed.cache_info().currsize, _parsed.cache_info().hits) == (1, 1)
