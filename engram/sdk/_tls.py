"""TLS to a node: what a client wants of it, and who it is. `formats.md` §6 and §9.

Theory of operation. A node's certificate proves nothing by its names, for most are self-signed; the node's signature
in `hello`, over both nonces and this very certificate, proves who has the node's key. So who knows that key needs no
authority. Who does not has the certificate verified, as a browser would, and takes the key that the node then says.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from engram.errors import BadRequest, Unauthenticated
from engram.identity import hello_message, ss58, verify
from engram.sdk._address import names_loopback
from engram.wire import PROTOCOL, Hello, Prove

if TYPE_CHECKING:
    import ssl

    from engram.sdk._options import Options, Signer
    from engram.wire import HelloResult

ALPN = "engram/1"

_AGENT = "engram-python"


def foreseen_context(options: Options) -> ssl.SSLContext | None:
    """Give the context for a node that will be spoken to by TLS; None where it seems to be on this machine.

    Made before there are threads: a child forked while one of them made it would wait for OpenSSL's locks for ever.
    """
    tls = options.tls if options.tls is not None else not names_loopback(options.address.host)
    return tls_context(options) if tls else None


def tls_context(options: Options) -> ssl.SSLContext:
    """Give the context of a connection to a node."""
    import ssl  # noqa: PLC0415 (loopback needs none)

    context = trusting(options.ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.set_alpn_protocols([ALPN])
    if options.node_key is not None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE  # the node's signature stands for it
    return context


def trusting(ca: str | None) -> ssl.SSLContext:
    """Give a context that trusts the system's authorities, or those of a file. Raise `BadRequest` for another file."""
    import ssl  # noqa: PLC0415 (as above)

    try:
        return ssl.create_default_context(cafile=ca)
    except OSError as error:  # an SSLError is one
        reason = getattr(error, "reason", None) or error.strerror or error
        raise BadRequest(f"ca: {ca} is no PEM file of certificates ({reason})", field="ca") from None


def greeting(signer: Signer | None) -> Hello:
    """Give a connection's `hello`."""
    return Hello(
        protocol=PROTOCOL, agent=_AGENT, nonce=os.urandom(32), node_key=None if signer is None else signer.public
    )


def check_node(said: Hello, heard: HelloResult, certificate: bytes | None, expected: bytes | None) -> None:
    """Raise `Unauthenticated` unless who answered has the key that it says, and the one that is expected."""
    message = hello_message(1, said.nonce, heard.nonce, certificate, heard.node_key, said.node_key)
    if not verify(heard.node_key, message, heard.signature):
        raise Unauthenticated("the node's signature in hello is not that of its key over this connection: who answers?")
    if expected is not None and heard.node_key != expected:
        raise Unauthenticated(
            f"the node has the key {ss58(heard.node_key)}, and node_key asks for {ss58(expected)}", field="node_key"
        )


def proof(said: Hello, heard: HelloResult, certificate: bytes | None, signer: Signer) -> Prove:
    """Give what proves the caller's key."""
    message = hello_message(0, said.nonce, heard.nonce, certificate, signer.public, heard.node_key)
    return Prove(signature=signer.sign(message))
