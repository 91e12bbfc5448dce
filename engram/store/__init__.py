"""One data folder: bodies, log, tables and indexes, and the one writer that keeps them in step."""

from engram.store._store import (
    PUBLIC,
    CreateOperation,
    DeleteOperation,
    Done,
    Found,
    Namespace,
    Operation,
    Published,
    PutOperation,
    Store,
)
from engram.store._tables import View

__all__ = [
    "PUBLIC",
    "CreateOperation",
    "DeleteOperation",
    "Done",
    "Found",
    "Namespace",
    "Operation",
    "Published",
    "PutOperation",
    "Store",
    "View",
]
