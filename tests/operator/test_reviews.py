"""The AdmissionReview, in and out."""

import base64
import json
from typing import Any

import pytest

from rolesanywhere_operator.webhook import reviews
from rolesanywhere_operator.webhook.reviews import NotAReview, UnexpectedReview
from tests.operator.builders import a_pod, a_review


def read(review: Any) -> reviews.Review:
    return reviews.read(json.dumps(review).encode())


def response_of(answer: bytes) -> Any:
    review = json.loads(answer)
    assert (review["apiVersion"], review["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    return review["response"]


def test_the_namespace_is_the_requests_own() -> None:
    pod = a_pod()
    pod["metadata"]["namespace"] = "elsewhere"
    assert read(a_review(pod, namespace="team-a")).namespace == "team-a"


@pytest.mark.parametrize("dry_run", [True, False])
def test_a_dry_run_is_known_as_one(dry_run: bool) -> None:
    assert read(a_review(a_pod(), dryRun=dry_run)).dry_run is dry_run


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (b"", "not JSON"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not a JSON object"),
        (b'"x"', "not a JSON object"),
        (b"{}", "got None None, expected admission.k8s.io/v1 AdmissionReview"),
        (
            b'{"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview"}',
            "got admission.k8s.io/v1beta1 AdmissionReview",
        ),
        (b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"}', "no request"),
        (
            b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",'
            b' "request": {"uid": 3}}',
            "no request with a uid",
        ),
    ],
)
def test_garbage_is_no_review_and_the_problem_is_told(body: bytes, problem: str) -> None:
    with pytest.raises(NotAReview, match=problem):
        reviews.read(body)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"operation": "UPDATE"}, "got UPDATE of pods, expected CREATE of pods"),
        (
            {"resource": {"group": "apps", "version": "v1", "resource": "deployments"}},
            "got CREATE of deployments",
        ),
        ({"subResource": "exec"}, "got CREATE of pods/exec"),
        ({"resource": None}, "got CREATE of None"),
        ({"object": None}, "lacks its namespace or its object"),
        ({"namespace": ""}, "lacks its namespace or its object"),
        ({"object": {"metadata": [1], "spec": {}}}, "the pod's metadata is no JSON object"),
        ({"object": {"metadata": {}, "spec": "x"}}, "the pod's spec is no JSON object"),
    ],
)
def test_a_review_of_something_else_is_named(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(UnexpectedReview, match=problem) as caught:
        read(a_review(a_pod(), **change))
    assert caught.value.uid == "0f3c"


def test_a_patch_is_carried_in_base64() -> None:
    operations = [{"op": "add", "path": "/metadata/labels", "value": {"ü": "$"}}]
    response = response_of(reviews.allowed("0f3c", operations))
    assert response["patchType"] == "JSONPatch"
    assert json.loads(base64.b64decode(response["patch"])) == operations


def test_no_operations_is_no_patch() -> None:
    assert response_of(reviews.allowed("0f3c")) == {"uid": "0f3c", "allowed": True}


def test_a_refusal_says_why_where_kubectl_shows_it() -> None:
    response = response_of(reviews.refused("0f3c", reason="HostNetwork", message="not so"))
    assert response["allowed"] is False
    assert response["status"] == {
        "status": "Failure", "code": 403, "reason": "HostNetwork", "message": "not so",
    }  # fmt: skip


@pytest.mark.parametrize("uid", ['"}, "allowed": false', "ü", "%b%s", "\\"])
def test_a_strange_uid_comes_back_as_it_was(uid: str) -> None:
    for answer in (reviews.allowed(uid, [{"op": "add"}]), reviews.allowed(uid)):
        response = response_of(answer)
        assert (response["uid"], response["allowed"]) == (uid, True)
