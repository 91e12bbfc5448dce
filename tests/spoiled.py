"""Bytes as strangers send them: any, or a good input that was changed until it may be anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

if TYPE_CHECKING:
    from collections.abc import Sequence

_EXTREMES = [
    b"\0", b"\xff" * 8, b"\x7f" + b"\xff" * 7, b"\x80", b"-1", b"1e999", b"99999999999999999999999", b"NaN", b"null",
    b"\\ud800", b"\xed\xa0\x80", b"\xc1", b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xc6\xff\xff\xff\xff",
    b"[" * 5000, b'{"a":' * 2000, b"\x91" * 3000, b"\x81\xa1a" * 2000, b"(" * 5000, b"$not", b"a.b." * 40, b"\r\n",
    b"\n[[a]]\n", b"[a]\nb=1\n[a]\n", b"'''", b'"""', b"# ", "\u017f\u2028é".encode(), b"..", b"/", b"%00", b"%ZZ", b"+", b"=",
]  # fmt: skip


@st.composite
def spoiled(draw: st.DrawFn, good: Sequence[bytes]) -> bytes:
    """Give bytes of their own, or a good input with some edits."""
    data = bytearray(draw(st.sampled_from(good) if good else st.binary(max_size=300)))
    if not draw(st.integers(0, 9)):
        return draw(st.binary(max_size=2000))
    for _ in range(draw(st.integers(0, 5))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 40))
        match draw(st.sampled_from(("flip", "set", "insert", "remove", "repeat", "cut", "extreme", "move"))):
            case "flip" if at < len(data):
                data[at] ^= 1 << draw(st.integers(0, 7))
            case "set" if at < len(data):
                data[at] = draw(st.integers(0, 255))
            case "insert":
                data[at:at] = draw(st.binary(max_size=40))
            case "remove":
                del data[at : at + length]
            case "repeat":
                data[at:at] = bytes(data[at : at + length]) * draw(st.integers(1, 200))
            case "cut":
                del data[at:]
            case "extreme":
                data[at : at + draw(st.integers(0, 8))] = draw(st.sampled_from(_EXTREMES))
            case "move":
                piece = bytes(data[at : at + length])
                del data[at : at + length]
                to = draw(st.integers(0, len(data)))
                data[to:to] = piece
    return bytes(data[: 256 * 1024])
