"""What the tests of the HTTP door share: a door over a memory in a dict, and clients that are no libraries."""

import contextlib
import functools
import json

import trio
from dict_service import DictService

from engram.gateway._metrics import Metrics
from engram.gateway.http import HttpSettings, serve_http
from engram.limits import LIMITS


@contextlib.asynccontextmanager
async def door(service=None, *, limits=LIMITS, metrics=None, **settings):
    """Serve on a free port; give the server, which stops at the end."""
    async with trio.open_nursery() as nursery:
        server = await nursery.start(
            functools.partial(
                serve_http,
                service or DictService(),
                port=0,
                limits=limits,
                settings=HttpSettings(**settings),
                metrics=metrics or Metrics(),
            )
        )
        yield server
        server.stop()
    assert server.addresses


async def connect(server):
    return await trio.open_tcp_stream(*server.addresses[0])


def head(verb, target, headers=None, body=b""):
    """Write a request."""
    named = {"host": "127.0.0.1"} | ({"content-type": "application/json", "content-length": len(body)} if body else {})
    lines = [f"{verb} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in (named | (headers or {})).items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self):
        return json.loads(self.body)


async def read_answer(stream, buffered=b""):
    """Read one answer with a content-length; give it and what follows it."""
    while b"\r\n\r\n" not in buffered:
        piece = await stream.receive_some(65536)
        if not piece:
            return None, buffered
        buffered += piece
    top, _, rest = buffered.partition(b"\r\n\r\n")
    first, *lines = top.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, value in (line.split(":", 1) for line in lines)}
    size = int(headers.get("content-length", 0))
    while len(rest) < size:
        piece = await stream.receive_some(65536)
        if not piece:
            break
        rest += piece
    return Answer(int(first.split()[1]), headers, rest[:size]), rest[size:]


async def ask(server, verb, target, body=None, headers=None):
    """Ask once, on a connection of its own."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    async with await connect(server) as stream:
        await stream.send_all(head(verb, target, headers, data))
        answer, _ = await read_answer(stream)
    return answer
