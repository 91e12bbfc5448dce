"""The doors of a node: each turns a wire into calls of one `Service`."""

from engram.gateway._connection import RpcSettings
from engram.gateway._rpc import RpcServer, serve_rpc
from engram.gateway._service import Service

__all__ = ["RpcServer", "RpcSettings", "Service", "serve_rpc"]
