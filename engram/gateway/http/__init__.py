"""The HTTP door: REST, the first Engram's API, OpenAI's embeddings, metrics and the page that explains them.

Theory of operation. Bytes come through the Network port into a `Connection`, which bounds them in time and number and
hands them to Hypercorn's HTTP/1.1 protocol; that calls a Starlette application, whose endpoints turn a request into a
call of the `Service`. Of Hypercorn only the protocol is used: its server has no bound on connections, on slow readers
or on what it has not sent, switches to HTTP/2 and WebSockets whenever a stranger asks for it, and hangs on to a
connection whose body nobody reads (`_connection` has more).

Apart from `engram.gateway`, so that a memory in one's own process does not load a web server.
"""

from engram.gateway.http._door import HttpDoor, HttpSettings
from engram.gateway.http._server import serve_http

__all__ = ["HttpDoor", "HttpSettings", "serve_http"]
