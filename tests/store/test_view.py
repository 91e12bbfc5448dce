"""A payload's parts, against what encoded it; and one that a damaged length has cut short."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store.test_scrub import fill, located, notes, open_small
from store.test_store import NOW, vector

from engram import filter as filters
from engram import record
from engram.events import SEGMENT_BYTES
from engram.store._tables import View


@given(
    text=st.text(st.characters(codec="utf-8"), max_size=40),
    dim=st.integers(1, 9),
    metadata=st.dictionaries(st.sampled_from("abc"), st.integers(0, 99)),
    lend=st.sampled_from([bytes, memoryview]),
)
def test_its_parts_are_what_it_was_made_of(text, dim, metadata, lend):
    embedding, canonical = vector(1.0, 2.0, dim=9)[: 4 * dim], record.canonical_metadata(metadata)
    _, payload = record.encode_text(text, embedding, canonical, "m/1")
    decoded, view = record.decode(payload), View(lend(payload))
    assert (view.flags, view.dim, view.size) == (record.TEXT, dim, len(payload))
    assert (view.model_version, view.text) == ("m/1", text)
    assert bytes(view.embedding) == embedding
    assert bytes(view.metadata) == canonical
    assert bytes(view.content) == decoded.content


def test_one_that_is_too_short_is_a_value_error():
    with pytest.raises(ValueError, match="at least 14 bytes, not 3"):
        View(b"EPR")


def test_a_body_whose_length_is_damaged_is_found_by_nobody_and_hides_no_other(tmp_path):
    store = open_small(tmp_path / "data")
    hurt = fill(store)[7].digest
    number, offset = divmod(located(store, hurt), SEGMENT_BYTES)
    with (tmp_path / "data" / "bodies" / f"{number:020}.seg").open("r+b") as file:
        file.seek(offset + 8)
        file.write(b"\3\0\0\0")
    for tree in (None, filters.parse("n < 99"), filters.parse("not exists(m)")):
        found = {item.digest for item in store.search(notes(store), vector(1.0, dim=4), 1000, tree).found}
        assert hurt not in found
        assert len(found) == 58
    store.close(NOW)
