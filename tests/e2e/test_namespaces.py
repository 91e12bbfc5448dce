"""Namespaces: the same memory in two, dimensions of their own, and what one says about another. Also deletion."""

from __future__ import annotations

import itertools

import pytest
from e2e.processes import code_of, unchanged

V = [1.0] + [0.0] * 383
_numbers = itertools.count()


@pytest.fixture
def spaces(client):
    """Two fresh namespaces for texts, and one for vectors of four numbers."""
    n = next(_numbers)
    names = [f"one {n}", f"two {n}", f"clips {n}"]
    client.namespaces.create(names[0])
    client.namespaces.create(names[1])
    client.namespaces.create(names[2], dim=4, model="clip/b32")
    return names


def test_the_same_text_in_two_is_one_cid_and_two_memberships(client, spaces):
    one, two, _ = spaces
    cid = client.ingest("in both", namespace=one)
    assert client.ingest("in both", namespace=two) == cid
    client.delete(cid, namespace=one)
    assert code_of(client.get, cid, namespace=one).code == "not_found"
    assert client.get(cid, namespace=two).text == "in both"
    assert [hit.cid for hit in client.query("in both", namespace=two)] == [cid]
    assert client.query("in both", namespace=one) == []
    assert client.list(namespace=one) == []


def test_what_is_elsewhere_is_not_found_exactly_as_what_is_nowhere(node, client, spaces):
    one, two, clips = spaces
    cid = client.ingest("only in one", namespace=one)
    content = client.get(cid, namespace=one).content_cid
    nowhere = "v1::" + "7" * 64
    with unchanged(node):
        for space in (two, clips, None):
            for ask in (client.get, client.delete):
                elsewhere, missing = code_of(ask, cid, namespace=space), code_of(ask, nowhere, namespace=space)
                assert (elsewhere.code, elsewhere.field) == (missing.code, missing.field) == ("not_found", "cid")
                assert elsewhere.message == missing.message.replace(nowhere, cid)
            assert code_of(client.get, content, namespace=space).code == "not_found"
    assert client.get(content, namespace=one).cid == cid


def test_vectors_of_their_own_dimension(node, client, spaces):
    clips = spaces[2]
    cid = client.ingest_embedding([1, 2, 3, 4], {"n": 1}, namespace=clips)
    with_text = client.ingest_embedding([4, 3, 2, 1], text="any text beside it", namespace=clips)
    assert [hit.cid for hit in client.query_by_vector([1, 2, 3, 4], namespace=clips)] == [cid, with_text]
    assert client.get(with_text, namespace=clips).text == "any text beside it"
    with unchanged(node):
        for error in (
            code_of(client.ingest, "a text alone", namespace=clips),
            code_of(client.query, "a text alone", namespace=clips),
        ):
            assert (error.code, error.field) == ("unprocessable", "vector")
            assert "is of the model clip/b32, which this node does not run: give the vector" in error.message
        for vector in ([1, 2, 3], V):
            error = code_of(client.ingest_embedding, vector, namespace=clips)
            assert (error.code, error.field) == ("unprocessable", "vector")
            assert f"{len(vector)} numbers, and the namespace {clips!r} has dim 4" in error.message


def test_a_namespace_is_created_once_and_never_changed(node, client, spaces):
    one, _, clips = spaces
    with unchanged(node):
        assert client.namespaces.create(one).name == one
        assert client.namespaces.create(clips, 4, "clip/b32").dim == 4
        for dim, model in ((5, "clip/b32"), (4, "clip/b16"), (None, None)):
            assert code_of(client.namespaces.create, clips, dim, model).code == "conflict"
        assert code_of(client.namespaces.create, "public").code == "conflict"


@pytest.mark.parametrize(
    "name", ["a/b", "a=b", "Ünï 猫", "x" * 128, " ", "\x1b[2J", "a\0b", "../../etc", "'; DROP TABLE records; --"]
)
def test_any_name_of_128_bytes_does(client, engram, name):
    client.namespaces.create(name, 2, "t/1")
    cid = client.ingest_embedding([1, 1], namespace=name)
    assert client.get(cid, namespace=name).cid == cid
    assert name in [info.name for info in client.namespaces.list()]
    ran = engram("namespace", "list")
    assert (ran.code, ran.err) == (0, "")
    assert "\x1b" not in ran.out


def test_delete_and_then_anything(client, spaces):
    one = spaces[0]
    cid = client.ingest("here and gone", {"k": 1}, namespace=one)
    stays = client.ingest("here to stay", namespace=one)
    assert client.delete(cid, namespace=one) is True
    assert [hit.cid for hit in client.query("here and gone", namespace=one)] == [stays]
    assert [record.cid for record in client.list(namespace=one)] == [stays]
    twice = code_of(client.delete, cid, namespace=one)
    assert (twice.code, twice.field) == ("not_found", "cid")
    assert client.ingest("here and gone", {"k": 1}, namespace=one) == cid
    assert client.query("here and gone", top_k=1, namespace=one)[0].cid == cid
    assert client.get(cid, namespace=one).metadata == {"k": 1}
    assert [record.cid for record in client.list(namespace=one)] in ([stays, cid], [cid, stays])


def test_content_answers_for_all_who_have_it(client, spaces):
    one = spaces[0]
    cids = sorted(client.ingest("one text", {"n": n}, namespace=one) for n in range(3))
    record = client.get(client.get(cids[0], namespace=one).content_cid, namespace=one)
    assert (record.cid, record.others) == (cids[0], cids[1:])
    client.delete(cids[0], namespace=one)
    assert client.get(record.content_cid, namespace=one).cid == cids[1]
