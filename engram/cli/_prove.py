"""`engram prove`: a document that shows, away from the node, that a memory is held, or what a key names."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - cyclopts reads the annotations
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from engram.cli._options import DEFAULT_WHERE, Command, Namespace, Where, namespace_of
from engram.cli._shell import OK, note, say, utf8
from engram.cli._target import UsageError
from engram.cli._text import plural, printable

if TYPE_CHECKING:
    from engram.proofs import Proved
    from engram.wire import Proof


class Prove(Command):
    """The command `prove`."""

    def prove(
        self,
        cid: Annotated[str | None, Parameter(help="The CID of the memory, v1::…")] = None,
        /,
        *,
        key: Annotated[str | None, Parameter(help="Prove what this key names, in place of a memory.")] = None,
        namespace: Namespace = None,
        out: Annotated[Path | None, Parameter(help="Write the proof to this file, not to standard output.")] = None,
        where: Where = DEFAULT_WHERE,
    ) -> int:
        """Prove that a memory is held, or what a key names, by the node's signature.

        Prints the proof as JSON, checked; `engram verify FILE` checks it anywhere, without the node and without the
        memory. It is against a checkpoint that the node has signed, and says what was so then. Of a CID that is not
        held, or a key that names nothing, the node's operator, and who may challenge it, get the proof of that.
        """
        from engram.proofs import check_proof, write

        if (cid is None) == (key is None):
            raise UsageError("give one of: a CID, or --key for what a key names")
        cid, key = (None if given is None else utf8(given, "CID or --key") for given in (cid, key))
        with self.open(where) as target:
            proof = target.proof(cid, key=key, namespace=namespace_of(namespace))
        proved = check_proof(proof)
        data = write(proof).decode()
        if out is None:
            say(data)
        else:
            out.write_text(data + "\n", encoding="utf-8")
        note(_said(proof, proved))
        return OK


def _said(proof: Proof, proved: Proved) -> str:
    from engram import cid as cids
    from engram.identity import ss58

    committed = proved.committed
    at = f"at {plural(committed.size, 'event')} of {ss58(committed.node_key)}"
    if proof.cid is not None:
        return f"{printable(proof.cid)} is {'held' if proof.present else 'not held'} {at}"
    names = f"names {cids.from_digest(proved.value)}" if proved.value is not None else "names nothing"
    return f"the key {printable(proof.key or '')} {names} {at}"
