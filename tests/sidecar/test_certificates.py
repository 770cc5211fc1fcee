"""Certificates in files as people and machines write them."""

import base64
import codecs
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_sidecar.files import LARGEST_FILE_BYTES
from rolesanywhere_sidecar.identities import der, pem
from rolesanywhere_sidecar.identities.certificates import (
    MOST_LISTED,
    InvalidIdentity,
    holds_certificates,
    listed,
    read_certificates,
)
from rolesanywhere_sidecar.identities.keys import open_key
from tests.fakes.pki import LEAF as LEAF_TEMPLATE
from tests.fakes.pki import Authority

WHERE = "/identity/tls.crt"
NOW = datetime(2026, 3, 14, tzinfo=UTC)
UPPER = Authority.root(at=NOW).intermediate("Upper", at=NOW)
LEAF = UPPER.leaf("leaf", at=NOW)
BUNDLE = LEAF.key_pem() + LEAF.certificate_pem + LEAF.chain_pem
EVERYTHING = (LEAF.certificate, *LEAF.chain)


@pytest.mark.parametrize(
    "content",
    [
        BUNDLE,
        BUNDLE.replace(b"\n", b"\r\n"),
        codecs.BOM_UTF8 + BUNDLE,
        BUNDLE.decode().encode("utf-16"),
        b"# from the vault\nBag Attributes\n    friendlyName: leaf\n" + BUNDLE,
        BUNDLE.replace(b"CERTIFICATE-----", b"X509 CERTIFICATE-----"),
        BUNDLE.replace(b"-----\n-----", b"-----\n\nsubject=CN=x\n\n-----"),
        BUNDLE.replace(b"\n-----END", b"\n\n-----END").replace(b"=\n", b"= \n"),
    ],
    ids=["plain", "CRLF", "BOM", "UTF-16", "comments", "X509", "text between", "blanks"],
)
def test_a_bundle_is_read_whatever_wrote_it(content: bytes) -> None:
    """As a PodCertificate's: first the key, then leaf and intermediates."""
    assert read_certificates(content, where=WHERE) == EVERYTHING
    assert open_key(WHERE, content).public_key == LEAF.key.public_key()


def test_a_serial_number_that_no_authority_may_give_is_read_without_a_word() -> None:
    """The library warns of it on standard error, in its own words; here a warning is an error."""
    one = UPPER.leaf("leaf", at=NOW, template=replace(LEAF_TEMPLATE, serial=1)).der
    version_and_serial = b"\xa0\x03\x02\x01\x02\x02\x01"
    zero = one.replace(version_and_serial + b"\x01", version_and_serial + b"\x00")
    assert len(read_certificates(zero, where=WHERE)) == 1


def test_der_is_read() -> None:
    assert read_certificates(LEAF.der, where=WHERE) == (LEAF.certificate,)


def test_a_trusted_certificate_of_openssl_is_read_without_its_notes() -> None:
    content = (Path(__file__).parent / "keyfiles" / "trusted.crt").read_bytes()
    assert b"BEGIN TRUSTED CERTIFICATE" in content
    [found] = read_certificates(content, where=WHERE)
    assert found.subject.rfc4514_string() == "CN=legacy"


def test_what_is_given_twice_is_read_twice_and_told_apart_later() -> None:
    assert read_certificates(BUNDLE + BUNDLE, where=WHERE) == EVERYTHING * 2


@pytest.mark.parametrize(
    "content",
    [
        LEAF.der[:-1],
        LEAF.der + b"\0",
        BUNDLE[:-30],
        BUNDLE.replace(b"-----END CERTIFICATE-----", b"-----END CERTIFICATE", 1),
        b"-----BEGIN CERTIFICATE-----\nMIIB!!\n-----END CERTIFICATE-----\n",
        b"-----BEGIN TRUSTED CERTIFICATE-----\n\n-----END TRUSTED CERTIFICATE-----\n",
    ],
    ids=["short DER", "long DER", "cut", "no END", "not base64", "empty"],
)
def test_a_damaged_certificate_is_never_left_out_without_a_word(content: bytes) -> None:
    with pytest.raises(InvalidIdentity, match="holds a certificate that cannot be read"):
        read_certificates(content, where=WHERE)


@pytest.mark.parametrize(
    ("content", "does"),
    [(BUNDLE, True), (LEAF.der, True), (LEAF.key_pem(), False), (b"a note", False), (b"", False)],
)
def test_a_file_is_known_to_hold_certificates(content: bytes, does: bool) -> None:
    assert holds_certificates(content) is does


def test_many_certificates_are_not_all_listed() -> None:
    text = listed([LEAF.certificate] * (MOST_LISTED + 3))
    assert text.count("CN=leaf") == MOST_LISTED
    assert text.endswith(", and 3 more")


@settings(deadline=None)
@given(st.data())
def test_a_mutated_bundle_is_read_or_refused(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([BUNDLE, LEAF.der, BUNDLE + LEAF.der])))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content)))
        content[place : place + data.draw(st.integers(0, 20))] = data.draw(st.binary(max_size=20))
    _either(bytes(content))


@settings(deadline=None)
@given(st.binary(max_size=300) | st.binary(max_size=100).map(lambda tail: b"0\x82\x01\x00" + tail))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    _either(content)
    wrapped = base64.encodebytes(content)
    _either(b"-----BEGIN CERTIFICATE-----\n" + wrapped + b"-----END CERTIFICATE-----\n")
    _either(
        b"-----BEGIN TRUSTED CERTIFICATE-----\n" + wrapped + b"-----END TRUSTED CERTIFICATE-----"
    )


def _either(content: bytes) -> None:
    problem: RolesAnywhereError | None = None
    try:
        assert read_certificates(content, where=WHERE)
    except RolesAnywhereError as refused:
        problem = refused
    assert problem is None or (WHERE in str(problem) and problem.__cause__ is None)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_der_is_parsed_or_malformed(data: bytes) -> None:
    der.looks_like_one(data)
    try:
        element = der.parse(data)
    except der.Malformed:
        return
    assert der.leading(data) == data
    for ask in (element.children, element.number, element.octets):
        try:
            ask()
        except der.Malformed:
            continue


@settings(deadline=None)
@given(st.binary(max_size=200) | st.text(max_size=80).map(lambda text: text.encode("utf-16")))
def test_every_pem_block_is_part_of_its_file(content: bytes) -> None:
    sealed = b"-----BEGIN A-----\n" + base64.encodebytes(content) + b"-----END A-----"
    assert [block.decoded() for block in pem.blocks(content + sealed)][-1:] == [content] or (
        content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    )


@pytest.mark.parametrize("kind", ["CERTIFICATE", "PRIVATE KEY"])
def test_a_file_of_beginnings_is_refused_at_once(kind: str) -> None:
    """As large as a file may be: nothing else runs while it is looked at."""
    content = f"-----BEGIN {kind}-----\n".encode() * (LARGEST_FILE_BYTES // 32)
    begun = time.process_time()
    with pytest.raises(RolesAnywhereError):
        read_certificates(content, where=WHERE)
    with pytest.raises(RolesAnywhereError):
        open_key(WHERE, content)
    assert time.process_time() - begun < 2


def test_a_key_is_found_behind_what_never_ends() -> None:
    content = b"-----BEGIN CERTIFICATE-----\nMIIB\n" + LEAF.key_pem()
    assert open_key(WHERE, content).public_key == LEAF.key.public_key()
    with pytest.raises(InvalidIdentity, match="cannot be read"):
        read_certificates(content + LEAF.certificate_pem, where=WHERE)


def test_a_sequence_of_very_many_parts_is_refused_at_once() -> None:
    parts = b"\x05\x00" * (LARGEST_FILE_BYTES // 2 - 4)
    content = b"\x30\x83" + len(parts).to_bytes(3, "big") + parts
    begun = time.process_time()
    with pytest.raises(RolesAnywhereError):
        open_key(WHERE, content)
    assert len(der.parse(content).children()) == der.MOST_CHILDREN
    assert len(der.parse(content).children(1 << 30)) == len(parts) // 2
    assert time.process_time() - begun < 5


def test_indefinite_lengths_are_read_but_not_for_ever() -> None:
    assert der.parse(b"\x30\x80\x05\x00\x00\x00").children() == (der.Element(5, b""),)
    for endless in (b"\x30\x80" * 500_000, b"\x30\x80" * 500 + bytes(1000), b"\x30\x80\x05"):
        with pytest.raises(der.Malformed):
            der.parse(endless)
