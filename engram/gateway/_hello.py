"""Who speaks on a connection: `hello` and `prove`, sans-IO. `formats.md` §6 has the messages, §9 what is signed.

Theory of operation. A connection begins with the caller that its way in makes of it: the operator on loopback, nobody
who is known elsewhere. `hello` gives each side the other's nonce, and has the node sign both, and the certificate that
it has shown: so nobody can stand between. A caller that named its key in `hello` follows with `prove`, its signature
over the same, and is from then on who has that key. On TLS nothing goes before `hello`.

A `hello` may be said again until a key is proved, each with a nonce of the node's own, and `prove` answers the latest
one, once: so what was signed for one connection, or one `hello`, proves nothing on another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engram.errors import BadRequest, Conflict, HelloRequired, Unauthenticated
from engram.identity import Caller, hello_message, verify
from engram.wire import Hello, Prove, ProveResult

if TYPE_CHECKING:
    from typing import Any

    from engram.gateway._service import Service
    from engram.wire import Answer, HelloResult, Request


class Introduction:
    """What one connection knows of its caller."""

    def __init__(self, service: Service, caller: Caller, certificate: bytes | None = None) -> None:
        """`caller`: who it is until it has said more. `certificate`: the node's, DER, on TLS; then `hello` is due."""
        self.caller = caller
        self._service = service
        self._certificate = certificate
        self.due = certificate is not None
        """Whether `hello` must come before anything else."""
        self._said: tuple[Hello, HelloResult] | None = None
        self._proved = False

    def answer(self, request: Request[Any]) -> Answer | None:
        """Answer `hello` and `prove`; None for another call, which may be made now.

        Raises `HelloRequired` for one that may not, and for these two what is wrong with them.
        """
        if isinstance(request, Hello):
            return self._hello(request)
        if self.due:
            raise HelloRequired(f"hello: it comes before anything else on TLS, and before this {request.method}")
        return self._prove(request) if isinstance(request, Prove) else None

    def _hello(self, request: Hello) -> HelloResult:
        if self._proved:
            raise Conflict("hello: this connection speaks with a proved key; open another one for another caller")
        result = self._service.hello(request, self._certificate)
        self._said = (request, result)
        self.due = False
        return result

    def _prove(self, request: Prove) -> ProveResult:
        said, self._said = self._said, None
        if said is None or said[0].node_key is None:
            raise BadRequest("prove: say hello with your node_key first; each hello can be proved once")
        hello, result = said
        key = said[0].node_key
        message = hello_message(0, hello.nonce, result.nonce, self._certificate, key, result.node_key)
        if not verify(key, message, request.signature):
            raise Unauthenticated(
                "signature: not that of node_key over the nonces of the latest hello (formats.md §9, side 0);"
                " say hello again",
                field="signature",
            )
        self._proved = True
        self.caller = Caller(key, operator=key == result.node_key)
        return ProveResult(node_key=key, operator=self.caller.operator)
