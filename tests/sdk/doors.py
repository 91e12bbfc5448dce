"""A real door over a dict, on a thread of its own."""

import threading
from functools import partial

import trio
from dict_service import DictService

from engram.gateway import serve_rpc


class Node:
    """A door that can be stopped and started again on its port, with the same records."""

    def __init__(self, service=None):
        self.service = service or DictService()
        self.port = 0
        self.start()

    @property
    def url(self):
        return f"engram://127.0.0.1:{self.port}"

    def start(self):
        ready = threading.Event()
        self._thread = threading.Thread(target=trio.run, args=(self._main, ready))
        self._thread.start()
        assert ready.wait(20)

    async def _main(self, ready):
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            self._server = await nursery.start(partial(serve_rpc, self.service, port=self.port))
            self.port = self._server.addresses[0][1]
            ready.set()

    def open_gate(self):
        self._token.run_sync_soon(self.service.gate.set)

    def stop(self):
        """Drop everything at once, as a crash would."""
        if self._thread.is_alive():
            self._token.run_sync_soon(self._nursery.cancel_scope.cancel)
            self._thread.join(20)
