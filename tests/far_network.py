"""A network whose loopback is somewhere else: what is far may be tested without leaving this machine."""

from engram.runtime import RealNetwork

ELSEWHERE = "192.0.2.7"


class FarNetwork(RealNetwork):
    """Listens on loopback and calls it another address. `peers`: who comes, in place of who is far, in turn."""

    def __init__(self, *peers):
        self.peers = list(peers)

    async def resolve(self, host):
        del host
        return [ELSEWHERE]

    async def listen(self, host, port):
        del host
        return await super().listen("127.0.0.1", port)

    def peer(self, stream):
        del stream
        return self.peers.pop(0) if self.peers else ELSEWHERE
