"""Clients of every kind, and a door for them."""

import pytest
from doors import Node, RealNode
from flavours import BACKENDS, make

from engram.sdk import EngramClient


@pytest.fixture
def wire():
    """The wire of a test's node: RPC, unless the test asks for others by parameters."""
    return "rpc"


@pytest.fixture
def node(wire):
    node = Node(wire=wire)
    yield node
    node.stop()


@pytest.fixture
def real(wire, tmp_path):
    node = RealNode(tmp_path / "memory", wire)
    yield node
    node.stop()


@pytest.fixture(params=BACKENDS)
def connect(request):
    """Give what makes a client of one of the kinds, and ends those that it has made."""
    made = []

    def connect(url, *arguments, **options):
        made.append(make(request.param, url, *arguments, **options))
        return made[-1]

    yield connect
    for client in made:
        client.close() if isinstance(client, EngramClient) else client.end()


@pytest.fixture
def client(node, connect):
    return connect(node.url, timeout=20)
