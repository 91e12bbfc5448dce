"""`engram namespace`: create, list and delete namespaces."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from engram.cli._json import fields, write
from engram.cli._options import DEFAULT_WHERE, Command, Where
from engram.cli._shell import FAILED, OK, complain, note, say, terminal, utf8
from engram.cli._target import UsageError
from engram.cli._text import plural, printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from engram.wire import NamespaceInfo

Name = Annotated[str, Parameter(help="Its name, 1 to 128 bytes.")]


class Namespaces(Command):
    """The commands of `namespace`."""

    def create(
        self,
        name: Name,
        /,
        *,
        dim: Annotated[int | None, Parameter(help="Numbers in each vector, for vectors of your own.")] = None,
        model: Annotated[
            str | None,
            Parameter(help="A model of the node's configuration, or the one that your own vectors come from."),
        ] = None,
        where: Where = DEFAULT_WHERE,
    ) -> int:
        """Create a namespace, bound for ever to one model.

        Without --dim and --model it takes texts, embedded by the node. With a --model of the node's configuration it
        takes texts, embedded by that one. With any other --model and its --dim it takes vectors of yours.

        What is kept in it is its owner's to read. But who challenges the node, by a key that its operator has named,
        is shown records of every namespace, but for sealed ones: `engram-node challenge --help`.
        """
        name = utf8(name, "NAME")
        model = None if model is None else utf8(model, "--model")
        with self.open(where, create=True) as target:
            info = target.namespaces.create(name, dim=dim, model=model)
        created = f"created {printable(info.name)}: {printable(info.model_version)}, dim {info.dim}"
        say(write(fields(info)) if where.json else created)
        return OK

    def list(self, *, where: Where = DEFAULT_WHERE) -> int:
        """List the namespaces that you can use, the public one first."""
        from engram.cli import _results as results

        with self.open(where) as target:
            namespaces = target.namespaces.list()
        if where.json:
            say(write({"namespaces": [fields(info) for info in namespaces]}))
        elif terminal():
            say(results.namespaces_table(namespaces))
        else:
            say(results.namespaces_lines(namespaces))
        return OK

    def delete(
        self,
        name: Name,
        /,
        *,
        yes: Annotated[
            bool, Parameter(name=["--yes", "-y"], help="Do not ask.", negative="", show_default=False)
        ] = False,
        erase: Annotated[
            bool,
            Parameter(
                help="Overwrite the memories' bytes on the node's disk too, and of what was deleted from it before.",
                negative="",
                show_default=False,
            ),
        ] = False,
        where: Where = DEFAULT_WHERE,
    ) -> int:
        """Delete a namespace with every memory and key in it.

        Says what would be lost and asks first; where nobody can be asked, in a pipe or with --json, --yes must be
        there. The public namespace cannot be deleted. Cut short, the same again goes on.

        With --erase no text, vector or metadata of it stays on the node's disk, but what other namespaces hold too; the
        names of its keys, and its own, stay. Once it is gone it must be created again to be erased.
        """
        name = utf8(name, "NAME")
        with self.open(where) as target:
            if not yes and not _agreed(name, target.namespaces.list(), as_json=where.json):
                complain("nothing was deleted")
                return FAILED
            gone = target.namespaces.delete(name, erase=erase)
        did = "deleted and erased" if erase else "deleted"
        deleted = f"{did} {printable(gone.name)} and {plural(gone.records, 'record')} in it"
        say(write(fields(gone)) if where.json else deleted)
        return OK


def _agreed(name: str, namespaces: Sequence[NamespaceInfo], *, as_json: bool) -> bool:
    """Ask on the terminal whether a namespace may go."""
    info = next((info for info in namespaces if info.name == name), None)
    if info is None:
        return True  # the node says that there is none
    chunks = f" ({info.chunks:,} of them chunks of long texts)" if info.chunks else ""
    lost = f"{printable(name)} has {plural(info.records, 'record')}{chunks}, and they would be lost"
    if as_json or sys.stdin is None or not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UsageError(f"{lost}; --yes says that they may")
    note(f"{lost}. Delete it? Type its name: ", end="")
    return sys.stdin.readline().rstrip("\n") == name
