"""Which tokens and objects a PKCS#11 URI means, and the URI of what was found."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rolesanywhere_contract.pkcs11uri import TYPES, Pkcs11Uri
from rolesanywhere_sidecar.identities.pkcs11.facts import (
    LibraryFacts,
    ObjectFacts,
    SlotFacts,
    TokenFacts,
    fits,
    meant_as_hexadecimal,
    naming,
)

# As the structures have them: padded.
LIBRARY = LibraryFacts(
    library_manufacturer="SoftHSM".ljust(32),
    library_description="Implementation of PKCS11".ljust(32),
    library_version=(2, 6),
)
SLOT = SlotFacts(slot_manufacturer="SoftHSM project", slot_description="SoftHSM slot", slot_id=0)
TOKEN = TokenFacts(
    token="node-hsm".ljust(32), manufacturer="SoftHSM project", serial="", model="SoftHSM v2"
)
CERTIFICATE = ObjectFacts(object="ecp256", type="cert", id=b"\x03\x00")
EVERYTHING = (LIBRARY, SLOT, TOKEN, CERTIFICATE)


@pytest.mark.parametrize(
    "attributes",
    [
        "",
        "token=node-hsm",
        "token=node-hsm%20%20",
        "serial=",
        "serial=%20",
        "slot-id=0",
        "library-version=2.6;library-manufacturer=SoftHSM",
        "slot-description=SoftHSM%20slot;slot-manufacturer=SoftHSM%20project",
        "manufacturer=SoftHSM%20project;model=SoftHSM%20v2",
        "object=ecp256;type=cert;id=%03%00",
    ],
)
def test_a_uri_fits_where_everything_it_says_is_so(attributes: str) -> None:
    assert fits(Pkcs11Uri.parse(f"pkcs11:{attributes}"), *EVERYTHING)


@pytest.mark.parametrize(
    "attributes",
    [
        "token=",
        "token=node",
        "token=NODE-HSM",
        "token=%20node-hsm",
        # Longer than the field: the end is not cut off to fit.
        "token=node-hsm" + "%20" * 24 + "x",
        "serial=0",
        "slot-id=1",
        "library-version=2",
        "library-version=2.7",
        "type=private",
        "id=",
        "id=%03",
        "id=%03%00%00",
        "object=ecp256%20",
        "object=",
        "token=node-hsm;serial=1",
    ],
)
def test_a_uri_does_not_fit_where_one_thing_is_otherwise(attributes: str) -> None:
    assert not fits(Pkcs11Uri.parse(f"pkcs11:{attributes}"), *EVERYTHING)


def test_a_value_longer_than_its_field_never_fits() -> None:
    full = replace(TOKEN, token="n" * 32)
    assert fits(Pkcs11Uri(token="n" * 32), full)
    assert not fits(Pkcs11Uri(token="n" * 33), full)


def test_what_a_uri_says_of_other_things_is_not_held_against_this_one() -> None:
    uri = Pkcs11Uri.parse("pkcs11:token=node-hsm;object=ecp256")
    assert fits(uri, TOKEN)
    assert fits(uri, SLOT)
    assert fits(uri)


def test_a_found_object_has_a_ready_made_uri() -> None:
    assert str(naming(TOKEN, CERTIFICATE)) == (
        "pkcs11:token=node-hsm;manufacturer=SoftHSM%20project;serial=;model=SoftHSM%20v2"
        ";object=ecp256;type=cert;id=%03%00"
    )


TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=32)


@settings(deadline=None)
@given(
    st.builds(TokenFacts, token=TEXTS, manufacturer=TEXTS, serial=TEXTS, model=TEXTS),
    st.builds(ObjectFacts, object=TEXTS, type=st.sampled_from(TYPES), id=st.binary(max_size=32)),
)
def test_a_ready_made_uri_means_what_it_was_made_of(token: TokenFacts, held: ObjectFacts) -> None:
    uri = Pkcs11Uri.parse(str(naming(token, held)))
    assert fits(uri, token, held)


def test_an_id_that_is_spelt_in_ascii_is_found_by_its_digits() -> None:
    """As tpm2_ptool makes them, sixteen characters where others put eight bytes."""
    wanted = Pkcs11Uri.parse("pkcs11:id=%59%74%3b%c9%0c%05%79%27").id
    assert wanted is not None
    spelt = b"59743bc90c057927"
    assert meant_as_hexadecimal(wanted, [b"\x01", spelt]) == spelt
    assert meant_as_hexadecimal(wanted, [spelt.upper()]) == spelt.upper()
    assert meant_as_hexadecimal(wanted, [b"\x01", wanted]) is None
    assert meant_as_hexadecimal(b"", [b""]) is None
