"""The AdmissionReview, in and out (admission.k8s.io/v1).

Never decides about pods: only whether a review is one that we can answer.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from rolesanywhere_contract.errors import RolesAnywhereError

Json = dict[str, Any]

API_VERSION: Final = "admission.k8s.io/v1"
_PODS: Final = {"group": "", "version": "v1", "resource": "pods"}


class NotAReview(RolesAnywhereError):
    """The body cannot be answered as an AdmissionReview: there is no uid to answer to."""

    code = "NotAReview"


class UnexpectedReview(RolesAnywhereError):
    """A review of something that we were not made for; the webhook's configuration is wrong."""

    code = "UnexpectedReview"

    def __init__(self, problem: str, *, uid: str) -> None:
        super().__init__(problem, hint="correct the rules of the MutatingWebhookConfiguration")
        self.uid = uid


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A question about a pod that is to be created in ``namespace``."""

    uid: str
    namespace: str
    pod: Json
    dry_run: bool


def read(body: bytes) -> Review:
    """The review in ``body``. Raises `NotAReview` or `UnexpectedReview`."""
    request = _request(body)
    uid, namespace, pod = request["uid"], request.get("namespace"), request.get("object")
    resource, subresource = request.get("resource"), request.get("subResource")
    operation = request.get("operation")
    if resource != _PODS or subresource or operation != "CREATE":
        what = resource.get("resource") if isinstance(resource, dict) else None
        got = f"{operation} of {what}{f'/{subresource}' if subresource else ''}"
        raise UnexpectedReview(f"got {got}, expected CREATE of pods", uid=uid)
    if not isinstance(namespace, str) or not namespace or not isinstance(pod, dict):
        raise UnexpectedReview("the request lacks its namespace or its object", uid=uid)
    return Review(uid=uid, namespace=namespace, pod=pod, dry_run=request.get("dryRun") is True)


def allowed(uid: str, operations: Sequence[Json] = ()) -> Json:
    """The answer that lets a pod in, changed by JSON patch ``operations``."""
    response: Json = {"uid": uid, "allowed": True}
    if operations:
        patch = base64.b64encode(json.dumps(list(operations)).encode()).decode()
        response |= {"patchType": "JSONPatch", "patch": patch}
    return _review(response)


def refused(uid: str, *, reason: str, message: str, code: int = 403) -> Json:
    """The answer that keeps a pod out; kubectl shows reason and message."""
    status = {"status": "Failure", "code": code, "reason": reason, "message": message}
    return _review({"uid": uid, "allowed": False, "status": status})


def _review(response: Json) -> Json:
    return {"apiVersion": API_VERSION, "kind": "AdmissionReview", "response": response}


def _request(body: bytes) -> Json:
    try:
        review = json.loads(body)
    # Deep nesting is garbage as well.
    except (ValueError, RecursionError) as wrong:
        raise NotAReview(f"the body is not JSON: {wrong}") from wrong
    if not isinstance(review, dict):
        raise NotAReview("the body is not a JSON object, expected an AdmissionReview")
    got = (review.get("apiVersion"), review.get("kind"))
    if got != (API_VERSION, "AdmissionReview"):
        raise NotAReview(f"got {got[0]} {got[1]}, expected {API_VERSION} AdmissionReview")
    request = review.get("request")
    if not isinstance(request, dict) or not isinstance(request.get("uid"), str):
        raise NotAReview("the AdmissionReview has no request with a uid")
    return request
