"""Tokens in memory behind the child's messages, for tests that need no module and no process.

Answers as `cryptoki.Cryptoki` does: same words, same errors. What a real module does is seen with
real ones, in ``tests/hardware``.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, mldsa, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding

from rolesanywhere_sidecar.identities.pkcs11 import framing
from rolesanywhere_sidecar.identities.pkcs11.framing import Message
from rolesanywhere_sidecar.identities.pkcs11.mechanisms import KeyType, Mechanism
from tests.fakes.pki import PrivateKey

PIN = "pretend-4711"
LOGIN_REQUIRED, INITIALIZED = 0x4, 0x400
ALL = (
    Mechanism.RSA_PKCS, Mechanism.SHA256_RSA_PKCS, Mechanism.SHA384_RSA_PKCS, Mechanism.ECDSA,
    Mechanism.ML_DSA,
)  # fmt: skip


_BY_LENGTH: Mapping[int, hashes.HashAlgorithm] = {
    each.digest_size: each for each in (hashes.SHA256(), hashes.SHA384(), hashes.SHA512())
}


@dataclass
class PretendToken:
    """One token in its slot."""

    token: str = "node-hsm"
    serial: str = "0001"
    slot_id: int = 0
    flags: int = LOGIN_REQUIRED | INITIALIZED
    pin: str = PIN
    offers: tuple[Mechanism, ...] = ALL
    keys: list[tuple[bytes, str, PrivateKey]] = field(default_factory=list)
    certificates: list[tuple[bytes, str, x509.Certificate]] = field(default_factory=list)
    private_certificates: bool = False

    def holds(
        self, identifier: bytes, label: str, key: PrivateKey, certificate: x509.Certificate
    ) -> "PretendToken":
        """With a key and its certificate."""
        self.keys.append((identifier, label, key))
        self.certificates.append((identifier, label, certificate))
        return self


class ModuleFails(Exception):
    """What python-pkcs11 would raise, by its class's name."""


class PretendModule:
    """Tokens that outlive every child; ``on`` is what happens instead, or before, by call."""

    def __init__(self, *tokens: PretendToken) -> None:
        self.tokens = list(tokens)
        self.asked: list[str] = []
        self.children: list[PretendChild] = []
        self.on: dict[str, list[Callable[[], None]]] = {}

    def spawn(self, env: Mapping[str, str]) -> "PretendChild":
        """As `process.Child`."""
        self.children.append(PretendChild(self))
        return self.children[-1]

    def once(self, call: str, *effects: Exception) -> None:
        """Have the next calls of this name fail like this, one after the other."""

        def effect(wrong: Exception) -> Callable[[], None]:
            def happen() -> None:
                raise wrong

            return happen

        self.on.setdefault(call, []).extend(map(effect, effects))

    def count(self, call: str) -> int:
        """How often it was asked."""
        return Counter(self.asked)[call]


class PretendChild:
    """One process's memory of sessions and keys."""

    def __init__(self, module: PretendModule) -> None:
        self.module = module
        self.ended = False
        self.logged_in: set[int] = set()
        self.shown: list[PrivateKey] = []

    def end(self) -> None:
        self.ended = True

    def ask(self, question: Message, *, within: float) -> Message:
        assert not self.ended, "nobody is asked after the end"
        assert within > 0
        call = dict(framing.read(_reader(framing.encode(question))) or {})
        name = call.pop("do")
        self.module.asked.append(name)
        try:
            if effects := self.module.on.get(name):
                effects.pop(0)()
            answer = {"result": getattr(self, name)(**call)}
        except ModuleFails as wrong:
            self.logged_in.clear()
            answer = {"error": str(wrong), "words": ""}
        except Exception:
            self.end()
            raise
        return framing.read(_reader(framing.encode(answer))) or {}

    def load(self, path: str) -> Message:
        return {
            "library_manufacturer": "Pretend",
            "library_description": "Tokens in memory",
            "library_version": [2, 40],
        }

    def tokens(self) -> list[Message]:
        return [
            {
                "slot_id": each.slot_id, "slot_manufacturer": "Pretend",
                "slot_description": f"slot {each.slot_id}", "token": each.token,
                "manufacturer": "Pretend", "serial": each.serial, "model": "P1",
                "flags": each.flags,
            }
            for each in self.module.tokens
        ]  # fmt: skip

    def mechanisms(self, slot: int) -> list[int]:
        return [int(each) for each in self._in(slot).offers]

    def certificates(self, slot: int) -> list[Message]:
        token = self._in(slot)
        if token.private_certificates and slot not in self.logged_in:
            return []
        return [
            {"id": identifier, "object": label, "der": held.public_bytes(Encoding.DER)}
            for identifier, label, held in token.certificates
        ]

    def login(self, slot: int, pin: str) -> None:
        if pin != self._in(slot).pin:
            raise ModuleFails("PinIncorrect")
        self.logged_in.add(slot)

    def keys(self, slot: int, id: bytes | None, label: str | None) -> list[Message]:  # noqa: A002 - as it is called
        found: list[Message] = []
        for identifier, name, key in self._visible(slot):
            if id in (None, identifier) and label in (None, name):
                self.shown.append(key)
                found.append({
                    "key": len(self.shown) - 1, "id": identifier, "object": name,
                    "key_type": int(key_type(key)),
                })  # fmt: skip
        return found

    def _visible(self, slot: int) -> list[tuple[bytes, str, PrivateKey]]:
        token = self._in(slot)
        hidden = token.flags & LOGIN_REQUIRED and slot not in self.logged_in
        return [] if hidden else token.keys

    def sign(self, slot: int, key: int, mechanism: int, data: bytes) -> bytes:
        assert isinstance(data, bytes)
        if not any(self.shown[key] is held for _, _, held in self._visible(slot)):
            raise ModuleFails("KeyHandleInvalid")
        return raw_signature(self.shown[key], Mechanism(mechanism), data)

    def forget(self, slot: int) -> None:
        self.logged_in.discard(slot)

    def reinitialize(self) -> None:
        self.logged_in.clear()

    def _in(self, slot: int) -> PretendToken:
        for each in self.module.tokens:
            if each.slot_id == slot:
                return each
        raise ModuleFails("SlotIDInvalid")


def key_type(key: PrivateKey) -> KeyType:
    """CKK_* of a key."""
    match key:
        case rsa.RSAPrivateKey():
            return KeyType.RSA
        case ec.EllipticCurvePrivateKey():
            return KeyType.EC
    return KeyType.ML_DSA


def raw_signature(key: PrivateKey, mechanism: Mechanism, data: bytes) -> bytes:
    """What C_Sign gives: an ECDSA signature is two numbers of one length."""
    match key, mechanism:
        case rsa.RSAPrivateKey(), Mechanism.SHA256_RSA_PKCS:
            return key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        case rsa.RSAPrivateKey(), Mechanism.SHA384_RSA_PKCS:
            return key.sign(data, padding.PKCS1v15(), hashes.SHA384())
        case rsa.RSAPrivateKey(), Mechanism.RSA_PKCS:
            return key.sign(data[-32:], padding.PKCS1v15(), Prehashed(hashes.SHA256()))
        case ec.EllipticCurvePrivateKey(), Mechanism.ECDSA | Mechanism.ECDSA_SHA256:
            prehashed = mechanism is Mechanism.ECDSA
            hashed = Prehashed(_BY_LENGTH[len(data)]) if prehashed else hashes.SHA256()
            numbers = decode_dss_signature(key.sign(data, ec.ECDSA(hashed)))
            length = (key.key_size + 7) // 8
            return b"".join(each.to_bytes(length, "big") for each in numbers)
        case (
            (mldsa.MLDSA44PrivateKey() | mldsa.MLDSA65PrivateKey() | mldsa.MLDSA87PrivateKey()),
            _,
        ):
            return key.sign(data)
    raise ModuleFails("MechanismInvalid")


def _reader(data: bytes) -> Callable[[int], bytes]:
    left = bytearray(data)

    def receive(count: int) -> bytes:
        part = bytes(left[:count])
        del left[:count]
        return part

    return receive
