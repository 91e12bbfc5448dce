"""What can be wrong with a document that claims to prove something."""

from __future__ import annotations

from engram.errors import EngramError, Unprocessable


class DoesNotHold(Unprocessable):
    """The document can be read, and what it claims does not follow from it. Believe nothing of it."""


class Unreadable(Unprocessable):
    """These bytes are no document of a kind that is known, or not written as that kind is. Get it again."""


def not_held(error: EngramError) -> DoesNotHold:
    """Give what a check below has refused as the fact that a document does not hold."""
    return DoesNotHold(error.message, field=error.field)
