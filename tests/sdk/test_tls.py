"""TLS to a node: whose certificate and key a client takes, and what it proves of its own."""

import datetime as dt
import ipaddress
import socket
import ssl
import threading
from functools import partial

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from doors import Node
from far_network import ELSEWHERE, FarNetwork

from engram.errors import BadRequest, Unauthenticated, Unavailable
from engram.gateway import read_certificate, serve_rpc
from engram.identity import OPERATOR, Caller, NodeKey
from engram.sdk import EngramClient

NODE = NodeKey(b"\7" * 32)
MINE = b"\11" * 32


def certify(folder, name):
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    today = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(today - dt.timedelta(days=1))
        .not_valid_after(today + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / f"{name}.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return read_certificate(folder / f"{name}.pem", folder / f"{name}.key")


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return certify(tmp_path_factory.mktemp("tls"), "node")


class FarNode(Node):
    """A door that speaks TLS, as one does that listens on another host's address."""

    def __init__(self, certificate):
        self._certificate = certificate
        super().__init__()

    async def _main(self, ready):
        self._token = trio.lowlevel.current_trio_token()
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            serve = partial(
                serve_rpc, self.service, host=ELSEWHERE, port=self.port, network=FarNetwork(),
                certificate=self._certificate,
            )  # fmt: skip
            server = await nursery.start(serve)
            self.port = server.addresses[0][1]
            ready.set()


@pytest.fixture
def far(certificate):
    node = FarNode(certificate)
    yield node
    node.stop()


def test_a_node_whose_key_is_known_needs_no_authority(connect, far):
    client = connect(far.url, 20, node_key=NODE.address, tls=True)
    text = "x" * 300_000
    cid = client.ingest(text)
    assert client.get(cid).text == text
    assert client.is_online()


def test_a_certificate_that_the_given_authorities_vouch_for_is_enough(connect, far, certificate):
    client = connect(far.url, 20, tls=True, ca=certificate.certificate_file)
    assert client.status().role == "miner"


def test_a_stranger_is_refused_with_what_to_do(connect, far):
    client = connect(far.url, 20, tls=True)
    with pytest.raises(Unauthenticated, match=r"give node_key=.*or ca="):
        client.status()
    assert far.service.requests == []


def test_a_node_with_another_key_is_refused(connect, far):
    client = connect(far.url, 20, tls=True, node_key=NodeKey(MINE).address)
    with pytest.raises(Unauthenticated, match=NODE.address) as refused:
        client.ingest("a")
    assert refused.value.field == "node_key"
    assert far.service.requests == []


def test_who_stands_between_is_found_out(connect, far, tmp_path):
    """It passes every byte on, with a certificate of its own: the node's signature is over another one."""
    between = certify(tmp_path, "between")
    with Between(between, far.port) as port:
        client = connect(f"engram://127.0.0.1:{port}", 20, tls=True, node_key=NODE.address)
        with pytest.raises(Unauthenticated, match="signature in hello"):
            client.ingest("a")
        client.close()
    assert far.service.requests == []


def test_a_caller_proves_its_key(connect, far):
    client = connect(far.url, 20, tls=True, node_key=NODE.address, key=MINE)
    client.ingest("a")
    assert far.service.callers == [Caller(NodeKey(MINE).public, operator=False)]


def test_a_caller_may_prove_its_key_on_loopback(connect, node):
    connect(node.url, 20, key=NodeKey(MINE)).ingest("a")
    connect(node.url, 20).ingest("a")
    assert node.service.callers == [Caller(NodeKey(MINE).public, operator=False), OPERATOR]


def test_a_node_on_loopback_has_its_key_checked_too(connect, node):
    assert connect(node.url, 20, node_key=NODE.address).is_online()
    with pytest.raises(Unauthenticated):
        connect(node.url, 20, node_key=NodeKey(MINE).address).status()


def test_plain_where_tls_is_spoken_and_tls_where_it_is_not(connect, node):
    with pytest.raises(Unavailable, match=r"does not speak TLS 1\.3"):
        connect(node.url, 20, tls=True, node_key=NODE.address).status()


def test_a_server_that_is_no_node_is_told_by_its_protocol(connect, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate_file, certificate.key_file)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            stream, _ = server.accept()
            with context.wrap_socket(stream, server_side=True) as secured:
                secured.recv(1)

        serving = threading.Thread(target=serve)
        serving.start()
        client = connect(f"engram://127.0.0.1:{server.getsockname()[1]}", 20, tls=True, node_key=NODE.address)
        with pytest.raises(Unavailable, match="not engram/1"):
            client.status()
        serving.join(20)


def test_a_server_that_never_shakes_hands_is_given_up_in_time(connect):
    with socket.create_server(("127.0.0.1", 0)) as server:
        client = connect(f"engram://127.0.0.1:{server.getsockname()[1]}", 0.2, tls=True, node_key=NODE.address)
        with pytest.raises(Exception, match=r"in 0\.2 s"):
            client.status()


def test_what_openssl_locks_is_made_before_there_are_threads_to_fork_beside(connect, far, monkeypatch):
    client = connect(far.url, 20, tls=True, node_key=NODE.address)
    monkeypatch.setattr(ssl, "SSLContext", None)
    assert client.is_online()


@pytest.mark.parametrize("url", ["engram://node.example", "https://node.example"])
def test_a_file_that_holds_no_certificates_is_refused_at_once(url, tmp_path):
    (tmp_path / "ca.pem").write_text("nothing")
    with pytest.raises(BadRequest, match=r"ca: .*ca\.pem is no PEM file of certificates") as refused:
        EngramClient(url, ca=tmp_path / "ca.pem")
    assert refused.value.field == "ca"


def test_calls_and_batches_go_on_after_the_node_was_restarted(connect, far):
    client = connect(far.url, 20, node_key=NODE.address, tls=True)
    first = client.ingest("a")
    far.stop()
    far.start()
    assert client.get(first).text == "a"
    assert len(set(client.ingest_many(f"text {n}" for n in range(500)))) == 500


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"node_key": "5F…"}, "node_key"),
        ({"node_key": 5}, "node_key"),
        ({"key": b"short"}, "key"),
        ({"key": "a seed"}, "key"),
        ({"tls": 1}, "tls"),
        ({"verify": False}, "verify"),
        ({"ca": "/no/such/file"}, "ca"),
        ({"ca": 5}, "ca"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": float("nan")}, "timeout"),
        ({"timeout": "1"}, "timeout"),
        ({"netuid": 42}, "netuid"),
        ({"namespace": "n"}, "namespace"),
        ({"namespace_key": "secret"}, "namespace_key"),
        ({"keypair": object()}, "keypair"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_an_option_that_will_not_do_is_refused_at_once(options, field):
    with pytest.raises(BadRequest) as refused:
        EngramClient("engram://127.0.0.1:1", **options)
    assert refused.value.field == field
    assert "secret" not in refused.value.message


@pytest.mark.parametrize("options", [{"node_key": NODE.address}, {"key": MINE}, {"tls": True}])
def test_options_of_rpc_are_refused_over_http(options):
    with pytest.raises(BadRequest, match="of engram:// alone"):
        EngramClient("http://127.0.0.1:1", **options)


def test_no_secret_is_shown():
    client = EngramClient(key=MINE)
    assert repr(client) == "EngramClient('engram://127.0.0.1:8090')"
    assert repr(MINE) not in repr(vars(client)["_calls"])


class Between:
    """Shows a certificate of its own, and passes on what both sides say, decrypted."""

    def __init__(self, certificate, port):
        self._inside = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._inside.set_alpn_protocols(["engram/1"])
        self._inside.load_cert_chain(certificate.certificate_file, certificate.key_file)
        self._outside = ssl.create_default_context()
        self._outside.check_hostname, self._outside.verify_mode = False, ssl.CERT_NONE
        self._outside.set_alpn_protocols(["engram/1"])
        self._port = port

    def __enter__(self):
        self._server = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._pass_on)
        self._thread.start()
        return self._server.getsockname()[1]

    def _pass_on(self):
        stream, _ = self._server.accept()
        with (
            self._inside.wrap_socket(stream, server_side=True) as inner,
            self._outside.wrap_socket(socket.create_connection(("127.0.0.1", self._port))) as outer,
        ):
            outer.sendall(inner.recv(65536))
            inner.sendall(outer.recv(65536))
            inner.recv(1)

    def __exit__(self, *_):
        self._thread.join(20)
        self._server.close()
