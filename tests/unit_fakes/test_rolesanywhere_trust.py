"""The pretended Roles Anywhere trusts a good chain to the anchor, and no other."""

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from tests.fakes import crooked, pki, trust
from tests.fakes.pki import AUTHORITY, LEAF, Authority, Identity, Template, named
from tests.fakes.rolesanywhere import serial_in_hex
from tests.fakes.scene import NOW, Scene, a_scene, trusting
from tests.fakes.world import TRUST_ANCHOR_ARN, TrustAnchor

SCENE = a_scene()
UNTRUSTED = (403, "AccessDeniedException", "Untrusted Signing Certificate")


def asked_by(identity: Identity, scene: Scene = SCENE) -> Scene:
    return scene.as_(identity)


def refused(scene: Scene) -> tuple[int, str, str]:
    return scene.refusal(scene.request())


def a_leaf(**changes: object) -> Scene:
    """The usual scene with a leaf that differs from a good one by ``changes``."""
    template = replace(LEAF, **changes)  # type: ignore[arg-type]  # fields by name
    return asked_by(SCENE.root.leaf(at=NOW, template=template))


def below(template: Template, *, levels: int = 1) -> Scene:
    """A leaf under ``levels`` intermediates of which the topmost is made by ``template``."""
    authority = SCENE.root.intermediate("Level 1", at=NOW, template=template)
    for level in range(2, levels + 1):
        authority = authority.intermediate(f"Level {level}", at=NOW)
    return asked_by(authority.leaf(at=NOW))


@pytest.mark.parametrize("levels", [1, 2, 5])
def test_a_chain_of_intermediates_leads_to_the_anchor(levels: int) -> None:
    scene = below(AUTHORITY, levels=levels)
    scene.granted(scene.request())


def test_the_order_of_the_chain_does_not_matter() -> None:
    identity = below(AUTHORITY, levels=3).identity
    scene = asked_by(replace(identity, chain=identity.chain[::-1]))
    scene.granted(scene.request())


def test_the_leaf_and_the_root_may_be_in_the_chain_too() -> None:
    identity = below(AUTHORITY).identity
    chain = (identity.certificate, *identity.chain, SCENE.root.certificate)
    scene = asked_by(replace(identity, chain=chain))
    scene.granted(scene.request())


def test_an_intermediate_can_be_the_anchor() -> None:
    middle = SCENE.root.intermediate(at=NOW)
    scene = asked_by(replace(middle.leaf(at=NOW), chain=()))
    scene = scene.within(trusting(scene.world, middle.certificate))
    scene.granted(scene.request())


def test_an_anchor_may_be_a_bundle() -> None:
    other = Authority.root("Other", at=NOW)
    scene = SCENE.within(trusting(SCENE.world, other.certificate, SCENE.root.certificate))
    scene.granted(scene.request())


def test_a_chain_without_its_intermediate_is_untrusted() -> None:
    identity = below(AUTHORITY).identity
    assert refused(asked_by(replace(identity, chain=()))) == UNTRUSTED


def test_a_leaf_of_another_authority_is_untrusted() -> None:
    assert refused(asked_by(Authority.root("Other", at=NOW).leaf(at=NOW))) == UNTRUSTED


def test_an_authority_of_the_same_name_is_not_the_anchor() -> None:
    assert refused(asked_by(Authority.root("Test Root", at=NOW).leaf(at=NOW))) == UNTRUSTED


def test_a_root_of_ones_own_in_the_chain_does_not_help() -> None:
    mine = Authority.root("Mine", at=NOW)
    assert refused(asked_by(replace(mine.leaf(at=NOW), chain=(mine.certificate,)))) == UNTRUSTED


def test_the_issuers_name_must_be_the_anchors() -> None:
    assert refused(a_leaf(issuer=named("Somebody else"))) == UNTRUSTED


def test_another_leaf_is_no_issuer() -> None:
    """A workload may not vouch for others, though its key can sign."""
    good = SCENE.identity
    forger = Authority(good.key, good.certificate, (good.certificate,))
    forged = forger.leaf("forged", at=NOW)
    assert refused(asked_by(replace(forged, chain=(good.certificate,)))) == UNTRUSTED


@pytest.mark.parametrize(
    "template",
    [
        replace(AUTHORITY, ca=False),
        replace(AUTHORITY, ca=None),
        replace(AUTHORITY, usage=frozenset({"crl_sign"})),
        replace(AUTHORITY, usage=None),
        replace(AUTHORITY, starts=timedelta(minutes=1)),
        replace(AUTHORITY, lives=timedelta(minutes=59)),
        replace(AUTHORITY, hash=hashes.SHA224()),
    ],
    ids=["CA:false", "no constraints", "no keyCertSign", "no usage", "early", "late", "SHA-224"],
)
def test_a_bad_intermediate_breaks_the_chain(template: Template) -> None:
    assert refused(below(template)) == UNTRUSTED


def test_a_good_intermediate_is_found_beside_a_bad_one_of_the_same_key() -> None:
    """Cross-signing and renewal leave two certificates for one authority."""
    middle = SCENE.root.intermediate(at=NOW)
    expired = replace(AUTHORITY, lives=timedelta(minutes=1))
    old = pki.issue(
        expired, middle.certificate.subject, middle.key,
        issuer=SCENE.root.certificate.subject, signer=SCENE.root.key, at=NOW,
    )  # fmt: skip
    identity = middle.leaf(at=NOW)
    scene = asked_by(replace(identity, chain=(old, *identity.chain)))
    scene.granted(scene.request())


def test_path_length_is_obeyed() -> None:
    flat = replace(AUTHORITY, path_length=0)
    scene = below(flat)
    scene.granted(scene.request())
    assert refused(below(flat, levels=2)) == UNTRUSTED


def test_chains_are_bounded() -> None:
    assert refused(below(AUTHORITY, levels=trust.MAX_ISSUERS + 1)) == UNTRUSTED


@pytest.mark.parametrize(
    "template",
    [replace(AUTHORITY, lives=timedelta(minutes=59)), replace(AUTHORITY, ca=False)],
    ids=["expired", "CA:false"],
)
def test_a_bad_anchor_vouches_for_nobody(template: Template) -> None:
    root = Authority.root(at=NOW, template=template)
    scene = Scene(root, root.leaf(at=NOW), trusting(SCENE.world, root.certificate))
    assert refused(scene) == UNTRUSTED


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"ca": True}, "CA:false"),
        ({"ca": None}, "CA:false"),
        ({"usage": frozenset({"key_encipherment"})}, "digitalSignature"),
        ({"usage": None}, "digitalSignature"),
        ({"starts": timedelta(minutes=1)}, "not valid yet"),
        ({"lives": timedelta(minutes=59)}, "has expired"),
        ({"hash": hashes.SHA224()}, "SHA-256 or stronger"),
    ],
    ids=["CA:true", "no constraints", "no signing", "no usage", "early", "late", "SHA-224"],
)
def test_a_leaf_unfit_to_authenticate_is_refused(changes: dict[str, object], words: str) -> None:
    status, code, message = refused(a_leaf(**changes))
    assert (status, code) == (403, "AccessDeniedException")
    assert words in message


@pytest.mark.parametrize("digest", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_any_strong_hash_of_the_issuer_will_do(digest: hashes.SHA256) -> None:
    scene = a_leaf(hash=digest)
    scene.granted(scene.request())


def test_a_leaf_is_good_from_its_first_to_its_last_second() -> None:
    leaf = SCENE.identity.certificate
    for moment in (leaf.not_valid_before_utc, leaf.not_valid_after_utc):
        trust.check_leaf(leaf, moment)
    for moment in (
        leaf.not_valid_before_utc - timedelta(seconds=1),
        leaf.not_valid_after_utc + timedelta(seconds=1),
    ):
        with pytest.raises(trust.Untrusted):
            trust.check_leaf(leaf, moment)


@pytest.fixture(scope="module")
def rsa_scene() -> Scene:
    return a_scene(root_kind="rsa-2048")


def rsa_key(scene: Scene) -> RSAPrivateKey:
    assert isinstance(scene.root.key, RSAPrivateKey)
    return scene.root.key


def test_a_certificate_signed_with_sha1_is_refused(rsa_scene: Scene) -> None:
    weak = crooked.signed_with_sha1(rsa_scene.identity.certificate, rsa_key(rsa_scene))
    assert isinstance(weak.signature_hash_algorithm, hashes.SHA1)
    scene = rsa_scene.as_(replace(rsa_scene.identity, certificate=weak))
    assert "SHA-256 or stronger" in refused(scene)[2]


def test_an_authority_signed_with_sha1_breaks_the_chain(rsa_scene: Scene) -> None:
    middle = rsa_scene.root.intermediate(at=NOW)
    weak = crooked.signed_with_sha1(middle.certificate, rsa_key(rsa_scene))
    scene = rsa_scene.as_(replace(middle.leaf(at=NOW), chain=(weak,)))
    assert refused(scene) == UNTRUSTED


def test_a_certificate_of_version_1_is_refused(rsa_scene: Scene) -> None:
    ancient = crooked.version_1(rsa_scene.identity.certificate, rsa_key(rsa_scene))
    assert ancient.version is x509.Version.v1
    ancient.verify_directly_issued_by(rsa_scene.root.certificate)
    scene = rsa_scene.as_(replace(rsa_scene.identity, certificate=ancient))
    assert "version 3" in refused(scene)[2]


def test_a_byte_changed_in_the_certificate_unseats_its_issuer() -> None:
    """Signed again by the right key, so that only the chain can notice."""
    der = SCENE.identity.der
    at = der.index(b"workload")
    forged = x509.load_der_x509_certificate(der[:at] + b"W" + der[at + 1 :])
    assert forged.subject == named("Workload")
    assert refused(asked_by(replace(SCENE.identity, certificate=forged))) == UNTRUSTED


def test_a_disabled_anchor_vouches_for_nobody() -> None:
    off = TrustAnchor((SCENE.root.certificate,), enabled=False)
    scene = SCENE.within(replace(SCENE.world, trust_anchors={TRUST_ANCHOR_ARN: off}))
    assert refused(scene)[1:] == ("AccessDeniedException", "The trust anchor is disabled")


def test_a_subject_that_no_session_tag_can_hold_is_refused() -> None:
    scene = a_leaf(subject=named("web (blue)", organization_name="Example"))
    assert "Subject: [CN]" in refused(scene)[2]


def test_the_common_name_becomes_the_source_identity() -> None:
    scene = a_leaf(subject=named("web.team-a", organization_name="Example"))
    assert scene.granted(scene.request()).source_identity == "web.team-a"


@pytest.mark.parametrize(("serial", "text"), [(1, "01"), (0x1F71C5, "1f71c5"), (0xFF, "ff")])
def test_a_serial_in_hex_has_two_digits_a_byte(serial: int, text: str) -> None:
    assert serial_in_hex(serial) == text
