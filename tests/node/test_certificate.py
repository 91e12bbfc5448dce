"""The certificate of a node off loopback: made once and kept, or the operator's; and the node behind it."""

import struct
from functools import partial

import msgspec
import pytest
import trio
from far_network import FarNetwork
from gateway.test_tls import connect, introduced, proved

from engram.errors import EngramError, FolderRefused, Unprocessable
from engram.gateway import Serving, read_certificate
from engram.identity import NodeKey
from engram.node import Config, main, real_world
from engram.node._certificate import certificate_of
from engram.runtime import RealDisk, RealRng

VECTOR = struct.pack("<384f", *[0.5] * 384)


@pytest.fixture
def make(tmp_path):
    return partial(certificate_of, None, RealDisk(), tmp_path, RealRng(), "192.0.2.7")


@pytest.fixture
def certificate(make):
    return make()


def test_it_is_made_once_and_kept_and_its_key_is_private(make, tmp_path):
    first = make()
    assert (tmp_path / "keys" / "tls.key").stat().st_mode & 0o777 == 0o600
    assert make() == first
    assert sorted(path.name for path in (tmp_path / "keys").iterdir()) == ["tls.crt", "tls.key"]


def test_what_it_says_of_itself(certificate):
    from cryptography import x509

    read = x509.load_der_x509_certificate(certificate.der)
    names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["localhost", "127.0.0.1", "::1", "192.0.2.7"]
    assert read.not_valid_after_utc.year == 9999
    read.verify_directly_issued_by(read)


def test_one_that_is_cut_short_is_made_to_its_end(make, tmp_path):
    first = make()
    key = (tmp_path / "keys" / "tls.key").read_bytes()
    (tmp_path / "keys" / "tls.crt").unlink()
    again = make()
    assert again.der != first.der
    assert (tmp_path / "keys" / "tls.key").read_bytes() == key
    (tmp_path / "keys" / "tls.key").unlink()
    (tmp_path / "keys" / "tls.key.new").write_bytes(b"half")
    assert make().der != again.der
    assert (tmp_path / "keys" / "tls.key").stat().st_mode & 0o777 == 0o600


def test_a_damaged_key_of_its_own_is_named(make, tmp_path):
    make()
    (tmp_path / "keys" / "tls.key").write_bytes(b"damaged")
    with pytest.raises(Unprocessable, match=r"keys/tls\.key: it and"):
        make()
    (tmp_path / "keys" / "tls.crt").unlink()
    with pytest.raises(FolderRefused, match=r"keys/tls\.key is not the key that a node makes; remove it"):
        make()


def test_files_that_will_not_do_are_named_with_the_reason(tmp_path, certificate):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    def pem(protection):
        key = ec.generate_private_key(ec.SECP256R1())
        return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, protection)

    good, key = certificate.certificate_file, certificate.key_file
    other, locked, empty, damaged = (tmp_path / name for name in ("other", "locked", "empty", "damaged"))
    other.write_bytes(pem(serialization.NoEncryption()))
    locked.write_bytes(pem(serialization.BestAvailableEncryption(b"secret")))
    empty.write_bytes(b"")
    damaged.write_bytes(good.read_bytes()[:200] + b"\n-----END CERTIFICATE-----\n")
    for certificate_file, key_file, field, says in (
        (tmp_path / "none", key, "tls_cert", "none: cannot be read: No such file"),
        (good, tmp_path / "none", "tls_key", "none: cannot be read: No such file"),
        (tmp_path, key, "tls_cert", "cannot be read: Is a directory"),
        (empty, key, "tls_cert", "empty: there is no PEM certificate in it"),
        (damaged, key, "tls_cert", "damaged"),
        (good, empty, "tls_key", "empty: it and"),
        (good, other, "tls_key", f"other: it is not the key of {good}"),
        (good, locked, "tls_key", "locked: it has a passphrase"),
    ):
        with pytest.raises(Unprocessable, match=says) as refused:
            read_certificate(certificate_file, key_file)
        assert refused.value.field == field, refused.value


class _Telling:
    """Hears what a node says of itself, and gives where it listens."""

    def __init__(self):
        self.listening = trio.Event()
        self.server = None

    def __call__(self, event, facts):
        if event == "listening":
            host, _, port = facts["url"].removeprefix("engram://").rpartition(":")
            self.server = Serving([(host, int(port))], "engram")
            self.listening.set()


async def test_a_node_off_loopback_knows_its_callers_by_their_keys(tmp_path, nursery):
    world = msgspec.structs.replace(real_world(), network=FarNetwork())
    config = Config(data_dir=tmp_path / "data", host="192.0.2.7", port=0, http_port=0)
    stop, told = trio.Event(), _Telling()
    nursery.start_soon(main, config, world, told, stop)
    with trio.fail_after(60):
        await told.listening.wait()
        anonymous, user, operator = [await connect(told.server) for _ in range(3)]
        shown = anonymous.stream.getpeercert(binary_form=True)
        assert shown == read_certificate(tmp_path / "data/keys/tls.crt", tmp_path / "data/keys/tls.key").der
        await introduced(anonymous)
        seed = (tmp_path / "data" / "keys" / "node.key").read_bytes()
        assert (await proved(user, NodeKey(b"\x11" * 32)))[3]["operator"] is False
        assert (await proved(operator, NodeKey(seed)))[3]["operator"] is True
        put = {"vector": VECTOR, "metadata": {"said": "by all who may"}}
        refused = (await anonymous.call("put", put))[2]
        assert refused["code"] == "unauthenticated"
        kept = (await user.call("put", put))[3]
        found = (await anonymous.call("query", {"vector": VECTOR}))[3]
        assert [hit["cid"] for hit in found["hits"]] == [kept["cid"]]
        assert (await user.call("actors", {}))[2]["code"] == "forbidden"
        assert (await operator.call("actors", {}))[2] is None
        for peer in (anonymous, user, operator):
            await trio.aclose_forcefully(peer.stream)
        stop.set()


async def test_files_of_the_operators_that_will_not_do_end_the_start(tmp_path):
    world = msgspec.structs.replace(real_world(), network=FarNetwork())
    config = Config(data_dir=tmp_path / "data", host="192.0.2.7", tls_cert=tmp_path / "a", tls_key=tmp_path / "b")
    with pytest.raises(EngramError, match=r"tls_cert .*a: cannot be read: No such file"):
        await main(config, world, lambda *_: None, trio.Event())
