"""How a node is, and its actors."""

from __future__ import annotations

from typing import ClassVar, Literal

from engram.wire._messages._base import (
    Answer,
    Request,
)


class ModelStatus(Answer, frozen=True, kw_only=True):
    """An embedder's state. `done_bytes` and `total_bytes` count while it is fetched."""

    model_version: str
    """Empty, and `dim` 0, until a configured model has been loaded for the first time."""
    dim: int
    state: Literal["absent", "fetching", "loading", "ready", "failed"]
    message: str | None = None
    done_bytes: int = 0
    total_bytes: int = 0
    kernel: str | None = None
    """What computes here: `avx512`, `avx2`, `neon` or `scalar` (the bits are the same); another model's library."""
    fingerprint: str | None = None
    """Hex SHA-256 of everything that decides the vectors' bits; vectors of different ones are never compared."""
    name: str | None = None
    """The name in the node's configuration; absent for the node's own model."""


class Damage(Answer, frozen=True, kw_only=True):
    """What the scrub found wrong on disk. `file`: in the data folder."""

    file: str
    offset: int
    reason: str
    found_unix_ms: int


class ScrubStatus(Answer, frozen=True, kw_only=True):
    """What the node knows of its disk by reading everything again."""

    state: Literal["off", "waiting", "log", "bodies", "tables"]
    """What is being read; `waiting` for the next pass."""
    checked_bytes: int = 0
    """How much of log and bodies the pass under way has been over."""
    last_pass_unix_ms: int = 0
    """When the last pass ended; 0: none has."""
    last_pass_bytes: int = 0
    damages: int = 0
    """How much was found wrong by the last pass, and by the one under way."""
    damage: list[Damage] = []
    """At most 100 of it."""


class Recall(Answer, frozen=True, kw_only=True):
    """What replaying queries exactly has shown: of the nearest rows, 0..1 were found by `mode` in `queries` queries.

    `widening`: how many times as many rows are looked at as a part's self-test said, because too few were found.
    """

    recall: float
    queries: int
    mode: str
    widening: int = 1


class IndexStatus(Answer, frozen=True, kw_only=True):
    """The public namespace's index: its living rows, and the parts that they stand in.

    `mode`: how a query without a filter is answered now, as in `QueryResult`.
    """

    rows: int
    sealed: int = 0
    """Parts that are sealed: their files are mapped, and they change no more."""
    head_rows: int = 0
    """Rows that are not in a sealed part yet."""
    mode: str = "exact"
    recall: Recall | None = None
    """Absent until a query was answered approximately."""


class ChallengeStatus(Answer, frozen=True, kw_only=True):
    """What has become of challenges of this node since it was started."""

    answered: int = 0
    """Phase A: it walked over the records."""
    shown: int = 0
    """Phase B: it proved them, and sent the first of them."""
    missing: int = 0
    """A record's bytes were not there, or not whole."""
    refused: int = 0
    """Who asked may not, what was asked cannot be answered, or as many are open as the node keeps."""


class StatusResult(Answer, frozen=True, kw_only=True):
    """What the node is and holds."""

    version: str
    role: str
    node_key: str
    """ss58 of the node's Ed25519 key."""
    records: int
    """Living records, the chunks of long texts among them."""
    namespaces: int
    """Those that this caller can use; for the operator all there are."""
    position: int
    """Events in the log."""
    log_root: str
    model: ModelStatus
    uptime_s: float
    data_dir: str
    log_bytes: int = 0
    bodies_bytes: int = 0
    queue_length: int = 0
    """Writes that wait for the disk."""
    chunks: int = 0
    """How many of `records` are chunks of long texts."""
    models: list[ModelStatus] = []
    """The configured models beside the node's own."""
    scrub: ScrubStatus = ScrubStatus(state="off")
    index: IndexStatus = IndexStatus(rows=0)
    challenges: ChallengeStatus = ChallengeStatus()


class Status(Request[StatusResult], frozen=True, kw_only=True):
    """Ask the node how it is."""

    method: ClassVar[str] = "status"


class ActorInfo(Answer, frozen=True, kw_only=True):
    """One actor of the node as it is now. The counters are since the node started, over the actor's restarts."""

    name: str
    state: Literal["starting", "running", "backing_off", "stopping", "stopped", "failed"]
    """`failed`: it crashed too often and was given up."""
    essential: bool = False
    """Whether the node ends where this actor is beyond saving."""
    waiting: int = 0
    """Messages that wait in its mailbox."""
    mailbox_limit: int
    accepted: int = 0
    handled: int = 0
    refused: int = 0
    """Messages that found the mailbox full or closed."""
    expired: int = 0
    dropped: int = 0
    dead_letters: int = 0
    crashes: int = 0
    restarts: int = 0
    last_error: str | None = None
    """The exception of its last crash and the line it came from; never its text."""
    applied: int | None = None
    """How many events of the log its state is of; absent for one that folds none."""
    reacted: int | None = None
    """How many events of the log it has reacted to, or passed; absent for one that reacts to none."""


class DeadLetterInfo(Answer, frozen=True, kw_only=True):
    """A message that crashed an actor, or found no room: the name of its type, and why it was given up."""

    actor: str
    message: str
    error: str
    time_unix_ns: int


class ActorsResult(Answer, frozen=True, kw_only=True):
    """The actors in the order they were started, and the latest dead letters, oldest first."""

    actors: list[ActorInfo]
    dead_letters: list[DeadLetterInfo] = []
    position: int
    """Events in the log."""


class Actors(Request[ActorsResult], frozen=True, kw_only=True):
    """Ask how the node's actors are."""

    method: ClassVar[str] = "actors"
