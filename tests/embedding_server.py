"""A server of `POST /v1/embeddings`, for the tests of the remote backend: right, or wrong in a way of the test's choice.

Its vectors are eight numbers made of a text's hash. It speaks HTTP by the standard library's server, which shares no
code with the client under test.
"""

from __future__ import annotations

import base64
import hashlib
import json
import ssl
import struct
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

DIM = 8


def vector(text):
    """Give the floats that the server gives for a text."""
    return [byte / 255 + 0.01 for byte in hashlib.sha256(text.encode()).digest()[:DIM]]


def packed(floats):
    return struct.pack(f"<{len(floats)}f", *floats)


class Embeddings:
    """What the server does, and what it was asked. A test changes `behave` and reads `asked`."""

    def __init__(self):
        self.asked = []
        """(headers, decoded body) of each request, in order."""
        self.connections = set()
        self.url = ""
        self.behave = self.answer
        self.released = threading.Event()

    def answer(self, request):
        """Answer as the documentation says: base64 where it was asked for."""
        return 200, {}, self.reply(request, base64_="encoding_format" in request)

    def floats_only(self, request):
        """Ignore `encoding_format`."""
        return 200, {}, self.reply(request)

    def strict(self, request):
        """Refuse a field that this server does not know."""
        if "encoding_format" in request:
            return 400, {}, {"error": {"message": f"unknown field, in {request}"}}
        return self.floats_only(request)

    def reply(self, request, *, base64_=False, rows=None):
        rows = [vector(text) for text in request["input"]] if rows is None else rows
        code = (lambda row: base64.b64encode(packed(row)).decode()) if base64_ else list
        data = [{"object": "embedding", "index": at, "embedding": code(row)} for at, row in enumerate(rows)]
        return {"object": "list", "data": data, "model": request["model"], "usage": {"prompt_tokens": 7}}

    def texts(self):
        return [text for _, request in self.asked for text in request["input"]]


@contextmanager
def serving(embeddings=None, certificates=None):
    """Serve on a free port of loopback; with `certificates`, (certificate, key) files, over TLS."""
    embeddings = embeddings or Embeddings()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self):
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            embeddings.asked.append((dict(self.headers), request))
            embeddings.connections.add(self.client_address)
            if self.path != "/v1/embeddings":
                self.respond(404, {}, b"{}")
                return
            done = embeddings.behave(request)
            if done is None:  # hang up without a word
                self.close_connection = True
                return
            status, headers, body = done
            self.respond(status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())

        def respond(self, status, headers, body):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.handle_error = lambda *_: None  # a client that has given up
    server.daemon_threads = True
    if certificates:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificates)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    embeddings.url = f"{'https' if certificates else 'http'}://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield embeddings
    finally:
        embeddings.released.set()
        server.shutdown()
        thread.join()
        server.server_close()
