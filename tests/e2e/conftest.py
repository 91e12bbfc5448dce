"""A node for the whole session, nodes of one's own, and the command line, all of them real processes."""

from __future__ import annotations

import subprocess

import pytest
from e2e.processes import NODE, USER, Node, run

from engram.embed import fetch_model, find_model


@pytest.fixture(scope="session")
def weights():
    """The embedding model's files, in the cache where every node finds them."""
    return find_model() or fetch_model(lambda *_: None)


@pytest.fixture(scope="session")
def node(tmp_path_factory, weights):
    """A node that many tests share: each leaves it as it was, or adds memories of its own."""
    node = Node(tmp_path_factory.mktemp("shared") / "data")
    node.wait_for("model ready")
    yield node
    node.stop()


@pytest.fixture
def client(node):
    with node.client() as client:
        yield client


@pytest.fixture
def make_node(tmp_path):
    """Start nodes of the test's own; those that the test has not ended are stopped, and must stop well."""
    nodes = []

    def make(name="data", *arguments, **options):
        nodes.append(Node(tmp_path / name, *arguments, **options))
        return nodes[-1]

    yield make
    running = [node for node in nodes if node.process.poll() is None]
    for node in running:
        node.process.terminate()
    for node in running:
        try:
            assert node.process.wait(20) == 0, node.logged()
        except subprocess.TimeoutExpired:
            node.kill()
            raise
        node.process.stdout.close()
        assert node.troubles() == []


@pytest.fixture
def own_node(make_node, weights):
    """A fresh node with its model ready."""
    node = make_node()
    node.wait_for("model ready")
    return node


@pytest.fixture
def engram(node):
    """Run `engram` against the shared node."""
    return lambda *arguments, **options: run(USER, *arguments, ENGRAM_NODE=node.url, **options)


@pytest.fixture
def engram_node(tmp_path):
    """Run `engram-node` to its end, in an empty working folder."""
    return lambda *arguments, **options: run(NODE, *arguments, cwd=tmp_path, **options)
