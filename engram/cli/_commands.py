"""The commands on memories: read the options, make one call, print the answer. `user` gives them their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, TypedDict

from cyclopts import Parameter

from engram.cli._json import fields, write
from engram.cli._options import DEFAULT_WHERE, Cid, Command, Filter, Namespace, Where, filter_of, namespace_of
from engram.cli._shell import OK, note, say, terminal, utf8
from engram.cli._text import plural, printable

if TYPE_CHECKING:
    from engram.wire import QueryResult


class _Ask(TypedDict):
    top_k: int
    filter: str | dict[str, Any] | None
    namespace: str | None
    exact: bool


class Commands(Command):
    """The commands of one call each. Each gives its exit code."""

    def query(
        self,
        text: Annotated[str, Parameter(help="What to look for, in your own words.")],
        /,
        *,
        top_k: Annotated[int, Parameter(name=["--top-k", "-k"], help="How many to give, 1 to 1,000.")] = 10,
        filter: Filter = None,  # noqa: A002 - the option's name
        namespace: Namespace = None,
        text_: Annotated[bool, Parameter(name="--text", help="Show the texts, or only scores and CIDs.")] = True,
        exact: Annotated[
            bool,
            Parameter(
                help="Find exactly what brute force finds, ties included. Without it the index takes the quickest way "
                "that it has earned on its own data: nearly all of the same, sooner.",
                negative="",
                show_default=False,
            ),
        ] = False,
        explain: Annotated[
            bool,
            Parameter(
                help="Say how they were found: the mode, the rows that each step left, and its microseconds.",
                negative="",
                show_default=False,
            ),
        ] = False,
        where: Where = DEFAULT_WHERE,
    ) -> int:
        """Find memories by meaning, the nearest first.

        The score is the cosine between the meanings: 1 is the same, around 0 is unrelated. On a terminal you get a
        table; in a pipe, a line each of score, CID, metadata and text, with tabs between; with --json, one document.

        A text that was long is one memory, found by its nearest part: the text shown is that part's.

        --explain tells how: mode exact is what brute force finds, fast and graph are ways that the index has earned.
        In a pipe it goes to standard error, so that the lines stay lines.
        """
        from engram.cli import _results as results

        text = utf8(text, "TEXT")
        how: QueryResult | None = None
        with self.open(where) as target:
            ask = _Ask(top_k=top_k, filter=filter_of(filter), namespace=namespace_of(namespace), exact=exact)
            if explain:
                how = target.explain(text, **ask)
            hits = how.hits if how is not None else target.query(text, **ask)
        if where.json:
            found = [fields(hit) for hit in hits]
            document: dict[str, Any] = {"hits": found if text_ else [_without(hit, "text") for hit in found]}
            say(write(document if how is None else document | results.explained(how)))
            return OK
        if how is not None:
            how_it_was = results.explanation(how)
            say(f"{how_it_was}\n") if terminal() else note(how_it_was)
        if terminal():
            say(results.hits_table(hits, text=text_) if hits else "nothing found")
        elif hits:
            say(results.hits_lines(hits, text=text_))
        return OK

    def get(
        self,
        cid: Cid,
        /,
        *,
        namespace: Namespace = None,
        vector: Annotated[bool, Parameter(help="Give its vector too.", negative="", show_default=False)] = False,
        where: Where = DEFAULT_WHERE,
    ) -> int:
        """Show one memory: its text, its metadata, its model."""
        from engram.cli import _results as results

        cid = utf8(cid, "CID")
        with self.open(where) as target:
            record = target.get(cid, namespace=namespace_of(namespace), include_vector=vector)
        if where.json:
            say(write(results.record_fields(record)))
        else:
            say(results.record_text(record, terminal=terminal()))
        return OK

    def delete(
        self,
        cid: Cid,
        /,
        *,
        namespace: Namespace = None,
        erase: Annotated[
            bool,
            Parameter(
                help="Overwrite its bytes on the node's disk too, also where it was deleted before.",
                negative="",
                show_default=False,
            ),
        ] = False,
        where: Where = DEFAULT_WHERE,
    ) -> int:
        """Delete one memory.

        It disappears from every read of its namespace, with the chunks of a long text. What was deleted can be ingested
        again.

        Its bytes stay on the disk until --erase overwrites them: text, vector and metadata, at once, and durably. They
        stay while another namespace, or another key, holds the same memory, and go when the last of them deletes it.
        What --erase cannot reach: hashes in the log, names of keys and namespaces, backups, other nodes' copies,
        snapshots of the file system.
        """
        cid = utf8(cid, "CID")
        with self.open(where) as target:
            done = target.delete(cid, namespace=namespace_of(namespace), erase=erase)
        if where.json:
            say(write({"cid": cid, "deleted": True} | ({"erased": done} if erase else {})))
        elif not erase:
            say(f"deleted {printable(cid)}")
        elif done:
            say(f"deleted and erased {printable(cid)}")
        else:
            say(f"deleted {printable(cid)}; its bytes stay while another namespace or key holds the same")
        return OK

    def list(
        self,
        *,
        filter: Filter = None,  # noqa: A002 - the option's name
        limit: Annotated[int, Parameter(help="How many to give, 1 to 1,000.")] = 50,
        offset: Annotated[int, Parameter(help="How many to skip.")] = 0,
        chunks: Annotated[
            bool, Parameter(help="List the chunks of long texts too.", negative="", show_default=False)
        ] = False,
        namespace: Namespace = None,
        where: Where = DEFAULT_WHERE,
    ) -> int:
        """List memories in the order in which they came.

        In a pipe, a line each of CID, metadata and text, with tabs between.
        """
        from engram.cli import _results as results

        with self.open(where) as target:
            records = target.list(
                filter=filter_of(filter), limit=limit, offset=offset, namespace=namespace_of(namespace), chunks=chunks
            )
        if where.json:
            say(write({"records": [_without(fields(record), "vector") for record in records], "offset": offset}))
        elif terminal():
            say(results.records_table(records, first=offset) if records else "nothing here")
        elif records:
            say(results.records_lines(records))
        return OK

    def embed(
        self,
        text: Annotated[str, Parameter(help="The text to embed.")],
        /,
        *,
        model: Annotated[
            str | None, Parameter(help="A model of the node's configuration, or a model version; else the node's own.")
        ] = None,
        where: Where = DEFAULT_WHERE,
    ) -> int:
        """Turn a text into its vector, without keeping anything.

        On a terminal you see the first numbers; in a pipe, one number a line.
        """
        text = utf8(text, "TEXT")
        model = None if model is None else utf8(model, "--model")
        with self.open(where) as target:
            vector = target.embed(text, model=model)
        if where.json:
            say(write({"dim": len(vector), "vector": vector}, indent=None))
        elif terminal():
            first = "  ".join(f"{value:+.4f}" for value in vector[:8])
            say(f"{plural(len(vector), 'number')}: {first}  …   (--json gives all)")
        else:
            say("\n".join(map(repr, vector)))
        return OK


def _without(values: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in values.items() if key != name}
