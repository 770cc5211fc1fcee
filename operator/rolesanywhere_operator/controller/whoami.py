"""As whom this process speaks to the API server: what is made to last goes when that account does.

Everybody may ask that (a SelfSubjectReview), so it takes no permission. Never needed to work.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final, Protocol

from rolesanywhere_operator.domain.untyped import mapping
from rolesanywhere_operator.kube.client import Json
from rolesanywhere_operator.kube.errors import KubeError

log = logging.getLogger(__name__)

_API: Final = "authentication.k8s.io/v1"
_KIND: Final = "SelfSubjectReview"
_ACCOUNT: Final = "system:serviceaccount"


class Client(Protocol):
    """What is needed of the API client."""

    async def request(self, method: str, path: str, *, body: Json | None = None) -> Json:
        """``method`` on ``path``. Raises `KubeError`."""
        ...


async def owner(kube: Client, *, namespace: str) -> Json | None:
    """The owner reference by which an object in ``namespace`` goes with our ServiceAccount.

    None for who is no ServiceAccount of that namespace, or cannot find out.
    """
    body = {"apiVersion": _API, "kind": _KIND}
    try:
        told = await kube.request("POST", f"/apis/{_API}/{_KIND.lower()}s", body=body)
    except KubeError as problem:
        fields = {"code": problem.code, "problem": str(problem)}
        log.warning("cannot find out who this process is", extra=fields)
        return None
    return reference(mapping(mapping(told.get("status")).get("userInfo")), namespace=namespace)


def reference(user: Mapping[str, Any], *, namespace: str) -> Json | None:
    """The owner reference on ``user``, if that is a ServiceAccount in ``namespace``."""
    account, _, name = str(user.get("username")).rpartition(":")
    if account != f"{_ACCOUNT}:{namespace}" or not user.get("uid"):
        return None
    return {"apiVersion": "v1", "kind": "ServiceAccount", "name": name, "uid": str(user["uid"])}
