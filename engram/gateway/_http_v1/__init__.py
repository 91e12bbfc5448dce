"""The first Engram's HTTP API, version 1, as its clients speak it.

Each endpoint is a function from a decoded body to calls of the `Service` and back; the HTTP server mounts them. The
paths and fields are the first Engram's; limits, status codes, signatures and errors are kept as they were promised.
"""

from engram.gateway._http_v1._callers import Unsigned
from engram.gateway._http_v1._endpoints import ENDPOINTS, Endpoint, HttpV1
from engram.gateway._http_v1._signatures import Replays, namespace_message, request_message

__all__ = ["ENDPOINTS", "Endpoint", "HttpV1", "Replays", "Unsigned", "namespace_message", "request_message"]
