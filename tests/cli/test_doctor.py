"""What `engram-node doctor` sees of the machine: another `engram`, a far disk, a clock that went back."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from engram.cli import _doctor_disk as disk
from engram.cli import _doctor_net as net
from engram.cli import _doctor_python as python
from engram.identity import NodeKey
from engram.node import ChallengeSpec, Config


@pytest.fixture
def config(tmp_path):
    return msgspec.structs.replace(Config(), data_dir=tmp_path / "data")


@pytest.fixture
def path(tmp_path, monkeypatch):
    """Have Python look for packages in one folder alone, and stand in an empty one."""
    (tmp_path / "site").mkdir()
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setattr(python.sys, "path", [str(tmp_path / "site")])
    return tmp_path / "site"


def installed(site, name, **files):
    """Lay a distribution down as an installer would."""
    info = site / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    for file, text in files.items():
        (info / file.replace("_txt", ".txt")).write_text(text)


def test_an_engram_of_our_own_alone_is_well(config, path):
    installed(path, "engram-node", RECORD="engram/__init__.py,,\n")
    installed(path, "other", RECORD="other/engram/__init__.py,,\nother.py,,\n")
    installed(path, "notes", top_level_txt="notes\nengrams\n")
    assert python.check_package(config).state == "ok"


@pytest.mark.parametrize(
    "files",
    [{"RECORD": "engram/__init__.py,,\nengram/x.py,,\n"}, {"RECORD": "engram.py,,\n"}, {"top_level_txt": "engram\n"}],
)
def test_another_distribution_that_owns_the_package_is_named(config, path, files):
    installed(path, "engram-subnet", **files)
    check = python.check_package(config)
    assert check.state == "fail"
    assert check.found.startswith("engram-subnet also installs a package `engram`")
    assert "pip uninstall engram-subnet" in check.advice


@pytest.mark.parametrize("shadow", ["engram.py", "engram/__init__.py"])
def test_a_folder_in_the_way_is_named(config, path, tmp_path, shadow):
    (tmp_path / "here" / "engram").mkdir()  # alone it hides nothing
    assert python.check_package(config).state == "ok"
    file = tmp_path / "here" / shadow
    file.touch()
    check = python.check_package(config)
    assert check.state == "warn"
    assert str(tmp_path / "here" / shadow.removesuffix("/__init__.py")) in check.found


def test_variables_that_count_are_listed_and_a_misspelt_one_is_told(config):
    assert python.check_environment(config, {"ENGRAM_NODE": "x", "HOME": "/", "ENGRAM_PORT": ""}) is None
    assert python.check_environment(config, {"ENGRAM_PORT": "1"}).found == "over node.toml: ENGRAM_PORT"
    check = python.check_environment(config, {"ENGRAM_PROT": "1"})
    assert (check.state, check.advice) == ("warn", "did you mean ENGRAM_PORT?")


MOUNTS = """\
40 22 0:35 / {place}/far\\040away rw,relatime shared:20 - nfs4 server:/export rw,vers=4.2
41 22 0:36 / {place}/memory rw - tmpfs tmpfs rw
42 22 0:37 / {place}/farther rw - ext4 /dev/sdb1 rw
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
"""


@pytest.mark.parametrize(
    ("folder", "state", "found"),
    [
        ("near", "ok", "ext4"),
        ("far away/data", "warn", "nfs4, over a network"),
        ("memory", "warn", "tmpfs, in memory"),
        ("farther", "ok", "ext4"),
    ],
)
def test_the_file_system_is_judged_by_its_kind(tmp_path, monkeypatch, folder, state, found):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(place=tmp_path))
    monkeypatch.setattr(disk, "_MOUNTS", mounts)
    (tmp_path / folder).mkdir(parents=True)
    check = disk.check_file_system(Config(data_dir=tmp_path / folder / "not yet"))
    assert (check.state, check.found) == (state, found)


def test_a_platform_that_does_not_tell_is_not_judged(config, monkeypatch, tmp_path):
    monkeypatch.setattr(disk, "_MOUNTS", tmp_path / "none")
    assert disk.check_file_system(config) is None


def test_a_clock_behind_the_log_is_told(config):
    assert disk.check_clock(config).state == "ok"
    log = config.data_dir / "events" / "0.log"
    log.parent.mkdir(parents=True)
    log.touch()
    assert disk.check_clock(config).state == "ok"
    ahead = time.time() + 7200
    os.utime(log, (ahead, ahead))
    check = disk.check_clock(config)
    assert check.state == "warn"
    assert "behind the log's last write" in check.found


def test_a_clock_that_stands_before_engram_fails(config, monkeypatch):
    monkeypatch.setattr(disk.time, "time", lambda: 0.0)
    assert disk.check_clock(config).state == "fail"


def certificate(folder, days, name="tls"):
    """Write a certificate that runs out in so many days, and its key; give the files."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "node")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=90))
        .not_valid_after(now + timedelta(days=days))
        .sign(key, hashes.SHA256())
    )
    files = folder / f"{name}.crt", folder / f"{name}.key"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    secret = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8)
    files[1].write_bytes(key.private_bytes(*secret, serialization.NoEncryption()))
    files[1].chmod(0o600)
    locked = folder / f"{name}.locked"
    locked.write_bytes(key.private_bytes(*secret, serialization.BestAvailableEncryption(b"secret")))
    return files


@pytest.mark.parametrize(("days", "state"), [(365, "ok"), (5, "warn"), (-1, "fail")])
def test_a_certificate_is_judged_by_its_end(tmp_path, days, state):
    cert, key = certificate(tmp_path, days)
    assert net.check_tls(Config(tls_cert=cert, tls_key=key)).state == state


def test_a_certificate_that_will_not_do_says_what_to_do(tmp_path):
    cert, key = certificate(tmp_path, 365)
    _, other = certificate(tmp_path, 365, "other")
    assert net.check_tls(Config()) is None
    for pair in (
        (cert, other),
        (cert, tmp_path / "tls.locked"),
        (key, key),
        (cert, tmp_path / "none"),
        (tmp_path, key),
    ):
        check = net.check_tls(Config(tls_cert=pair[0], tls_key=pair[1]))
        assert check.state == "fail"
        assert "tls_cert" in check.advice
    key.chmod(0o644)
    check = net.check_tls(Config(tls_cert=cert, tls_key=key))
    assert (check.state, check.advice) == ("warn", f"chmod 600 {key}")


def test_who_challenges_whom_is_said():
    alice = NodeKey(bytes([1]) * 32).address
    assert net.check_challenges(Config()) is None
    check = net.check_challenges(
        Config(challengers=(alice,), challenge=ChallengeSpec(nodes=("engram://10.0.0.2:8090",), every_s=600))
    )
    assert check.state == "ok"
    assert alice in check.found
    assert "challenges engram://10.0.0.2:8090 every 10 min 0 s, 64 records each" in check.found
