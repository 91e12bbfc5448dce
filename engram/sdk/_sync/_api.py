# Made by scripts/generate_sync.py from engram/sdk/_async/_api.py: change that one.
"""The public methods, once for every way in: a subclass says only how a request is carried out."""

from __future__ import annotations

import builtins
from typing import TYPE_CHECKING, TypeVar

from engram.errors import DeadlineExceeded, EngramError, Unavailable
from engram.sdk._items import many
from engram.sdk._not_yet import NotYet
from engram.sdk._outcomes import Health, Reindexed
from engram.sdk._sync._iterate import EventStream
from engram.sdk._sync._names import Naming
from engram.sdk._sync._reading import Reading
from engram.sdk._sync._reindex import reindex
from engram.sdk._sync._writing import Writing
from engram.wire import (
    Actors,
    ActorsResult,
    Answer,
    Commitment,
    Events,
    GetCommitment,
    GetConsistency,
    GetProof,
    Ping,
    Pong,
    Proof,
    Request,
    Status,
    StatusResult,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable

R = TypeVar("R", bound=Answer)


class Api(Writing, Reading, Naming, NotYet):
    """A memory. `namespace` None is the public one; every method raises `EngramError` subclasses and nothing else."""

    def reindex(self, namespace: str | None, into: str, model: str | None = None) -> Generator[Reindexed]:
        """Embed every text of a namespace again into another one, by another model; give what became of each memory.

        `into` is created where it is not there, bound to `model`: a name of the node's configuration, a model version,
        or None for the node's own. Nothing happens before the first is taken. The old namespace stays as it is. Batches
        may come into the new one in another order than they had. Done again after an interruption, it finds what is
        there already at once. It ends by raising `Unavailable` or `ModelNotReady` where the node or its model is gone;
        other errors are given, memory by memory.
        """
        return reindex(self._call, self._ingest, namespace, into, model)

    def proof(self, cid: str | None = None, *, key: str | None = None, namespace: str | None = None) -> Proof:
        """Give the proof that a memory is held, or of what a key names: `engram.proofs` verifies it without the node.

        It is against a signed checkpoint that knows of what this client has written. Raises `NotFound` where there is
        no such memory or key; the operator, and who may challenge the node, get the proof that there is none.
        """
        return self._call(GetProof(cid=cid, key=key, namespace=namespace))

    def commitment(self) -> Commitment:
        """Give what the node stands by: its latest checkpoint that can be challenged, and the roots of its tries."""
        return self._call(GetCommitment())

    def consistency(self, first: int, second: int) -> builtins.list[bytes]:
        """Give the proof that the log of `second` events begins with all that it held when it had `first`.

        `engram.events.verify_consistency` verifies it with the roots that the checkpoints of these sizes sign.
        """
        return (self._call(GetConsistency(first=first, second=second))).path

    def events(
        self,
        since: int = 0,
        types: Iterable[str] | None = None,
        namespace: str | None = None,
        *,
        follow: bool = True,
    ) -> EventStream:
        """Give what happens, in the order of the node's log, from position `since` on.

        `types`: the events' types, such as `record_stored.1`; all without it. Whoever has had an event goes on with
        its `position` plus 1 as `since`, or with the iterator's `position`. It waits for what is to come, over lost
        connections and restarts of the node; with `follow=False` it ends where the log ended when it began.
        """
        named = None if types is None else builtins.list(many(types, "types"))
        request = Events(since=since, types=named, namespace=namespace)
        return EventStream(self._call, self._call_again, request, follow=follow)

    def call(self, request: Request[R]) -> R:
        """Carry out a request of `engram.wire` that has no method here, and give its answer. Raises its error."""
        return self._call(request)

    def ping(self) -> Pong:
        """Find out whether the memory answers, and nothing else. Raises `Unavailable` where there is none."""
        return self._call(Ping())

    def status(self) -> StatusResult:
        """Give what the memory is and holds."""
        return self._call(Status())

    def actors(self) -> ActorsResult:
        """Give how the actors of the memory are, and the latest messages that crashed one."""
        return self._call(Actors())

    def health(self) -> Health:
        """Give how the memory is, in short. Raises `Unavailable` where there is none."""
        status = self.status()
        ready = status.model.state == "ready"
        return Health(status="ok" if ready else "degraded", records=status.records, model=status.model.state)

    def is_online(self) -> bool:
        """Say whether the memory answers."""
        try:
            self.ping()
        except (Unavailable, DeadlineExceeded):
            return False
        except EngramError:
            return True
        return True
