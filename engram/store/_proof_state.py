"""What this node has committed to, for its provers: the latest commitment, and those that may be challenged.

Theory of operation. A commitment is made whenever a proof needs one, which may be often; a challenge walks the tries of
one that its validator has asked for a while before. So few of them become *generations*: one that is made while the
youngest generation is less than `GENERATION_NS` old serves proofs alone. Two generations are live at once: the older
one until `EXPIRES_NS` after the younger has come, or until a third comes, which is `GENERATION_NS` after the second at
the earliest. So what a validator was given can be challenged for `GENERATION_NS` more, whatever else happens here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from engram.native import _core

GENERATION_NS = 60 * 10**9
"""How old a generation is at least before another takes its place."""

EXPIRES_NS = 30 * 60 * 10**9
"""How long one may be challenged after that. Formats §5."""


class Commitment(msgspec.Struct, frozen=True, eq=False):
    """A signed checkpoint of `size` events, and the tries that the last of them names.

    `event`: the one at `size` - 1, and `path` its inclusion path, leaf upwards. `time_unix_ns`: of its frame.
    """

    note: bytes
    event: bytes
    path: list[bytes]
    size: int
    root: bytes
    time_unix_ns: int
    records: _core.TrieView
    heads: _core.TrieView


class Generation(msgspec.Struct, frozen=True, eq=False):
    """A commitment that may be challenged, since when, and until when, where another has taken its place."""

    commitment: Commitment
    since_unix_ns: int
    expires_unix_ns: int | None = None


class ProofState(msgspec.Struct, frozen=True, eq=False):
    """What provers read, from any thread: it stays as it is, and the store has another one later.

    `generations`: the younger first, two at most.
    """

    latest: Commitment | None = None
    generations: tuple[Generation, ...] = ()

    def challengeable(self, now_ns: int) -> tuple[Commitment, ...]:
        """Give the commitments that may be challenged now, the younger first."""
        return tuple(each.commitment for each in self.generations if not _expired(each, now_ns))

    def reaches(self, position: int) -> bool:
        """Say whether the latest commitment speaks for a state that knows of the event at `position`."""
        return self.latest is not None and self.latest.size > position

    def is_due(self, now_ns: int) -> bool:
        """Say whether another generation may take the place of the youngest."""
        if not self.generations:
            return True
        age = now_ns - self.generations[0].since_unix_ns
        return not 0 <= age < GENERATION_NS  # a clock that was set back would else hold it for ever

    def committed(self, commitment: Commitment, now_ns: int) -> ProofState:
        """Give the state with one commitment more."""
        return ProofState(commitment, self.generations).promoted(now_ns)

    def promoted(self, now_ns: int) -> ProofState:
        """Give the state in which the latest commitment may be challenged, if another generation is due."""
        kept = tuple(each for each in self.generations if not _expired(each, now_ns))
        if self.latest is None or (kept and kept[0].commitment is self.latest) or not self.is_due(now_ns):
            return self if kept == self.generations else ProofState(self.latest, kept)
        before = tuple(msgspec.structs.replace(each, expires_unix_ns=now_ns + EXPIRES_NS) for each in kept[:1])
        return ProofState(self.latest, (Generation(self.latest, now_ns), *before))


def _expired(generation: Generation, now_ns: int) -> bool:
    return generation.expires_unix_ns is not None and now_ns >= generation.expires_unix_ns
