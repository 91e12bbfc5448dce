"""Real doors, each on a thread of its own: over a dict, or over a memory without a model."""

import contextlib
import threading
from functools import partial

import trio
from dict_service import DictService

from engram.gateway import serve_rpc
from engram.gateway.http import serve_http
from engram.node import Config
from engram.node._node import real_world, running

WIRES = ["rpc", "http"]


class Node:
    """A door that can be stopped and started again on its port, with the same records."""

    def __init__(self, service=None, wire="rpc"):
        self.service = service or DictService()
        self.wire = wire
        self.port = 0
        self.start()

    @property
    def url(self):
        return f"{'engram' if self.wire == 'rpc' else 'http'}://127.0.0.1:{self.port}"

    def start(self):
        ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main, ready))
        self._thread.start()
        while not ready.wait(0.1):
            assert self._thread.is_alive(), "the door has not come up; its error is the thread's"

    async def _main(self, ready):
        self._token = trio.lowlevel.current_trio_token()
        async with self.opened() as service, trio.open_nursery() as nursery:
            self._nursery = nursery
            serve = serve_rpc if self.wire == "rpc" else serve_http
            server = await nursery.start(partial(serve, service, port=self.port))
            self.port = server.addresses[0][1]
            ready.set()

    @contextlib.asynccontextmanager
    async def opened(self):
        yield self.service

    def open_gate(self):
        self._token.run_sync_soon(self.service.gate.set)

    def stop(self):
        """Drop everything at once, as a crash would."""
        if self._thread.is_alive():
            self._token.run_sync_soon(self._nursery.cancel_scope.cancel)
            self._thread.join(20)


class RealNode(Node):
    """A door over a real memory, in a folder."""

    def __init__(self, folder, wire="rpc"):
        self.folder = folder
        super().__init__(wire=wire)

    @contextlib.asynccontextmanager
    async def opened(self):
        async with running(Config(data_dir=self.folder), real_world(), embedded=True) as service:
            yield service
