"""Order-preserving keys: tuples packed into bytes, and the rules of the texts inside them.

A component of text is its UTF-8 bytes with each NUL written as ``00 FF``, ended by ``00``; an
integer is eight bytes, big endian. So packed tuples sort as the tuples do, no component can reach
into the next, and a packed tuple with more components starts with the shorter one's bytes. The
page of the format is ``docs/format.md``. This module knows no scope and no space.
"""

from __future__ import annotations

import unicodedata

from holdfast.errors import InvalidKeyError, StateError
from holdfast.unicode14 import is_assigned


def pack_text(text: str) -> bytes:
    """Pack one component of text: escaped and terminated."""
    return text.encode().replace(b"\0", b"\0\xff") + b"\0"


def pack_prefix(text: str) -> bytes:
    """Pack the beginning of a component: what every component starting with `text` starts with."""
    return text.encode().replace(b"\0", b"\0\xff")


def unpack_text(packed: bytes, at: int) -> tuple[str, int]:
    """Read the component at offset `at`.

    Returns:
        The text, and the offset behind its terminator.

    Raises:
        ValueError: There is no whole component of valid UTF-8 there.
    """
    end = packed.find(0, at)
    while end >= 0 and packed[end + 1 : end + 2] == b"\xff":
        end = packed.find(0, end + 2)
    if end < 0:
        raise ValueError("component is not terminated")
    return packed[at:end].replace(b"\0\xff", b"\0").decode(), end + 1


def pack_int(number: int) -> bytes:
    """Pack an integer of 0 to 2^64 - 1."""
    return number.to_bytes(8)


def after(prefix: bytes) -> bytes:
    """Return the least bytes greater than everything that starts with `prefix`.

    Raises:
        ValueError: `prefix` is empty or all ``FF``: nothing comes behind it.
    """
    trimmed = prefix.rstrip(b"\xff")
    if not trimmed:
        raise ValueError("no key comes after this prefix")
    return trimmed[:-1] + bytes((trimmed[-1] + 1,))


def normal_text(text: object, *, what: str, error: type[StateError] = InvalidKeyError) -> str:
    """Return `text` in Unicode normal form C, or refuse it.

    Args:
        text: A key, or an id of a scope.
        what: What it is, for the error (``"key"``, ``"agent id"``).
        error: The class to raise.

    Raises:
        StateError: (of the class `error`) Not text, empty, or with a control character, a lone
            surrogate, or a code point that Unicode 14 does not assign.
    """
    if type(text) is str and text.isascii():
        if text.isprintable() and text:
            return text
    elif not isinstance(text, str):
        raise error(f"{what} must be text, not {type(text).__name__}")
    else:
        text = unicodedata.normalize("NFC", str.__str__(text))
    if not text:
        raise error(f"{what} is empty", hint="give it at least one character")
    for at, char in enumerate(text):
        code = ord(char)
        if code < 0x20 or 0x7F <= code < 0xA0:
            kind = "NUL" if code == 0 else "newline" if code == 10 else "control character"
        elif 0xD800 <= code < 0xE000:
            kind = "lone surrogate"
        elif not is_assigned(char):
            kind = "code point that Unicode 14 does not assign"
        else:
            continue
        raise error(f"{what} has a {kind} (U+{code:04X}) at position {at}")
    return text
