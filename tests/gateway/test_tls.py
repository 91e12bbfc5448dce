"""The RPC door off loopback: TLS 1.3 with its own certificate, callers who introduce themselves, strangers who do not."""

import contextlib
import os
import socket
import ssl
from functools import partial

import pytest
import trio
import trio.testing
from dict_service import DictService
from far_network import FarNetwork
from gateway.test_rpc import Peer, count_tasks, pack, reset, wait_until

from engram.errors import Unprocessable
from engram.gateway import RpcSettings, serve_rpc
from engram.identity import ANONYMOUS, OPERATOR, Caller, NodeKey, hello_message, verify
from engram.limits import Limits
from engram.node._certificate import certificate_of
from engram.runtime import RealDisk, RealRng

KEY = NodeKey(b"\x11" * 32)
OPENED = []


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return certificate_of(None, RealDisk(), tmp_path_factory.mktemp("tls"), RealRng(), "192.0.2.7")


@pytest.fixture
def service():
    return DictService()


@pytest.fixture
async def start(nursery, service, certificate):
    async def start_it(*peers, **options):
        serve = partial(
            serve_rpc, service, host="192.0.2.7", port=0, network=FarNetwork(*peers), certificate=certificate, **options
        )
        return await nursery.start(serve)

    yield start_it
    nursery.cancel_scope.cancel()
    while OPENED:
        await trio.aclose_forcefully(OPENED.pop())


def context(alpn=("engram/1",), version=ssl.TLSVersion.TLSv1_3):
    made = ssl.create_default_context()
    made.check_hostname, made.verify_mode = False, ssl.CERT_NONE
    made.minimum_version = made.maximum_version = version
    if alpn:
        made.set_alpn_protocols(list(alpn))
    return made


async def plain(server):
    OPENED.append(await trio.open_tcp_stream(*server.addresses[0]))
    return OPENED[-1]


async def connect(server, **options):
    stream = trio.SSLStream(await plain(server), context(**options), server_hostname="192.0.2.7")
    await stream.do_handshake()
    return Peer(stream)


async def introduced(peer, key=None, call_id=1):
    """Say hello; give the nonce and the answer."""
    nonce = os.urandom(32)
    hello = {"protocol": 1, "agent": "test", "nonce": nonce} | ({"node_key": key.public} if key else {})
    answer = await peer.call("hello", hello, call_id)
    assert answer[2] is None, answer
    return nonce, answer[3]


async def proved(peer, key):
    nonce, said = await introduced(peer, key)
    shown = peer.stream.getpeercert(binary_form=True)
    message = hello_message(0, nonce, said["nonce"], shown, key.public, said["node_key"])
    return await peer.call("prove", {"signature": key.sign(message)})


# -- callers --


async def test_what_the_node_signs_binds_the_certificate_that_it_has_shown(start, certificate):
    peer = await connect(await start())
    assert peer.stream.version() == "TLSv1.3"
    shown = peer.stream.getpeercert(binary_form=True)
    assert shown == certificate.der
    nonce, said = await introduced(peer)
    message = hello_message(1, nonce, said["nonce"], shown, said["node_key"], None)
    assert verify(said["node_key"], message, said["signature"])


async def test_nothing_goes_before_hello_and_the_connection_lives(start, service):
    peer = await connect(await start())
    for method, params in (("ping", {}), ("put", {"text": "a"}), ("prove", {"signature": b""})):
        assert (await peer.call(method, params))[2]["code"] == "hello_required"
    assert service.requests == []
    await introduced(peer)
    assert (await peer.call("ping", {}))[2] is None


async def test_the_service_hears_who_calls(start, service):
    server = await start()
    peer = await connect(server)
    await introduced(peer)
    await peer.call("status", {})
    answer = await proved(peer, KEY)
    assert answer[3] == {"node_key": KEY.public, "operator": False}
    await peer.call("status", {})
    own = await connect(server)
    assert (await proved(own, service.key))[3]["operator"] is True
    await own.call("status", {})
    assert service.callers == [ANONYMOUS, Caller(KEY.public), Caller(service.key.public, operator=True)]


async def test_a_call_has_the_caller_of_when_it_came(start, service):
    peer = await connect(await start())
    await introduced(peer)
    await peer.send([0, 7, "put", [{"text": "wait"}]])
    await wait_until(lambda: service.waiting == 1)
    await proved(peer, KEY)
    service.gate.set()
    assert (await peer.receive())[:3] == [1, 7, None]
    await peer.call("status", {})
    assert service.callers == [ANONYMOUS, Caller(KEY.public)]


async def test_a_call_in_one_packet_with_a_proof_has_the_caller_of_its_place(start, service):
    peer = await connect(await start())
    nonce, said = await introduced(peer, KEY)
    shown = peer.stream.getpeercert(binary_form=True)
    signature = KEY.sign(hello_message(0, nonce, said["nonce"], shown, KEY.public, said["node_key"]))
    await peer.send(
        [0, 1, "put", [{"text": "a"}]], [0, 2, "prove", [{"signature": signature}]], [0, 3, "put", [{"text": "b"}]]
    )
    assert sorted([(await peer.receive())[1] for _ in range(3)]) == [1, 2, 3]
    heard = {request.text: caller for request, caller in zip(service.requests, service.callers, strict=True)}
    assert heard == {"a": ANONYMOUS, "b": Caller(KEY.public)}


@pytest.mark.parametrize("near", ["127.0.0.1", "::1", "::ffff:127.0.0.1"])
async def test_this_machine_may_speak_plainly_and_stays_the_operator(start, service, near):
    server = await start(near, near)
    assert (await Peer(await plain(server)).call("status", {}))[2] is None
    encrypted = await connect(server)
    assert (await encrypted.call("status", {}))[2]["code"] == "hello_required"
    await introduced(encrypted)
    assert (await encrypted.call("status", {}))[2] is None
    assert service.callers == [OPERATOR, OPERATOR]


# -- who does not speak it --


async def test_who_speaks_plainly_from_elsewhere_is_told_so(start, service):
    peer = Peer(await plain(await start()))
    await peer.send([0, 1, "status", [{}]])
    kind, method, (told,) = await peer.receive()
    assert (kind, method, told["code"]) == (2, "error", "bad_request")
    assert "TLS 1.3" in told["message"]
    assert await peer.receive() is None
    assert service.requests == []


@pytest.mark.parametrize("alpn", [(), ("h2", "http/1.1")])
async def test_another_protocol_over_tls_is_told_so(start, alpn):
    peer = await connect(await start(), alpn=alpn)
    assert "engram/1" in (await peer.receive())[2][0]["message"]


async def test_older_tls_is_refused(start):
    with pytest.raises(trio.BrokenResourceError):
        await connect(await start(), version=ssl.TLSVersion.TLSv1_2)


@pytest.mark.parametrize(
    "data", [b"\x16", b"\x16" + os.urandom(5000), b"\x16\x03\x01\xff\xff" + bytes(70_000), b"\x16\x03\x01\0\0" * 5000]
)
async def test_a_broken_handshake_ends_that_connection_alone(nursery, start, data):
    del nursery
    server = await start(settings=RpcSettings(handshake_deadline_s=1.0))
    broken = await plain(server)
    with contextlib.suppress(trio.BrokenResourceError):
        await broken.send_all(data)
        with trio.fail_after(20):
            while await broken.receive_some():
                pass
    await introduced(await connect(server))


async def test_who_says_nothing_is_let_go(start):
    server = await start(settings=RpcSettings(handshake_deadline_s=1.0))
    silent = await plain(server)
    with trio.fail_after(20):
        with contextlib.suppress(trio.BrokenResourceError):
            assert await silent.receive_some() == b""
    await introduced(await connect(server))


async def test_those_who_dawdle_make_room_the_oldest_first(start):
    server = await start(settings=RpcSettings(handshakes=8, handshake_deadline_s=600))
    silent = [await plain(server) for _ in range(8)]
    await trio.testing.wait_all_tasks_blocked()
    with trio.fail_after(20):
        await introduced(await connect(server))
        with contextlib.suppress(trio.BrokenResourceError):
            assert await silent[0].receive_some() == b""
    with trio.move_on_after(0.1) as waited:
        await silent[-1].receive_some()
    assert waited.cancelled_caught


async def test_who_encrypts_and_says_no_hello_is_told_so_in_time(start):
    peer = await connect(await start(settings=RpcSettings(handshake_deadline_s=0.3)))
    with trio.fail_after(20):
        _, method, (told,) = await peer.receive()
    assert (method, told["code"]) == ("error", "deadline")
    assert "hello" in told["message"]


async def test_after_its_hello_a_client_may_be_silent_for_longer(start):
    peer = await connect(await start(settings=RpcSettings(handshake_deadline_s=0.3)))
    await introduced(peer)
    await trio.sleep(0.6)
    assert (await peer.call("status", {}, 2))[2] is None


async def test_a_stranger_that_is_idle_for_long_makes_room_for_the_next(start):
    server = await start(limits=Limits(connections=2), settings=RpcSettings(silence_deadline_s=0.2))
    idle, other = await connect(server), await connect(server)
    for peer in (idle, other):
        await introduced(peer)
    assert (await (await connect(server)).receive())[2][0]["code"] == "busy"
    await trio.sleep(0.4)
    assert (await other.call("status", {}, 2))[2] is None
    assert (await (await connect(server)).receive())[2][0]["code"] == "busy"
    with trio.fail_after(20):
        assert await idle.receive() is None
    await introduced(await connect(server))
    assert (await other.call("status", {}, 3))[2] is None


async def test_strangers_that_stay_leave_room_for_who_is_on_this_machine(start):
    server = await start(*["192.0.2.99"] * 8, "127.0.0.1", limits=Limits(connections=8))
    for _ in range(7):
        await introduced(await connect(server))
    assert (await (await connect(server)).receive())[2][0]["code"] == "busy"
    assert (await Peer(await plain(server)).call("status", {}))[2] is None


# -- ends --


async def test_over_the_limit_is_told_over_tls_too(start):
    server = await start(limits=Limits(connections=1))
    first = await connect(server)
    await introduced(first)
    second = await connect(server)
    assert (await second.receive())[2][0]["code"] == "busy"


async def test_a_connection_that_breaks_cancels_its_calls_over_tls_too(start, service):
    peer = await connect(await start())
    await introduced(peer)
    await peer.send([0, 1, "put", [{"text": "wait"}]])
    await wait_until(lambda: service.waiting == 1)
    reset(peer.stream.transport_stream)
    await wait_until(lambda: service.waiting == 0)
    assert service.records == {}


async def test_an_end_without_the_farewell_of_tls_may_be_a_cut_and_cancels(start, service):
    peer = await connect(await start())
    await introduced(peer)
    await peer.send([0, 1, "put", [{"text": "wait"}]])
    await wait_until(lambda: service.waiting == 1)
    await peer.stream.transport_stream.send_eof()
    await wait_until(lambda: service.waiting == 0)


def _half_closed(address):
    """Call, say the farewell of TLS, and give what is answered behind it."""
    with socket.create_connection(address) as sock:
        into, out = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context().wrap_bio(into, out, server_hostname="192.0.2.7")

        def pump(call, *args):
            while True:
                try:
                    done = call(*args)
                except ssl.SSLWantReadError:
                    sock.sendall(out.read())
                    into.write(sock.recv(65536))
                else:
                    sock.sendall(out.read())
                    return done

        pump(tls.do_handshake)
        pump(tls.write, pack([0, 1, "hello", [{"protocol": 1, "agent": "t", "nonce": bytes(32)}]]))
        pump(tls.read, 65536)
        pump(tls.write, pack([0, 2, "put", [{"text": "wait"}]]))
        with contextlib.suppress(ssl.SSLError):
            tls.unwrap()
        sock.sendall(out.read())
        return b"".join(iter(partial(sock.recv, 65536), b""))


async def test_the_farewell_of_tls_leaves_the_answers_their_way(start, service):
    server = await start()
    answered = []

    async def ask():
        answered.append(await trio.to_thread.run_sync(_half_closed, server.addresses[0]))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_until(lambda: service.waiting == 1)
        await trio.testing.wait_all_tasks_blocked()
        service.gate.set()
    assert len(answered[0]) > 100  # encrypted, and more than a farewell
    assert len(service.records) == 1


async def test_who_takes_no_farewell_does_not_hold_up_a_stop(service, certificate):
    async with trio.open_nursery() as own:
        serve = partial(
            serve_rpc, service, host="192.0.2.7", port=0, network=FarNetwork(), certificate=certificate,
            settings=RpcSettings(grace_s=5),
        )  # fmt: skip
        server = await own.start(serve)
        await introduced(await connect(server))
        dawdling = await plain(server)
        await wait_until(lambda: count_tasks(own) >= 3)
        with trio.fail_after(4):
            server.stop()
            await wait_until(lambda: count_tasks(own) == 0)
        assert await dawdling.receive_some() == b""
        while OPENED:
            await trio.aclose_forcefully(OPENED.pop())


# -- certificates --


async def test_no_certificate_no_door(service):
    with pytest.raises(Unprocessable, match="with a certificate only") as refused:
        await serve_rpc(service, host="192.0.2.7", port=0, network=FarNetwork())
    assert refused.value.field == "host"
