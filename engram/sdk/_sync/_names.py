# Made by scripts/generate_sync.py from engram/sdk/_async/_names.py: change that one.
"""The names that a memory has: its namespaces, and keys that stand for one memory after another."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from engram.sdk._items import ANY
from engram.sdk._sync._carrier import Carrier
from engram.sdk._sync._iterate import Pages
from engram.wire import (
    Expect,
    History,
    KeyDelete,
    KeyGet,
    KeyInfo,
    KeyList,
    KeyRecord,
    KeyResult,
    KeySet,
    KeyVersion,
    NamespaceCreate,
    NamespaceDelete,
    NamespaceDeleteResult,
    NamespaceInfo,
    NamespaceList,
)

if TYPE_CHECKING:
    import builtins

_PAGE = 1000
"""Keys, or versions of one, in a page."""


class Namespaces:
    """The namespaces of a memory: `client.namespaces`."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier

    def create(self, name: str, dim: int | None = None, model: str | None = None) -> NamespaceInfo:
        """Create a namespace, bound to one model and dimension; without them it takes texts.

        `model` may be one of the node's configuration: then it takes texts, embedded by that model. What is kept in it
        is its owner's to read; but a challenge shows payloads of every namespace, but for sealed records, to the keys
        that the node's operator has named as `challengers`.

        Raises `Conflict` if it exists with others.
        """
        request = NamespaceCreate(name=name, dim=dim, model_version=model)
        return self._carrier._call(request)  # noqa: SLF001 - a part of it

    def list(self) -> builtins.list[NamespaceInfo]:
        """Give every namespace that this caller can use, the public one first."""
        return (self._carrier._call(NamespaceList())).namespaces  # noqa: SLF001 - a part of it

    def delete(self, name: str, *, erase: bool = False) -> NamespaceDeleteResult:
        """Delete a namespace with every memory and key in it. Raises `NotFound`.

        Cut short, it is called again, and goes on. `erase`: overwrite the memories' bytes too, and those of what was
        deleted from it before; the names of keys stay.
        """
        return self._carrier._call(NamespaceDelete(name=name, erase=erase))  # noqa: SLF001 - a part of it


class Keys:
    """The keys of a memory, names that stand for one memory after another: `client.keys`."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier

    def get(
        self,
        key: str,
        namespace: str | None = None,
        include_vector: bool = False,  # noqa: FBT001, FBT002
    ) -> KeyRecord:
        """Give the memory that a key names: `.record`. Raises `NotFound` where it names none."""
        request = KeyGet(key=key, namespace=namespace, include_vector=include_vector)
        return self._carrier._call(request)  # noqa: SLF001 - a part of it

    def list(self, prefix: str = "", namespace: str | None = None) -> Pages[KeyInfo]:
        """Give the keys that begin with `prefix`, in the order of their bytes, page by page as they are taken."""
        return Pages(partial(self._page, prefix, namespace))

    def set(self, key: str, cid: str, *, expect: Expect = ANY, namespace: str | None = None) -> KeyResult:
        """Have a key name a memory that is in the namespace. `expect` and `Conflict` as in `put`."""
        request = KeySet(key=key, cid=cid, expect=expect, namespace=namespace)
        return self._carrier._call(request)  # noqa: SLF001 - a part of it

    def delete(self, key: str, *, expect: Expect = ANY, namespace: str | None = None) -> KeyResult:
        """Have a key name nothing more; the memory stays. Raises `NotFound` where it names none."""
        request = KeyDelete(key=key, expect=expect, namespace=namespace)
        return self._carrier._call(request)  # noqa: SLF001 - a part of it

    def _page(self, prefix: str, namespace: str | None, after: str | None) -> tuple[builtins.list[KeyInfo], str | None]:
        request = KeyList(prefix=prefix, limit=_PAGE, after=after, namespace=namespace)
        page = self._carrier._call(request)  # noqa: SLF001 - a part of it
        return page.keys, page.next_after


class Naming(Carrier):
    """What is done with names."""

    @property
    def namespaces(self) -> Namespaces:
        """Create, list and delete namespaces."""
        return Namespaces(self)

    @property
    def keys(self) -> Keys:
        """Get, list, set and delete keys."""
        return Keys(self)

    def history(self, key: str, namespace: str | None = None) -> builtins.list[KeyVersion]:
        """Give everything that a key has named, oldest first. Raises `NotFound` if it never named anything."""
        versions: builtins.list[KeyVersion] = []
        after: int | None = 0
        while after is not None:
            page = self._call(History(key=key, limit=_PAGE, after=after, namespace=namespace))
            versions += page.versions
            after = page.next_after
        return versions
