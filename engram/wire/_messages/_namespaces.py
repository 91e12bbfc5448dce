"""Namespaces."""

from __future__ import annotations

from typing import ClassVar

from engram.wire._messages._base import (
    Answer,
    Index,
    Request,
)


class NamespaceInfo(Answer, frozen=True, kw_only=True):
    """A namespace: bound to one model and dimension when it was created. `id` is hex, 64 zeros for the public one.

    `records` counts every record, the `chunks` of long texts among them.
    """

    name: str
    id: str
    owner: str | None = None
    model_version: str
    dim: int
    records: int = 0
    chunks: int = 0
    position: int = 0


class NamespaceCreate(Request[NamespaceInfo], frozen=True, kw_only=True):
    """Create a namespace. Without `dim` and `model_version` it takes texts, by the node's own embedder.

    `model_version` may be the name of a model that the node is configured with: then it takes texts, by that model.
    What is kept in it is its owner's to read; but who may challenge the node is shown payloads of every namespace, but
    for sealed records.
    """

    method: ClassVar[str] = "namespace_create"
    name: str
    dim: Index | None = None
    model_version: str | None = None


class NamespaceListResult(Answer, frozen=True, kw_only=True):
    """Every namespace of this caller, the public one first."""

    namespaces: list[NamespaceInfo]


class NamespaceList(Request[NamespaceListResult], frozen=True, kw_only=True):
    """List the namespaces that this caller can use."""

    method: ClassVar[str] = "namespace_list"


class NamespaceDeleteResult(Answer, frozen=True, kw_only=True):
    """A namespace that is gone, and how many memories this call has deleted in it."""

    name: str
    records: int
    position: int


class NamespaceDelete(Request[NamespaceDeleteResult], frozen=True, kw_only=True):
    """Delete a namespace with every memory and key in it. Cut short, it is sent again, and goes on.

    `erase`: overwrite the memories' bytes too, and those of what was deleted from it before; not the names of its keys.
    """

    method: ClassVar[str] = "namespace_delete"
    name: str
    erase: bool = False
