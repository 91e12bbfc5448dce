"""What the first Engram's client could do and this one cannot yet: each call says so, and what to do instead."""

from __future__ import annotations

from typing import NoReturn

from engram.errors import NotBuilt


class NotYet:
    """Calls that are not built yet; each raises `NotBuilt`."""

    def ingest_image(self, *_: object, **__: object) -> NoReturn:
        """Describe an image and keep it."""
        raise _not_built("ingest_image", "images", "ingest a description, with the image's address in its metadata")

    def ingest_pdf(self, *_: object, **__: object) -> NoReturn:
        """Keep the text of a PDF."""
        raise _not_built("ingest_pdf", "PDFs", "extract the text and ingest it, long texts too")

    def ingest_document(self, *_: object, **__: object) -> NoReturn:
        """Keep the text of a document."""
        raise _not_built("ingest_document", "PDFs", "extract the text and ingest it, long texts too")

    def ingest_url(self, *_: object, **__: object) -> NoReturn:
        """Keep the text of a page."""
        raise _not_built("ingest_url", "pages of the web", "fetch the page and ingest its text, long texts too")


def _not_built(call: str, what: str, instead: str) -> NotBuilt:
    return NotBuilt(f"{call}: {what} are not built yet; {instead}")
