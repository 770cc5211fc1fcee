"""What leads up from the leaf, what does not, and what is said of each."""

from collections.abc import Sequence
from datetime import UTC, datetime

from cryptography import x509

from rolesanywhere_sidecar.doctor import chains
from rolesanywhere_sidecar.doctor.findings import Check, Finding
from rolesanywhere_sidecar.identities.identity import assemble
from tests.fakes.pki import Authority
from tests.support.examined import OK, WARNING

NOW = datetime(2026, 3, 14, 9, 26, 53, tzinfo=UTC)
ROOT = Authority.root(at=NOW)
UPPER = ROOT.intermediate("Upper", at=NOW)
LOWER = UPPER.intermediate("Lower", at=NOW)
DEEP = LOWER.leaf("deep", at=NOW)
STRANGER = Authority.root("Stranger", at=NOW)


def examined(given: Sequence[x509.Certificate]) -> Finding:
    """What is said of ``given``, assembled as serve does."""
    identity = assemble(given, public_key=DEEP.key.public_key(), where="tls.crt")
    [found] = chains.examine(identity.leaf, identity.chain, given)
    assert found.check is Check.CHAIN
    return found


def test_a_whole_chain_is_well_and_says_where_it_ends() -> None:
    found = examined([DEEP.certificate, *DEEP.chain])
    assert (found.verdict, found.sentence) == (
        OK,
        "2 intermediate(s) lead up from the leaf: the trust anchor must be 'CN=Test Root', or one"
        " of them",
    )


def test_a_lone_leaf_says_who_must_be_the_trust_anchor() -> None:
    found = examined([DEEP.certificate])
    assert (found.verdict, found.sentence) == (
        OK, "the leaf goes alone: the trust anchor must be 'CN=Lower', which issued it",
    )  # fmt: skip


def test_a_gap_names_what_is_missing() -> None:
    found = examined([DEEP.certificate, UPPER.certificate])
    assert found.verdict is WARNING
    assert "'CN=Upper'" in found.sentence
    assert "nothing that was given is 'CN=Lower', which issued" in found.sentence
    assert "add 'CN=Lower' to --intermediates" in found.remedy


def test_a_stranger_is_named() -> None:
    found = examined([DEEP.certificate, *DEEP.chain, STRANGER.certificate])
    assert found.verdict is WARNING
    assert "'CN=Stranger'" in found.sentence


def test_an_impostor_with_the_right_name_is_a_stranger() -> None:
    impostor = UPPER.intermediate("Lower", at=NOW)
    assert examined([DEEP.certificate, impostor.certificate]).verdict is WARNING


def test_another_order_is_well_and_told() -> None:
    found = examined([*reversed(DEEP.chain), DEEP.certificate])
    assert found.verdict is OK
    assert "given in another order" in found.sentence


def test_a_repeated_leaf_and_a_root_are_well_and_told() -> None:
    found = examined([DEEP.certificate, *DEEP.chain, DEEP.certificate, ROOT.certificate])
    assert found.verdict is OK
    assert "the leaf was given twice and is sent once" in found.sentence
    assert "'CN=Test Root'" in found.sentence.rpartition("the root's own")[2]
    assert "another order" not in found.sentence
