"""The doors of a node: each turns a wire into calls of one `Service`."""

from engram.gateway._door import RpcSettings
from engram.gateway._legacy import Legacy, LegacyCommitment, LegacyProof, LegacyStep
from engram.gateway._metered import Metered
from engram.gateway._metrics import Metrics
from engram.gateway._rpc import serve_rpc
from engram.gateway._service import Service
from engram.gateway._serving import Serving, is_near
from engram.gateway._tls import Certificate, read_certificate, ssl_context_of

__all__ = [
    "Certificate",
    "Legacy",
    "LegacyCommitment",
    "LegacyProof",
    "LegacyStep",
    "Metered",
    "Metrics",
    "RpcSettings",
    "Service",
    "Serving",
    "is_near",
    "read_certificate",
    "serve_rpc",
    "ssl_context_of",
]
