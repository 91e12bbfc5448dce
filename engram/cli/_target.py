"""What a command talks to: a node over the wire, or a data folder opened in this process. The one place that opens."""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from engram.errors import BadRequest, EngramError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import BinaryIO

    from engram.sdk import Kept, Reindexed
    from engram.wire import (
        ActorsResult,
        EventInfo,
        Expect,
        Hit,
        KeyInfo,
        KeyRecord,
        KeyResult,
        KeyVersion,
        NamespaceDeleteResult,
        NamespaceInfo,
        OnLong,
        Proof,
        QueryResult,
        Record,
        StatusResult,
    )

DEFAULT_URL = "engram://127.0.0.1:8090"
"""Where a node listens unless it is told otherwise."""


class Namespaces(Protocol):
    """The namespaces of a target."""

    def create(self, name: str, *, dim: int | None = None, model: str | None = None) -> NamespaceInfo:
        """Create a namespace."""
        ...

    def list(self) -> Sequence[NamespaceInfo]:
        """List the namespaces that this caller can use."""
        ...

    def delete(self, name: str, *, erase: bool = False) -> NamespaceDeleteResult:
        """Delete a namespace with all that is in it; with `erase`, overwrite its bytes too."""
        ...


class Keys(Protocol):
    """The keys of a target."""

    def set(self, key: str, cid: str, *, expect: Expect = ..., namespace: str | None = None) -> KeyResult:
        """Have a key name a memory."""
        ...

    def get(self, key: str, *, namespace: str | None = None, include_vector: bool = False) -> KeyRecord:
        """Give the memory that a key names."""
        ...

    def list(self, prefix: str = "", namespace: str | None = None) -> Iterable[KeyInfo]:
        """Give the keys that begin so."""
        ...

    def delete(self, key: str, *, expect: Expect = ..., namespace: str | None = None) -> KeyResult:
        """Have a key name nothing more."""
        ...


class EventStream(Protocol):
    """The events of a target's log."""

    @property
    def position(self) -> int:
        """The position to go on with."""
        ...

    def __iter__(self) -> Iterator[EventInfo]:
        """Give the events in order."""
        ...


class Target(Protocol):
    """What the commands need of `engram.sdk.EngramClient` and `engram.open`, which both have it."""

    @property
    def namespaces(self) -> Namespaces:
        """The namespaces of this target."""
        ...

    @property
    def keys(self) -> Keys:
        """The keys of this target."""
        ...

    def history(self, key: str, namespace: str | None = None) -> Sequence[KeyVersion]:
        """Give everything that a key has named."""
        ...

    def events(
        self, since: int = 0, types: Iterable[str] | None = None, namespace: str | None = None, *, follow: bool = True
    ) -> EventStream:
        """Give what happens from a position on."""
        ...

    def records(
        self,
        filter: str | dict[str, Any] | None = None,  # noqa: A002 - the API's word
        namespace: str | None = None,
        *,
        include_vector: bool = False,
    ) -> Iterable[Record]:
        """Give every memory, oldest first; one without a text has its vector with it."""
        ...

    def put(
        self,
        text: str,
        /,
        *,
        metadata: dict[str, Any] | None = None,
        key: str | None = None,
        expect: Expect = ...,
        namespace: str | None = None,
        on_long: OnLong | None = None,
    ) -> Kept:
        """Keep one text; give its CID, and how many tokens and chunks it has."""
        ...

    def iter_ingest_file(
        self,
        path: Path | BinaryIO,
        /,
        *,
        namespace: str | None = None,
        model_version: str | None = None,
        on_long: OnLong | None = None,
    ) -> Iterator[tuple[int, Kept | EngramError]]:
        """Keep every line of a JSONL file; give each line's number with its CID or its error, in order."""
        ...

    def query(
        self,
        text: str,
        /,
        *,
        top_k: int = 10,
        filter: str | dict[str, Any] | None = None,  # noqa: A002 - the API's word
        namespace: str | None = None,
        exact: bool = False,
    ) -> Sequence[Hit]:
        """Find the nearest memories."""
        ...

    def explain(
        self,
        text: str,
        /,
        *,
        top_k: int = 10,
        filter: str | dict[str, Any] | None = None,  # noqa: A002 - the API's word
        namespace: str | None = None,
        exact: bool = False,
    ) -> QueryResult:
        """Find the nearest memories, and say how they were found."""
        ...

    def get(self, cid: str, /, *, namespace: str | None = None, include_vector: bool = False) -> Record:
        """Give one memory."""
        ...

    def list(
        self,
        *,
        filter: str | dict[str, Any] | None = None,  # noqa: A002 - the API's word
        limit: int = 50,
        offset: int = 0,
        namespace: str | None = None,
        chunks: bool = False,
    ) -> Sequence[Record]:
        """List memories, oldest first; with `chunks`, the chunks of long texts too."""
        ...

    def delete(self, cid: str, /, *, namespace: str | None = None, erase: bool = False) -> bool:
        """Delete one memory; with `erase`, overwrite its bytes too, and say whether they are gone."""
        ...

    def embed(self, text: str, /, *, model: str | None = None) -> Sequence[float]:
        """Turn a text into a vector."""
        ...

    def reindex(self, namespace: str | None, /, *, into: str, model: str | None = None) -> Iterator[Reindexed]:
        """Embed a namespace's texts again into another; give what became of each memory."""
        ...

    def proof(self, cid: str | None = None, *, key: str | None = None, namespace: str | None = None) -> Proof:
        """Prove that a memory is held, or what a key names."""
        ...

    def status(self) -> StatusResult:
        """Say what the target is and holds."""
        ...

    def actors(self) -> ActorsResult:
        """Say how its actors are."""
        ...


class Opener(Protocol):
    """How commands come to their target; tests hand in another."""

    def __call__(self, *, node: str | None, data: Path | None, create: bool) -> AbstractContextManager[Target]:
        """Open the node at `node`, or the folder `data`; `create` allows to make the folder."""
        ...


class UsageError(Exception):
    """The command line itself is wrong: exit code 2."""


class Unreachable(Exception):
    """No node answers there, or the folder cannot be opened: exit code 3."""


@contextmanager
def open_target(*, node: str | None, data: Path | None, create: bool) -> Iterator[Target]:
    """Open what the options name: `--data` a folder, else `--node`, else `$ENGRAM_NODE`, else the default address."""
    if node is not None and data is not None:
        raise UsageError(
            "--node and --data exclude each other: the one asks a node that runs, the other opens the folder itself"
        )
    if data is not None:
        with _folder(data, create=create) as memory:
            yield memory
        return
    with _node(node or os.environ.get("ENGRAM_NODE") or DEFAULT_URL) as client:
        yield client


@contextmanager
def _node(url: str) -> Iterator[Target]:
    from engram.sdk import EngramClient

    try:
        client = EngramClient(url)
    except BadRequest as error:
        raise UsageError(error.message) from None
    try:
        with client:
            yield client
    except Unavailable as error:
        if error.field not in {None, "url"}:  # a node has answered, and found something wrong with the call
            raise
        what = error.message.removesuffix("; start one with engram-node")
        what = what if url in what else f"{url}: {what}"
        raise Unreachable(
            f"{what}\n"
            "  start a node:        engram-node\n"
            "  or do without one:   --data ./engram-data opens the folder itself"
        ) from error


@contextmanager
def _folder(data: Path, *, create: bool) -> Iterator[Target]:
    if not create and not _is_there(data):
        raise Unreachable(
            f"no memory in {data}: it has no FORMAT file\n"
            f'  make one:            engram ingest "a first text" --data {data}\n'
            "  or ask a node:       leave --data out, or name it with --node"
        )
    import engram

    with engram.open(data) as memory:
        yield memory


def _is_there(data: Path) -> bool:
    """Say whether a memory is there: a folder, one file, or the folder that a crash has left of one."""
    return data.is_file() or any((folder / "FORMAT").exists() for folder in (data, data.parent / f"{data.name}.d"))
