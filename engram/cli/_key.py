"""`engram key`: names that stand for one memory after another."""

from __future__ import annotations

import itertools
from typing import Annotated

from cyclopts import Parameter

from engram.cli._json import fields, write
from engram.cli._options import DEFAULT_WHERE, Cid, Command, Expect, Namespace, Where, expect_of, namespace_of
from engram.cli._shell import OK, say, terminal, utf8
from engram.cli._text import printable

Key = Annotated[str, Parameter(help="A key, 1 to 512 bytes, such as doc-17.")]


class Keys(Command):
    """The commands of `key`."""

    def set(
        self,
        key: Key,
        cid: Cid,
        /,
        *,
        expect: Expect = None,
        namespace: Namespace = None,
        where: Where = DEFAULT_WHERE,
    ) -> int:
        """Have a key name a memory, in place of what it named.

        --expect makes it safe beside others: where the key names something else by now, nothing is changed, the error
        says what, and the exit code is 1. What it has named stays in its history.
        """
        key, cid = utf8(key, "KEY"), utf8(cid, "CID")
        with self.open(where) as target:
            done = target.keys.set(key, cid, **expect_of(expect), namespace=namespace_of(namespace))
        if where.json:
            say(write(fields(done)))
        else:
            say(f"{printable(done.key)} {'names' if done.created else 'named this already:'} {printable(cid)}")
        return OK

    def get(
        self,
        key: Key,
        /,
        *,
        namespace: Namespace = None,
        vector: Annotated[bool, Parameter(help="Give its vector too.", negative="", show_default=False)] = False,
        where: Where = DEFAULT_WHERE,
    ) -> int:
        """Show the memory that a key names."""
        from engram.cli import _results as results

        key = utf8(key, "KEY")
        with self.open(where) as target:
            found = target.keys.get(key, namespace=namespace_of(namespace), include_vector=vector)
        if where.json:
            say(write(fields(found) | {"record": results.record_fields(found.record)}))
        else:
            say(results.record_text(found.record, results.key_rows(found), terminal=terminal()))
        return OK

    def list(
        self,
        *,
        prefix: Annotated[str, Parameter(help="Only keys that begin so.", show_default=False)] = "",
        limit: Annotated[int, Parameter(help="How many to give at most.")] = 1000,
        namespace: Namespace = None,
        where: Where = DEFAULT_WHERE,
    ) -> int:
        """List keys and what they name, in the order of their bytes.

        In a pipe, a line each of key, CID and time, with tabs between.
        """
        from engram.cli import _results as results

        prefix, limit = utf8(prefix, "--prefix"), max(0, limit)
        with self.open(where) as target:
            keys = [*itertools.islice(target.keys.list(prefix, namespace_of(namespace)), limit)]
        if where.json:
            say(write({"keys": [fields(info) for info in keys]}))
        elif terminal():
            say(results.keys_table(keys) if keys else "no keys here")
        elif keys:
            say(results.keys_lines(keys))
        return OK

    def history(self, key: Key, /, *, namespace: Namespace = None, where: Where = DEFAULT_WHERE) -> int:
        """Show everything that a key has named, oldest first.

        In a pipe, a line each of position, time, CID (- where it was removed) and who said so, with tabs between.
        """
        from engram.cli import _results as results

        key = utf8(key, "KEY")
        with self.open(where) as target:
            versions = target.history(key, namespace_of(namespace))
        if where.json:
            say(write({"key": key, "versions": [fields(version) for version in versions]}))
        elif terminal():
            say(results.history_table(versions))
        else:
            say(results.history_lines(versions))
        return OK

    def delete(
        self, key: Key, /, *, expect: Expect = None, namespace: Namespace = None, where: Where = DEFAULT_WHERE
    ) -> int:
        """Have a key name nothing more. The memory that it named stays, and so does its history."""
        key = utf8(key, "KEY")
        with self.open(where) as target:
            done = target.keys.delete(key, **expect_of(expect), namespace=namespace_of(namespace))
        say(write(fields(done)) if where.json else f"{printable(done.key)} names nothing more")
        return OK
