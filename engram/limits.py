"""Every limit of Engram in one place; each error that refuses something cites the limit from here."""

from __future__ import annotations

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a node accepts. Sizes in bytes, counts in items; `hello` sends them to the caller."""

    message_bytes: int = 8 * 1024 * 1024
    message_depth: int = 32
    text_bytes: int = 1_000_000
    text_tokens: int = 256
    text_chunks: int = 16_384
    metadata_bytes: int = 4096
    metadata_depth: int = 16
    metadata_key_bytes: int = 256
    model_version_bytes: int = 128
    namespace_name_bytes: int = 128
    key_bytes: int = 512
    dim: int = 4096
    payload_bytes: int = 1024 * 1024
    batch_items: int = 1000
    top_k: int = 1000
    list_limit: int = 1000
    filter_depth: int = 16
    filter_nodes: int = 256
    history_limit: int = 1000
    events_limit: int = 1000
    challenge_records: int = 1024
    challenge_part_bytes: int = 4 * 1024 * 1024
    http_body_bytes: int = 10 * 1024 * 1024
    connections: int = 1024
    in_flight: int = 128


LIMITS = Limits()
"""The limits of this build."""
