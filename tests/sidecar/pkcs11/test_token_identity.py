"""Which certificate, key and chain are meant, in a token and in files beside it."""

import asyncio
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from rolesanywhere_contract.errors import RolesAnywhereError
from rolesanywhere_contract.pkcs11uri import InvalidPkcs11Uri
from rolesanywhere_contract.settings import IdentitySettings
from rolesanywhere_sidecar.identities import sources, volumes
from rolesanywhere_sidecar.identities.identity import (
    AmbiguousCertificate,
    KeyMismatch,
    NoSuchCertificate,
)
from rolesanywhere_sidecar.identities.identity_files import UnreadableFile
from rolesanywhere_sidecar.identities.keys import Digest, SigningKey, UnsupportedKey
from rolesanywhere_sidecar.identities.keys.proof import verifies
from rolesanywhere_sidecar.identities.pkcs11 import modules
from rolesanywhere_sidecar.identities.pkcs11.errors import (
    AmbiguousKey,
    AmbiguousToken,
    ModuleUnusable,
    NoSuchKey,
    NoSuchToken,
    PinFinalTry,
    PinIncorrect,
    PinLocked,
    PinMissing,
    PinUnanswered,
    SignatureWrong,
    TokenSilent,
    TokenUnavailable,
)
from rolesanywhere_sidecar.identities.pkcs11.process import Silent
from rolesanywhere_sidecar.identities.pkcs11.tally import Tally
from rolesanywhere_sidecar.identities.token_identity import TokenIdentity
from tests.fakes.pki import LEAF, Authority, Identity, KeyKind, PrivateKey, new_key
from tests.support.clocks import START
from tests.support.pretend_tokens import (
    INITIALIZED,
    PIN,
    ModuleFails,
    PretendModule,
    PretendToken,
)

ROOT = Authority.root(at=START)
BELOW = ROOT.intermediate("below", at=START)
OURS = BELOW.leaf("ours", at=START)
OTHER = ROOT.leaf("other", at=START)
PAYLOAD = b"string to sign"


class Desk:
    """A token, a folder of files, and the settings that lead to them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.hsm = PretendToken()
        self.module = PretendModule(self.hsm)
        self.tally = Tally()
        self.pin_file = self.file("pin", PIN.encode() + b"\n")

    def file(self, name: str, content: bytes) -> str:
        (self.folder / name).write_bytes(content)
        return str(self.folder / name)

    def source(self, certificate: str, key: str | None = None, **others: Any) -> TokenIdentity:
        told: Mapping[str, Any] = {
            "pin_file": self.pin_file, "pkcs11_module": __file__,
            "pin_latch_file": str(self.folder / "latch"), **others,
        }  # fmt: skip
        settings = IdentitySettings(certificate=certificate, private_key=key, **told)
        found = sources.source(settings, env={}, now=lambda: START, tally=self.tally)
        assert isinstance(found, TokenIdentity)
        found.tokens._supervisor._spawn = self.module.spawn
        return found


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def hold(
    token: PretendToken,
    identity: Identity,
    *,
    id: bytes = b"\x01",  # noqa: A002 - CKA_ID
    label: str = "reports",
) -> None:
    token.holds(id, label, identity.key, identity.certificate)


def put(token: PretendToken, certificate: Any, *, id: bytes = b"", label: str = "ca") -> None:  # noqa: A002 - CKA_ID
    token.certificates.append((id, label, certificate))


async def signs(key: SigningKey, identity: Identity) -> bool:
    return verifies(identity.certificate.public_key(), PAYLOAD, await key.sign(PAYLOAD))


@pytest.mark.parametrize("kind", ["rsa-2048", "p256", "p384", "p521", "ml-dsa-44", "ml-dsa-87"])
async def test_certificate_and_key_may_both_be_in_the_token(desk: Desk, kind: KeyKind) -> None:
    ours = ROOT.leaf("ours", key=new_key(kind), at=START)
    hold(desk.hsm, ours)
    identity, key = await desk.source("pkcs11:token=node-hsm").load()
    assert identity.leaf == ours.certificate
    assert identity.where == (
        "pkcs11:token=node-hsm;manufacturer=Pretend;serial=0001;model=P1;"
        "object=reports;type=cert;id=%01"
    )
    assert await signs(key, ours)


async def test_the_certificate_may_be_in_a_file(desk: Desk) -> None:
    hold(desk.hsm, OURS)
    desk.hsm.certificates.clear()
    path = desk.file("tls.crt", OURS.certificate_pem + BELOW.certificate_pem)
    identity, key = await desk.source(path, "pkcs11:token=node-hsm;object=reports").load()
    assert identity.leaf == OURS.certificate
    assert identity.chain == (BELOW.certificate,)
    assert identity.where == path
    assert await signs(key, OURS)


async def test_the_key_may_be_in_a_file(desk: Desk) -> None:
    put(desk.hsm, OURS.certificate, label="reports")
    identity, key = await desk.source(
        "pkcs11:token=node-hsm;object=reports", desk.file("tls.key", OURS.key_pem())
    ).load()
    assert identity.leaf == OURS.certificate
    assert await signs(key, OURS)
    assert desk.module.count("login") == 0, "nobody logs in for what is public"


async def test_the_chain_is_found_in_the_token_in_its_order_and_without_strangers(
    desk: Desk,
) -> None:
    upper = ROOT.intermediate("upper", at=START)
    lower = upper.intermediate("lower", at=START)
    ours = lower.leaf("ours", at=START)
    for each in (upper, ROOT, OTHER, lower):
        put(desk.hsm, each.certificate)
    hold(desk.hsm, ours)
    put(desk.hsm, ours.certificate, label="copy")
    identity, _ = await desk.source("pkcs11:token=node-hsm;id=%01").load()
    assert identity.chain == (lower.certificate, upper.certificate)
    assert identity.unrelated == 0


async def test_the_chain_may_be_in_a_file(desk: Desk) -> None:
    hold(desk.hsm, OURS)
    path = desk.file("ca.pem", ROOT.certificate_pem + BELOW.certificate_pem)
    identity, _ = await desk.source("pkcs11:token=node-hsm", intermediates=path).load()
    assert identity.chain == (BELOW.certificate,)


async def test_an_authority_beside_it_is_not_taken_for_the_leaf(desk: Desk) -> None:
    hold(desk.hsm, BELOW, id=b"\x02", label="issuing")
    hold(desk.hsm, OURS)
    identity, _ = await desk.source("pkcs11:type=cert").load()
    assert identity.leaf == OURS.certificate


async def test_several_certificates_with_keys_are_refused_with_their_uris(desk: Desk) -> None:
    hold(desk.hsm, OURS)
    hold(desk.hsm, OTHER, id=b"\x02", label="other")
    with pytest.raises(AmbiguousCertificate) as caught:
        await desk.source("pkcs11:token=node-hsm").load()
    for part in ("object=reports;type=cert;id=%01", "id=%02", "CN=ours", "CN=other"):
        assert part in str(caught.value)


async def test_one_without_a_key_does_not_make_it_ambiguous(desk: Desk) -> None:
    hold(desk.hsm, OURS)
    put(desk.hsm, OTHER.certificate, id=b"\x02")
    identity, _ = await desk.source("pkcs11:token=node-hsm").load()
    assert identity.leaf == OURS.certificate


async def test_a_cert_selector_chooses_among_them(desk: Desk) -> None:
    hold(desk.hsm, OURS)
    hold(desk.hsm, OTHER, id=b"\x02", label="other")
    chosen = desk.source("pkcs11:token=node-hsm", cert_selector="Key=x509Subject,Value=CN=other")
    identity, key = await chosen.load()
    assert identity.leaf == OTHER.certificate
    assert await signs(key, OTHER)
    with pytest.raises(NoSuchCertificate, match="the cert selector fits none of the 2"):
        await desk.source(
            "pkcs11:token=node-hsm", cert_selector="Key=x509Subject,Value=CN=nobody"
        ).load()


async def test_the_latest_to_expire_wins_where_that_is_asked_for(desk: Desk) -> None:
    longer = ROOT.leaf("longer", at=START, template=replace(LEAF, lives=LEAF.lives * 2))
    hold(desk.hsm, OURS)
    hold(desk.hsm, longer, id=b"\x02", label="longer")
    identity, key = await desk.source(
        "pkcs11:token=node-hsm", use_latest_expiring_certificate=True
    ).load()
    assert identity.leaf == longer.certificate
    assert await signs(key, longer)


async def test_of_a_renewed_certificate_of_one_key_the_one_that_is_valid_is_the_leaf(
    desk: Desk,
) -> None:
    later = ROOT.leaf("ours", key=OURS.key, at=START, template=replace(LEAF, lives=LEAF.lives * 2))
    hold(desk.hsm, OURS)
    put(desk.hsm, later.certificate, id=b"\x01", label="renewed")
    identity, _ = await desk.source("pkcs11:token=node-hsm;id=%01").load()
    assert identity.leaf == later.certificate


async def test_slot_zero_is_a_slot(desk: Desk) -> None:
    second = PretendToken(serial="0002", slot_id=1)
    desk.module.tokens.append(second)
    hold(desk.hsm, OURS)
    hold(second, OTHER)
    for slot, there in ((0, OURS), (1, OTHER)):
        identity, _ = await desk.source(f"pkcs11:slot-id={slot};id=%01").load()
        assert identity.leaf == there.certificate


async def test_a_keys_own_slot_counts_even_if_it_is_the_first(desk: Desk) -> None:
    second = PretendToken(serial="0002", slot_id=1)
    desk.module.tokens.append(second)
    desk.hsm.keys.append((b"\x01", "reports", OURS.key))
    second.keys.append((b"\x01", "reports", OTHER.key))
    put(second, OURS.certificate, id=b"\x01")
    _, key = await desk.source("pkcs11:serial=0002", "pkcs11:slot-id=0;id=%01").load()
    assert await signs(key, OURS)


async def test_certificates_in_two_tokens_are_refused_before_any_pin_is_tried(desk: Desk) -> None:
    second = PretendToken(token="other", serial="0002", slot_id=1)
    desk.module.tokens.append(second)
    hold(desk.hsm, OURS)
    hold(second, OTHER)
    with pytest.raises(AmbiguousToken, match="2 tokens are as pkcs11:type=cert says"):
        await desk.source("pkcs11:type=cert").load()
    assert desk.module.count("login") == 0


async def test_two_tokens_of_one_label_are_refused_before_any_pin_is_tried(desk: Desk) -> None:
    second = PretendToken(serial="0002", slot_id=1)
    desk.module.tokens.append(second)
    hold(desk.hsm, OURS)
    hold(second, OTHER)
    with pytest.raises(AmbiguousToken) as caught:
        await desk.source("pkcs11:token=node-hsm").load()
    assert "serial=0001" in str(caught.value)
    assert "serial=0002" in str(caught.value)
    assert desk.module.count("login") == 0
    path = desk.file("tls.crt", OTHER.certificate_pem)
    with pytest.raises(AmbiguousToken):
        await desk.source(path, "pkcs11:token=node-hsm").load()
    _, key = await desk.source(path, "pkcs11:serial=0002").load()
    assert await signs(key, OTHER)


async def test_tokens_that_are_alike_are_told_apart_by_their_slots(desk: Desk) -> None:
    second = PretendToken(slot_id=1)
    desk.module.tokens.append(second)
    hold(desk.hsm, OURS)
    hold(second, OTHER)
    _, key = await desk.source("pkcs11:slot-id=1").load()
    desk.module.once("sign", ModuleFails("SessionHandleInvalid"))
    assert await signs(key, OTHER)


async def test_a_token_without_a_pin_needs_none(desk: Desk) -> None:
    desk.hsm.flags = INITIALIZED
    hold(desk.hsm, OURS)
    _, key = await desk.source("pkcs11:token=node-hsm", pin_file=None).load()
    assert await signs(key, OURS)
    assert desk.module.count("login") == 0


async def test_certificates_that_show_after_a_login_alone_are_found(desk: Desk) -> None:
    desk.hsm.private_certificates = True
    hold(desk.hsm, OURS)
    identity, _ = await desk.source("pkcs11:token=node-hsm").load()
    assert identity.leaf == OURS.certificate


@pytest.mark.parametrize(
    ("certificate", "key", "problem", "says"),
    [
        ("pkcs11:token=nobody", None, NoSuchToken, "there are pkcs11:slot-manufacturer=Pretend"),
        ("pkcs11:token=node-hsm;id=%09", None, NoSuchCertificate, "id=%09 says; there are pkcs11:"),
        ("pkcs11:id=%01", "pkcs11:object=nobody", NoSuchKey, "object=nobody"),
        ("pkcs11:id=%01", "pkcs11:object=twin", AmbiguousKey, "2 private keys"),
        ("pkcs11:library-description=other;id=%01", None, NoSuchToken, "library-description=other"),
        ("pkcs11:object=lonely", None, NoSuchKey, "CKA_ID of pkcs11:"),
        ("pkcs11:object=nameless", None, NoSuchKey, "give both one CKA_ID"),
    ],
)
async def test_what_is_not_there_is_told_with_what_is(
    desk: Desk, certificate: str, key: str | None, problem: type[RolesAnywhereError], says: str
) -> None:
    hold(desk.hsm, OURS)
    for identifier in (b"\x03", b"\x04"):
        desk.hsm.keys.append((identifier, "twin", OTHER.key))
    put(desk.hsm, OTHER.certificate, id=b"\x05", label="lonely")
    put(desk.hsm, OTHER.certificate, id=b"", label="nameless")
    desk.hsm.keys.append((b"", "its key, perhaps", OTHER.key))
    with pytest.raises(problem) as caught:
        await desk.source(certificate, key).load()
    assert says in str(caught.value)
    assert PIN not in str(caught.value)


async def test_an_id_that_was_copied_as_text_is_spelt_out(desk: Desk) -> None:
    hold(desk.hsm, OURS, id=b"59743bc90c057927")
    with pytest.raises(NoSuchCertificate, match=r"its id is text: write pkcs11:id=%35%39%37%34"):
        await desk.source("pkcs11:id=%59%74%3B%C9%0C%05%79%27").load()


async def test_no_token_at_all_is_a_server_out_of_reach(desk: Desk) -> None:
    desk.module.tokens.clear()
    with pytest.raises(NoSuchToken, match="P11_KIT_SERVER_ADDRESS") as caught:
        await desk.source("pkcs11:token=node-hsm").load()
    assert caught.value.retryable


@pytest.mark.parametrize(
    ("weak", "says"),
    [
        (rsa.generate_private_key(65537, 1024), "is RSA of 1024 bits"),  # noqa: S505 - that is it
        (ec.generate_private_key(ec.SECP256K1()), "is on the curve secp256k1"),
    ],
)
async def test_a_key_that_the_service_does_not_take_is_called_so(
    desk: Desk, weak: PrivateKey, says: str
) -> None:
    hold(desk.hsm, ROOT.leaf("weak", key=weak, at=START))
    with pytest.raises(UnsupportedKey, match=says):
        await desk.source("pkcs11:token=node-hsm").load()


async def test_a_renewal_costs_one_signature_and_no_login(desk: Desk) -> None:
    hold(desk.hsm, OURS)
    source = desk.source("pkcs11:token=node-hsm")
    for _ in range(4):
        _, key = await source.load()
        assert await signs(key, OURS)
    assert desk.module.count("sign") == 4
    assert desk.module.count("login") == 1
    assert len(desk.module.children) == 1


MISMATCH = (
    "the private key pkcs11:token=node-hsm;manufacturer=Pretend;serial=0001;model=P1;"
    "object=reports;type=private;id=%01 does not belong to certificate 'CN=ours'"
)


async def test_the_first_signature_is_the_proof_that_key_and_certificate_match(desk: Desk) -> None:
    desk.hsm.keys.append((b"\x01", "reports", OTHER.key))
    put(desk.hsm, OURS.certificate, id=b"\x01")
    _, key = await desk.source("pkcs11:id=%01").load()
    assert desk.module.count("sign") == 0
    with pytest.raises(KeyMismatch) as caught:
        await key.sign(PAYLOAD)
    assert caught.value.problem.startswith(MISMATCH)
    assert counted(desk.tally) == {"": 0, "KeyMismatch": 1}


async def test_with_a_chain_in_the_certificates_file_it_is_too(desk: Desk) -> None:
    hold(desk.hsm, OURS)
    path = desk.file("tls.crt", BELOW.certificate_pem + OURS.certificate_pem + ROOT.certificate_pem)
    _, key = await desk.source(path, "pkcs11:token=node-hsm;object=reports").load()
    assert await signs(key, OURS)
    assert desk.module.count("sign") == 1


@pytest.mark.parametrize("ours_first", [True, False])
async def test_which_of_several_certificates_is_the_keys_a_trial_shows(
    desk: Desk, ours_first: bool
) -> None:
    pems = [OURS.certificate_pem, OTHER.certificate_pem][:: 1 if ours_first else -1]
    hold(desk.hsm, OURS)
    path = desk.file("both.crt", b"".join(pems))
    identity, key = await desk.source(path, "pkcs11:token=node-hsm;object=reports").load()
    assert identity.leaf == OURS.certificate
    assert await signs(key, OURS)
    assert desk.module.count("sign") == 2
    desk.hsm.keys[:] = [(b"\x01", "reports", ROOT.key)]
    with pytest.raises(KeyMismatch):
        await desk.source(path, "pkcs11:token=node-hsm;object=reports").load()


@pytest.mark.parametrize("used", [True, False])
async def test_a_new_certificate_has_its_key_proven_before_it_counts(
    desk: Desk, used: bool
) -> None:
    """Until then the one before it is what signs."""
    hold(desk.hsm, OURS)
    source = desk.source("pkcs11:token=node-hsm")
    _, before = await source.load()
    if used:
        assert await signs(before, OURS)
    desk.hsm.certificates[:] = [(b"\x01", "reports", OTHER.certificate)]
    with pytest.raises(KeyMismatch):
        await source.load()
    assert await signs(before, OURS)
    desk.hsm.keys[:] = [(b"\x01", "reports", OTHER.key)]
    _, key = await source.load()
    assert await signs(key, OTHER)


async def test_a_signature_of_another_key_is_never_handed_out(desk: Desk) -> None:
    hold(desk.hsm, OURS)
    _, key = await desk.source("pkcs11:token=node-hsm").load()
    assert await signs(key, OURS)
    child = desk.module.children[0]
    child.shown[:] = [OTHER.key] * len(child.shown)
    desk.hsm.keys[:] = [(b"\x01", "reports", OTHER.key)]
    with pytest.raises(SignatureWrong) as caught:
        await key.sign(PAYLOAD)
    assert caught.value.retryable
    assert counted(desk.tally) == {"": 1, "SignatureWrong": 1}


async def test_a_key_signs_again_after_whatever_happened_to_its_process(desk: Desk) -> None:
    hold(desk.hsm, OURS)
    _, key = await desk.source("pkcs11:token=node-hsm").load()
    for wrong in (ModuleFails("DeviceRemoved"), ModuleFails("UserNotLoggedIn"), Silent()):
        desk.module.once("sign", wrong)
        assert await signs(key, OURS)
    assert len(desk.module.children) == 2
    assert counted(desk.tally)[""] == 3


async def test_a_token_that_is_away_is_told_as_what_passes_and_signs_when_it_is_back(
    desk: Desk,
) -> None:
    hold(desk.hsm, OURS)
    source = desk.source("pkcs11:token=node-hsm")
    _, key = await source.load()
    away, desk.module.tokens[:] = list(desk.module.tokens), []
    for _ in range(2):
        with pytest.raises((NoSuchToken, TokenUnavailable)) as caught:
            await key.sign(PAYLOAD)
        assert caught.value.retryable
        with pytest.raises((NoSuchToken, TokenUnavailable)):
            await source.load()
    desk.module.tokens[:] = away
    # In another slot, as a token that was plugged out may be.
    desk.hsm.slot_id = 7
    assert await signs(key, OURS)


async def test_the_loop_goes_on_while_a_token_takes_its_time(desk: Desk) -> None:
    hold(desk.hsm, OURS)
    _, key = await desk.source("pkcs11:token=node-hsm").load()
    begun, may_go_on = threading.Event(), threading.Event()

    def slow() -> None:
        begun.set()
        assert may_go_on.wait(20)

    desk.module.on["sign"] = [slow]
    signing = asyncio.ensure_future(key.sign(PAYLOAD))
    assert await asyncio.to_thread(begun.wait, 20)
    may_go_on.set()
    assert verifies(OURS.certificate.public_key(), PAYLOAD, await signing)


async def test_a_wrong_pin_is_tried_once_and_a_changed_file_clears_it(desk: Desk) -> None:
    hold(desk.hsm, OURS)
    desk.file("pin", b"mistaken-8812")
    for _ in range(3):
        with pytest.raises(PinIncorrect) as caught:
            await desk.source("pkcs11:token=node-hsm").load()
        assert "mistaken" not in str(caught.value)
        assert latched(desk.tally)
    assert desk.module.count("login") == 1
    source = desk.source("pkcs11:token=node-hsm")
    before = source.fingerprint()
    desk.file("pin", PIN.encode())
    assert source.fingerprint() != before
    await source.load()
    assert not latched(desk.tally)


@pytest.mark.parametrize("lines", [b"", b"\n", b"\r\n"])
async def test_the_end_of_the_pins_line_is_none_of_it(desk: Desk, lines: bytes) -> None:
    hold(desk.hsm, OURS)
    desk.file("pin", PIN.encode() + lines)
    await desk.source("pkcs11:token=node-hsm").load()


@pytest.mark.parametrize("content", [b"", b"\n", b"a\nb", b"\xff\xfe", b"x" * 256, b"a\0b"])
async def test_a_file_that_holds_no_pin_is_not_tried(desk: Desk, content: bytes) -> None:
    hold(desk.hsm, OURS)
    desk.file("pin", content)
    with pytest.raises(PinMissing, match="holds no PIN"):
        await desk.source("pkcs11:token=node-hsm").load()
    assert desk.module.count("login") == 0


async def test_without_a_pin_it_is_said_how_to_give_one(desk: Desk) -> None:
    hold(desk.hsm, OURS)
    with pytest.raises(PinMissing, match="name that as --pin-file"):
        await desk.source("pkcs11:token=node-hsm", pin_file=None).load()


@pytest.mark.parametrize(("flag", "problem"), [(0x20000, PinFinalTry), (0x40000, PinLocked)])
async def test_a_token_that_says_it_would_lock_is_not_tried(
    desk: Desk, flag: int, problem: type[RolesAnywhereError]
) -> None:
    desk.hsm.flags |= flag
    hold(desk.hsm, OURS)
    with pytest.raises(problem):
        await desk.source("pkcs11:token=node-hsm").load()
    assert desk.module.count("login") == 0


async def test_a_token_with_its_count_low_is_tried_with_a_warning(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.hsm.flags |= 0x10000
    hold(desk.hsm, OURS)
    await desk.source("pkcs11:token=node-hsm").load()
    assert "PIN tried after a wrong one" in caplog.text


@pytest.mark.parametrize("vague", ["PKCS11Error", "FunctionFailed"])
async def test_a_vendors_own_code_may_mean_a_wrong_pin_and_is_met_twice_at_most(
    desk: Desk, vague: str
) -> None:
    hold(desk.hsm, OURS)
    desk.module.once("login", *[ModuleFails(vague)] * 9)
    for _ in range(3):
        with pytest.raises((PinUnanswered, TokenUnavailable)):
            await desk.source("pkcs11:token=node-hsm").load()
    assert desk.module.count("login") == 2


async def test_a_module_that_hangs_before_the_login_has_been_given_no_pin(desk: Desk) -> None:
    """Where it closes the session that was good enough to look for certificates."""
    hold(desk.hsm, OURS)
    desk.module.once("forget", *[Silent()] * 6)
    for _ in range(3):
        with pytest.raises(TokenSilent):
            await desk.source("pkcs11:token=node-hsm").load()
    _, key = await desk.source("pkcs11:token=node-hsm").load()
    assert await signs(key, OURS)
    assert desk.module.count("login") == 1


async def test_who_waits_for_a_token_in_vain_is_told_so_and_who_waits_for_a_volume_too(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(desk.hsm, OURS)
    source = replace(desk.source("pkcs11:token=node-hsm"), patience=0.05)
    may_go_on = threading.Event()

    def slow(*_: object) -> None:
        assert may_go_on.wait(20)

    desk.module.on["tokens"] = [slow]
    with pytest.raises(TokenSilent, match=r"did not answer within 0\.05 seconds; check the token"):
        await source.load()
    may_go_on.set()
    await source.tokens.lane.cleared()
    may_go_on.clear()
    read_together = volumes.read_together

    def slow_volume(places: Sequence[volumes.Place]) -> volumes.Contents:
        slow()
        return read_together(places)

    monkeypatch.setattr(volumes, "read_together", slow_volume)
    with pytest.raises(UnreadableFile, match="check the volume"):
        await source.load()
    may_go_on.set()
    await source.tokens.lane.cleared()


async def test_a_device_that_fails_at_a_login_says_nothing_of_the_pin(desk: Desk) -> None:
    hold(desk.hsm, OURS)
    desk.module.once("login", *[ModuleFails("DeviceError")] * 3)
    _, key = await desk.source("pkcs11:token=node-hsm").load()
    assert await signs(key, OURS)


async def test_a_pin_that_works_is_given_again_although_somebody_else_tried_wrong_ones(
    desk: Desk,
) -> None:
    hold(desk.hsm, OURS)
    _, key = await desk.source("pkcs11:token=node-hsm").load()
    desk.hsm.flags |= 0x20000
    desk.module.once("sign", ModuleFails("SessionHandleInvalid"))
    assert await signs(key, OURS)


async def test_the_pin_may_be_in_the_uri_or_in_a_file_that_it_names(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    hold(desk.hsm, OURS)
    for where in (f"pin-source=file:{desk.pin_file}", f"pin-value={PIN}"):
        source = desk.source(f"pkcs11:token=node-hsm?{where}", pin_file=None)
        await source.load()
        assert PIN not in repr(source)
        assert source.certificate == "pkcs11:token=node-hsm"
    assert [each.message for each in caplog.records] == ["PIN in a URI"]
    assert PIN not in caplog.text


async def test_a_pin_in_the_keys_own_uri_does_not_show_either(desk: Desk) -> None:
    hold(desk.hsm, OURS)
    uri = f"pkcs11:token=node-hsm?pin-value={PIN}"
    for certificate in ("pkcs11:token=node-hsm", uri):
        source = desk.source(certificate, uri, pin_file=None)
        await source.load()
        assert PIN not in repr(source)


async def test_a_setting_wins_over_the_uri(desk: Desk) -> None:
    hold(desk.hsm, OURS)
    await desk.source("pkcs11:token=node-hsm?pin-value=wrong").load()


async def test_sign_string_takes_the_keys_uri_for_both(desk: Desk) -> None:
    hold(desk.hsm, OURS)
    uri = "pkcs11:token=node-hsm;object=reports;type=private"
    key = desk.source(uri, uri).open_key()
    signature = await key.sign(PAYLOAD, Digest.SHA384)  # type: ignore[call-arg]  # a HardwareKey
    assert verifies(OURS.certificate.public_key(), PAYLOAD, signature, Digest.SHA384)
    assert not verifies(OURS.certificate.public_key(), PAYLOAD, signature)


@pytest.mark.parametrize(
    "uri",
    [
        "pkcs11:token=t;type=private",
        "pkcs11:token=t?module-path=/tmp/evil.so",
        "pkcs11:token=t?module-name=evil",
        "pkcs11:token=t;x-vendor=1",
        "pkcs11:token=t?pin-source=|cat",
        "pkcs11:tok",
    ],
)
def test_a_uri_that_asks_for_what_is_not_done_is_refused_at_once(desk: Desk, uri: str) -> None:
    with pytest.raises(InvalidPkcs11Uri):
        desk.source(uri)
    assert desk.module.children == []


async def test_all_files_beside_the_token_are_watched(desk: Desk) -> None:
    hold(desk.hsm, OURS)
    paths = {
        "tls.crt": OURS.certificate_pem, "ca.pem": BELOW.certificate_pem, "pin": PIN.encode(),
    }  # fmt: skip
    certificate, intermediates, _ = (desk.file(*each) for each in paths.items())
    source = desk.source(certificate, "pkcs11:token=node-hsm", intermediates=intermediates)
    seen = {source.fingerprint()}
    for name, content in paths.items():
        desk.file(name, content + b" ")
        seen.add(source.fingerprint())
    assert len(seen) == 4
    assert desk.module.asked == [], "a look every two seconds is not the token's to bear"
    (desk.folder / "pin").unlink()
    with pytest.raises(UnreadableFile, match="the PIN file"):
        source.fingerprint()


def test_the_usual_module_is_p11_kits_proxy_and_code_comes_from_settings_alone() -> None:
    def find(setting: str | None, env: Mapping[str, str], *there: str) -> str:
        return modules.module(setting, env, exists=lambda path: path in there)

    fedora = "/usr/lib64/p11-kit-proxy.so"
    assert find("/a.so", {"PKCS11_MODULE": "/b.so"}, fedora) == "/a.so"
    assert find(None, {"PKCS11_MODULE": "/b.so"}, fedora) == "/b.so"
    assert find(None, {}, fedora) == fedora
    with pytest.raises(ModuleUnusable, match="--pkcs11-lib"):
        find(None, {"PKCS11_MODULE": ""})


@pytest.mark.parametrize(
    ("setting", "env", "path"),
    [
        ("/set", {"HOME": "/root"}, "/set"),
        (None, {"HOME": "/root"}, "/root/.local/state/rolesanywhere/pin-latch"),
        (None, {"HOME": "/root", "XDG_STATE_HOME": "/s"}, "/s/rolesanywhere/pin-latch"),
        (
            None,
            {"HOME": "/root", "XDG_STATE_HOME": "s"},
            "/root/.local/state/rolesanywhere/pin-latch",
        ),
        (None, {"HOME": "/"}, None),
        (None, {}, None),
    ],
)
def test_refused_pins_are_remembered_among_the_users_state(
    setting: str | None, env: Mapping[str, str], path: str | None
) -> None:
    assert modules.latch_path(setting, env) == (None if path is None else Path(path))


def counted(tally: Tally) -> dict[str, float]:
    [family] = [each for each in tally.families() if each.name.endswith("signatures_total")]
    return {each.labels["code"]: each.value for each in family.samples}


def latched(tally: Tally) -> bool:
    return tally.pin_latched
