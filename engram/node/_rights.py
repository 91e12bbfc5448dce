"""Who may do what. Formats §8: in a namespace its owner, in the public one who signs; the operator on its own node.

A caller that proved no key reads what is public. A namespace of somebody else's answers exactly as one that is not
there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram.errors import Forbidden, Unauthenticated
from engram.identity import PUBLIC_NAMESPACE

if TYPE_CHECKING:
    from engram.identity import Caller
    from engram.store import Namespace


class Rights:
    """The rights at one node, whose key is `node_key`."""

    def __init__(self, node_key: bytes) -> None:
        self._node_key = node_key

    def key_of(self, caller: Caller) -> bytes | None:
        """Give the key that a caller speaks with, whose namespaces it has; None for one that proved none."""
        return self._node_key if caller.operator else caller.key

    def signer(self, caller: Caller) -> bytes:
        """Give the key that stands for what a caller writes. `Unauthenticated` for one that proved none."""
        key = self.key_of(caller)
        if key is None:
            raise Unauthenticated("this call needs a key: sign the request, or prove one after `hello`")
        return key

    def sees(self, caller: Caller, space: Namespace) -> bool:
        """Say whether a caller may know of a namespace."""
        return space.ns == PUBLIC_NAMESPACE or (space.owner is not None and space.owner == self.key_of(caller))

    def check_operator(self, caller: Caller, what: str) -> None:
        """Refuse whoever does not speak with the node's own key. `Forbidden`."""
        if not caller.operator:
            raise Forbidden(f"{what} is for the node's operator: call from its own machine, or prove the node's key")

    def check_keys(self, caller: Caller, space: Namespace) -> None:
        """Refuse to set keys of the public namespace to all but the operator: they stay on this node. `Forbidden`."""
        if space.ns == PUBLIC_NAMESPACE and not caller.operator:
            raise Forbidden(
                "key: in the public namespace keys are the operator's; create a namespace of your own", field="key"
            )
