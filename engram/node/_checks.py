"""What a call must fulfil before anything is done for it, and how a record is shown: pure functions of the Service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import UNSET, UnsetType

from engram import cid as cids
from engram import documents, record
from engram import filter as filters
from engram.errors import BadRequest, EngramError, TooLarge, Unprocessable
from engram.identity import PUBLIC_NAMESPACE, head_key
from engram.limits import LIMITS
from engram.store import PUBLIC, Done, KeyOperation, PutOperation
from engram.wire import Chunk, Hit, ItemResult, PutResult, Receipt, Record, error_info

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engram.embed import Embedder, Split
    from engram.store import Found, Namespace, View
    from engram.wire import Expect, Item, NamespaceCreate


class Naming(msgspec.Struct, frozen=True):
    """A key that is to name an item, and the digest that it must name until now: None for nothing, UNSET for any."""

    key: str
    expect: bytes | UnsetType | None


class Prepared(msgspec.Struct):
    """An item on its way: checked, then looked up, then cut into chunks if it is long, then embedded.

    `vectors` are those of its chunks, in order. `tokens` and `chunks` are for the answer.
    """

    text: str | None
    vector: bytes | None
    metadata: bytes
    outcome: Done | EngramError | None = None
    digest: bytes | None = None
    operation: PutOperation | KeyOperation | None = None
    split: Split | None = None
    vectors: list[bytes] = []
    tokens: int | None = None
    chunks: int = 0
    naming: Naming | None = None

    @property
    def parts(self) -> list[str]:
        """The texts to embed for it: its own, or its chunks'."""
        assert self.text is not None
        if self.split is None:
            return [self.text]
        return [self.text[span.start : span.end] for span in self.split.spans]


def prepare(item: Item, space: Namespace) -> Prepared:
    prepared = Prepared(item.text, None, b"")
    try:
        if item.text is None and item.vector is None:
            raise BadRequest("give a text, a vector, or both", field="text")
        prepared.naming = naming_of(item.key, item.expect)
        if item.text is not None:
            checked_text(item.text)
        if item.vector is not None:
            prepared.vector = checked_vector(item.vector, space)
        prepared.metadata = record.canonical_metadata(item.metadata)
    except EngramError as error:
        prepared.outcome = error
    return prepared


def naming_of(key: str | None, expect: Expect) -> Naming | None:
    """Give what an item is to be named; None for nothing."""
    if key is None:
        if expect is not UNSET:
            raise BadRequest("expect: it says what a key must name, and there is no key", field="expect")
        return None
    return Naming(checked_key(key), expected(expect))


def checked_key(key: str, field: str = "key") -> str:
    try:
        head_key(PUBLIC_NAMESPACE, key)
    except Unprocessable as error:
        raise Unprocessable(field + error.message.removeprefix("key"), field=field) from None
    return key


def expected(expect: Expect) -> bytes | UnsetType | None:
    """Give the digest of the CID that a key must name."""
    if not isinstance(expect, str):
        return expect
    try:
        return cids.digest_of(expect)
    except Unprocessable as error:
        raise Unprocessable(f"expect: {error.message}", field="expect") from None


def checked_text(text: str, field: str = "text") -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise BadRequest(
            f"{field}: an unpaired surrogate at character {error.start}; it is not Unicode text", field=field
        ) from None
    if not text.strip():
        raise Unprocessable(f"{field}: it is empty, so there is nothing to remember or to look for", field=field)
    if size > LIMITS.text_bytes:
        raise TooLarge(f"{field}: {size} bytes are over the limit of {LIMITS.text_bytes}; split it", field=field)
    return text


def checked_vector(vector: bytes | list[float], space: Namespace) -> bytes:
    stored = record.stored_vector(vector)
    if len(stored) != 4 * space.dim:
        raise Unprocessable(
            f"vector: {len(stored) // 4} numbers, and the namespace {space.name!r} has dim {space.dim}", field="vector"
        )
    return stored


def within(field: str, value: int, least: int, most: int) -> int:
    if not least <= value <= most:
        raise Unprocessable(f"{field}: {value} is not between {least} and {most}", field=field)
    return value


def predicate(spec: str | dict[str, Any] | None) -> Callable[[dict[str, Any]], bool] | None:
    parsed = filters.parse(spec)
    return None if parsed is None else filters.compile(parsed)


def needs_vector(space: Namespace) -> Unprocessable:
    return Unprocessable(
        f"the namespace {space.name!r} is of the model {space.model_version}, which this node does not run: "
        "give the vector",
        field="vector",
    )


def check_binding(space: Namespace, model_version: str | None) -> None:
    if model_version is not None and model_version != space.model_version:
        raise Unprocessable(
            f"model_version: {model_version!r:.80}, and the namespace {space.name!r} is bound to "
            f"{space.model_version!r}",
            field="model_version",
        )


def binding_of(request: NamespaceCreate, embedder: Embedder | None) -> tuple[str, int]:
    """Give the (model_version, dim) that a new namespace is bound to; `embedder`: of the model it names, if any."""
    model_version, dim = request.model_version, request.dim
    if embedder is not None:
        if dim not in (None, embedder.dim):
            raise Unprocessable(f"dim: {model_version} has {embedder.dim} dimensions, not {dim}", field="dim")
        return embedder.model_version, embedder.dim
    if model_version is None:
        if dim not in (None, PUBLIC.dim):
            raise Unprocessable(
                f"dim: {dim} is not that of this node's own model ({PUBLIC.dim}); name the model that the vectors are "
                "of (model_version), since vectors of different models do not compare",
                field="model_version",
            )
        return PUBLIC.model_version, PUBLIC.dim
    record.check_model_version(model_version)
    if model_version == PUBLIC.model_version:
        dim = PUBLIC.dim if dim is None else dim
        if dim != PUBLIC.dim:
            raise Unprocessable(f"dim: {model_version} has {PUBLIC.dim} dimensions, not {dim}", field="dim")
    elif model_version.partition("/")[0] in {"v1", "v1-draft", "sealed"}:
        raise Unprocessable(
            f"model_version: {model_version!r} is a name that Engram keeps for itself", field="model_version"
        )
    if dim is None:
        raise Unprocessable(
            f"dim: say how many dimensions {model_version} has; this node runs no such model", field="dim"
        )
    return model_version, within("dim", dim, 1, LIMITS.dim)


def put_result(item: Prepared) -> PutResult | EngramError:
    if isinstance(item.outcome, EngramError):
        return item.outcome
    assert item.outcome is not None
    assert item.digest is not None
    return PutResult(
        cid=cids.from_digest(item.digest),
        position=item.outcome.position,
        created=item.outcome.created,
        tokens=item.tokens,
        chunks=item.chunks,
        receipt=receipt_of(item.outcome),
    )


def item_result(item: Prepared) -> ItemResult:
    if isinstance(item.outcome, EngramError):
        return ItemResult(error=error_info(item.outcome))
    assert item.outcome is not None
    assert item.digest is not None
    return ItemResult(
        cid=cids.from_digest(item.digest),
        created=item.outcome.created,
        tokens=item.tokens,
        chunks=item.chunks,
        receipt=receipt_of(item.outcome),
    )


def receipt_of(done: Done) -> Receipt | None:
    """Give the receipt of what was written, as the wire has it."""
    receipt = done.receipt
    if receipt is None:
        return None
    return Receipt(
        event=receipt.event,
        position=receipt.position,
        size=receipt.size,
        root=receipt.root,
        time_unix_ns=receipt.time_unix_ns,
        path=receipt.path,
        signature=receipt.signature,
    )


def hit_of(found: Found) -> Hit:
    """Give what was found as a hit: a long text's chunk as one of the whole text."""
    view = found.view
    metadata = record.decode_metadata(bytes(view.metadata))
    cid = cids.from_digest(found.digest)
    place = None if found.parent is None else documents.place_of(metadata)
    if place is None:
        return Hit(cid=cid, score=found.score, metadata=metadata, text=view.text)
    return Hit(
        cid=place.parent,
        score=found.score,
        metadata=documents.document_metadata_of(metadata),
        text=found.view.text,
        chunk=Chunk(cid=cid, index=place.index, span=place.span),
    )


def record_answer(
    digest: bytes, view: View, chunks: int, *, include_vector: bool = False, others: Sequence[bytes] = ()
) -> Record:
    content = bytes(view.content)
    return Record(
        cid=cids.from_digest(digest),
        content_cid=cids.content_cid(content) if any(content) else None,
        text=view.text,
        metadata=record.decode_metadata(bytes(view.metadata)),
        model_version=view.model_version,
        dim=view.dim,
        vector=bytes(view.embedding) if include_vector else None,
        others=[cids.from_digest(other) for other in others],
        chunks=chunks,
    )
