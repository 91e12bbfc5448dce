from typing import Any, TypeAlias

from typing_extensions import Buffer

__version__: str

# -- ground: identifiers, records, canonical JSON ---------------------------------------------------------------------

def canonical(value: object, /) -> bytes: ...
def canonical_json(json: bytes, /) -> bytes: ...
def f32_bytes(vector: Any, /) -> bytes: ...
def check_embedding(embedding: bytes, /) -> None: ...
def cid_digest(embedding: bytes, content: bytes, flags: int, metadata: bytes, model_version: bytes, /) -> bytes: ...
def encode_record(
    flags: int, embedding: bytes, metadata: bytes, model_version: bytes, blob: bytes, content: bytes | None, /
) -> tuple[bytes, bytes]: ...
def decode_record(payload: Buffer, /) -> tuple[bytes, int, bytes, bytes, str, bytes, bytes]: ...
def trie_root(leaves: bytes, /) -> tuple[bytes, int]: ...
def crc32c_of(data: bytes, /) -> int: ...

# -- log and body segments --------------------------------------------------------------------------------------------

Verdict: TypeAlias = tuple[int, int, str]
LogFrame: TypeAlias = tuple[int, int, int, int, int, bytes]
BodyFrame: TypeAlias = tuple[int, int, int, int, bytes]

class LogState:
    def __init__(self, size: int = 0, roots: list[bytes] = [], time_unix_ns: int = 0) -> None: ...
    @property
    def size(self) -> int: ...
    @property
    def time_unix_ns(self) -> int: ...
    @property
    def root(self) -> bytes: ...
    @property
    def roots(self) -> list[bytes]: ...
    def copy(self) -> LogState: ...
    def encode(self, now_ns: int, events: list[bytes]) -> bytes: ...
    def scan(self, segment: Buffer, last: bool, covered: int) -> tuple[list[LogFrame], Verdict]: ...

def frame_events(frame: Buffer, /) -> list[bytes]: ...
def encode_body(kind: int, id: bytes, data: bytes, /) -> bytes: ...
def scan_bodies(
    segment: Buffer, start: int, named: set[bytes] | None, last: bool, content: bool
) -> tuple[list[BodyFrame], list[int], Verdict]: ...

# -- msgpack --

class MessageScanner:
    """Find the messages in a stream of msgpack, whatever the pieces it comes in; not for two threads at once."""

    def __init__(self, max_depth: int = 32, max_bytes: int = 8388608) -> None: ...
    def feed(self, data: bytes) -> tuple[list[bytes], str | None]:
        """Take bytes; give the messages that are whole now, and what ends the stream if something does.

        The fault is `reserved` (not msgpack), `too_deep` or `too_large`; then every later call gives it again.
        """

    @property
    def pending(self) -> int:
        """Bytes held of the unfinished message."""

def check_message(message: bytes, max_depth: int = 32, max_containers: int = 262144) -> tuple[str, str] | None:
    """Check one whole message; give None, or the flaw and its path, such as `[3][0].metadata.colour`.

    Flaws: `reserved`, `too_deep`, `too_large`, `too_many` (containers), `unfinished`, `trailing`, `key_not_string`,
    `key_twice`, `not_utf8`, `ext`.
    """

def check_event(event: bytes) -> str | None:
    """Check the form of an event (formats.md §3); give None, or a flaw.

    Flaws are those of `check_message`, and `size`, `not_a_map`, `no_type`, `type_not_string`.
    """
