"""The same client by four ways: blocking or not, on asyncio or trio, over RPC or HTTP. Tests call them all alike."""

import functools
import inspect
import pickle

from anyio.from_thread import start_blocking_portal

from engram.sdk import AsyncEngramClient, EngramClient

BACKENDS = ["blocking", "asyncio", "trio"]


def make(backend, url, *arguments, **options):
    """Make a client; one that is not blocking is called on a loop of its own, on another thread."""
    if backend == "blocking":
        return EngramClient(url, *arguments, **options)
    return Blocking(AsyncEngramClient(url, *arguments, **options), start_blocking_portal(backend))


def again(client):
    """Give a client that was pickled."""
    if isinstance(client, EngramClient):
        return pickle.loads(pickle.dumps(client))
    return Blocking(pickle.loads(pickle.dumps(client._client)), client._starting, client._portal)


class Blocking:
    """An asynchronous client with the blocking one's calls."""

    def __init__(self, client, starting, portal=None):
        self._client = client
        self._starting = starting
        self._portal = portal or starting.__enter__()

    def __getattr__(self, name):
        return _as_blocking(self._portal, getattr(self._client, name))

    def close(self):
        self._portal.call(self._client.aclose)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def end(self):
        """Close it, and end its loop."""
        self.close()
        self._starting.__exit__(None, None, None)


class _Part:
    def __init__(self, portal, part):
        self._portal, self._part = portal, part

    def __getattr__(self, name):
        return _as_blocking(self._portal, getattr(self._part, name))


class _Rest:
    """An asynchronous iterator, as a blocking one."""

    def __init__(self, portal, rest):
        self._portal, self._rest = portal, rest

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return self._portal.call(self._rest.__anext__)
        except StopAsyncIteration:
            raise StopIteration from None

    def close(self):
        self._portal.call(self._rest.aclose)

    def __getattr__(self, name):
        return getattr(self._rest, name)


def _as_blocking(portal, value):
    if type(value).__name__ in ("AsyncKeys", "AsyncNamespaces"):
        return _Part(portal, value)
    if not callable(value):
        return value

    @functools.wraps(value)
    def call(*arguments, **options):
        if inspect.iscoroutinefunction(value):
            return portal.call(functools.partial(value, *arguments, **options))
        made = value(*arguments, **options)
        return _Rest(portal, made) if hasattr(made, "__anext__") else made

    return call
