"""The Certificate that a binding asks cert-manager for, and whose a Certificate is."""

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from rolesanywhere_operator.domain import bindings, certificates
from rolesanywhere_operator.domain.identities import PerBindingIdentity
from tests.operator.builders import a_raw_binding

ASKED = Path(__file__).parent / "asked"
UID = "0b1c2d3e-0000-4000-8000-000000000001"
OTHER_UID = "0b1c2d3e-0000-4000-8000-000000000002"


def manifest(raw: dict[str, Any], *, trust_domain: str = "cluster.local") -> dict[str, Any]:
    binding = bindings.parse(raw, trust_domain=trust_domain)
    assert isinstance(binding.identity, PerBindingIdentity)
    return certificates.manifest(binding, binding.identity, uid=UID)


def asked(**fields: Any) -> dict[str, Any]:
    return manifest(
        a_raw_binding(identity={"certManager": {"issuerRef": {"name": "ca"}, **fields}})
    )


def held(**fields: Any) -> dict[str, Any]:
    """What `asked` has become in the API server."""
    found = deepcopy(asked(**fields))
    found["metadata"] |= {"uid": "cert-1", "generation": 1, "resourceVersion": "7"}
    found["metadata"]["managedFields"] = [
        {"manager": certificates.FIELD_MANAGER, "operation": "Apply"}
    ]
    return found


@pytest.mark.parametrize("case", sorted(ASKED.iterdir()), ids=lambda case: case.name)
def test_a_binding_asks_for_its_golden_certificate(case: Path) -> None:
    raw = yaml.safe_load((case / "binding.yaml").read_text())
    assert manifest(raw) == yaml.safe_load((case / "certificate.yaml").read_text())


def test_the_default_name_is_in_the_clusters_trust_domain() -> None:
    raw = a_raw_binding(identity={"certManager": {"issuerRef": {"name": "ca"}}})
    uris = manifest(raw, trust_domain="prod.example.org")["spec"]["uris"]
    assert uris == ["spiffe://prod.example.org/ns/team-a/rolesanywherebinding/reports"]


def test_the_same_question_has_the_same_digest_and_another_has_another() -> None:
    digest = [
        one["metadata"]["annotations"][certificates.ASKED_ANNOTATION]
        for one in (asked(duration="24h"), asked(duration="24h"), asked())
    ]
    assert digest[0] == digest[1] != digest[2]


def test_what_was_applied_is_as_asked_whatever_others_add() -> None:
    found = held()
    found["metadata"]["labels"]["theirs"] = "yes"
    found["metadata"]["ownerReferences"].append({"uid": OTHER_UID, "kind": "App", "name": "x"})
    found["spec"]["revisionHistoryLimit"] = 3
    found["status"] = {"conditions": []}
    assert certificates.is_as_asked(found, asked())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda found: found["spec"]["issuerRef"].update(name="evil"),
        lambda found: found["spec"].update(uris=[*found["spec"]["uris"], "spiffe://other"]),
        lambda found: found["spec"].pop("usages"),
        lambda found: found["spec"]["privateKey"].update(rotationPolicy="Never"),
        lambda found: found["metadata"].pop("labels"),
        lambda found: found["metadata"].pop("annotations"),
        lambda found: found["metadata"].pop("ownerReferences"),
    ],
    ids=["issuer", "uris", "usages", "rotation", "labels", "annotations", "owner"],
)
def test_what_was_changed_is_not_as_asked(spoil: Any) -> None:
    found = held()
    spoil(found)
    assert not certificates.is_as_asked(found, asked())
    assert certificates.is_ours(found, uid=UID)


def test_what_is_asked_for_no_longer_is_noticed() -> None:
    assert not certificates.is_as_asked(held(duration="24h", dnsNames=["a.example"]), asked())


def test_a_certificate_of_another_owner_is_not_ours_though_we_applied_it() -> None:
    found = held()
    found["metadata"]["ownerReferences"][0]["uid"] = OTHER_UID
    assert not certificates.is_ours(found, uid=UID)


def test_a_certificate_without_an_owner_is_ours_only_if_we_applied_it() -> None:
    found = held()
    del found["metadata"]["ownerReferences"]
    assert certificates.is_ours(found, uid=UID)
    found["metadata"]["managedFields"] = [{"manager": "kubectl", "operation": "Apply"}]
    assert not certificates.is_ours(found, uid=UID)
    del found["metadata"]["managedFields"]
    assert not certificates.is_ours(found, uid=UID)


def test_a_leftover_is_of_a_binding_of_that_name_and_no_other() -> None:
    found = held()
    found["metadata"]["ownerReferences"][0]["uid"] = OTHER_UID
    assert certificates.is_leftover(found, namespace="team-a", binding="reports")
    assert not certificates.is_leftover(found, namespace="team-a", binding="other")
    found["metadata"]["ownerReferences"][0]["kind"] = "Deployment"
    assert not certificates.is_leftover(found, namespace="team-a", binding="reports")
