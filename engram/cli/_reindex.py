"""`engram reindex`: a namespace's texts embedded again into a new one, and the map from old CIDs to new ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from engram.cli._options import DEFAULT_WHERE, Command, Where
from engram.cli._shell import utf8
from engram.cli._tally import Done, Tally, progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from engram.cli._target import Target
    from engram.sdk import Reindexed


class Reindex(Command):
    """The command `reindex`."""

    def reindex(
        self,
        namespace: Annotated[str, Parameter(help="The namespace whose texts are embedded again; public for that one.")],
        /,
        *,
        into: Annotated[str, Parameter(help="The namespace to make, or one that an interrupted run has made.")],
        model: Annotated[
            str | None, Parameter(help="A model of the node's configuration; the node's own if left out.")
        ] = None,
        where: Where = DEFAULT_WHERE,
    ) -> int:
        """Embed a namespace's texts again into a new one, by another model.

        Prints a line for each memory: its old CID, a tab, its new CID. Metadata come along; the old namespace stays.
        A memory without a text cannot be embedded again, and is counted. Run the same again after an interruption:
        what is there already is found at once. With --json, each memory gives a line of JSON, and the last is the
        summary. The exit code is 1 if a text could not be embedded.
        """
        old, new = utf8(namespace, "NAMESPACE"), utf8(into, "--into")
        model = None if model is None else utf8(model, "--model")
        with self.open(where) as target:
            outcomes = _outcomes(target.reindex(old, into=new, model=model))
            bar = progress("embedding again", lambda: _count(target, old), beside_lines=True)
            return Tally("record", as_json=where.json, passed="without a text", is_map=True).run(outcomes, bar)


def _outcomes(found: Iterable[Reindexed]) -> Iterator[Done]:
    for at, item in enumerate(found, 1):
        if item.error is not None:
            yield Done(at, item.old, error=item.error, facts={"old": item.old})
        else:
            line = None if item.new is None else f"{item.old}\t{item.new}"
            created = None if item.new is None else item.created
            yield Done(at, item.old, created, facts={"old": item.old, "new": item.new}, line=line)


def _count(target: Target, namespace: str) -> int | None:
    return next((info.records - info.chunks for info in target.namespaces.list() if info.name == namespace), None)
