"""Types of the native core."""

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
