"""What can go wrong with the API server, by what it means for who asked.

Never says what to do about it: each caller knows better whether to wait, to list again or to fail.
"""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

from rolesanywhere_contract.errors import RolesAnywhereError


class KubeError(RolesAnywhereError):
    """The API server did not do what it was asked; ``status`` is the HTTP status, 0 without one."""

    code = "KubernetesError"
    status: int

    def __init__(self, problem: str, *, status: int = 0, hint: str = "") -> None:
        super().__init__(problem, hint=hint)
        self.status = status


class NotFound(KubeError):
    """404: there is no such object."""

    code = "KubernetesNotFound"


class Conflict(KubeError):
    """409: somebody changed or created the object first."""

    code = "KubernetesConflict"


class Gone(KubeError):
    """410: the resourceVersion is too old to go on from; list again."""

    code = "KubernetesGone"


class Forbidden(KubeError):
    """401 or 403: RBAC does not grant it, or the token is not accepted."""

    code = "KubernetesForbidden"


class Unavailable(KubeError):
    """No answer, or one that says to come back later (429, 5xx)."""

    code = "KubernetesUnavailable"
    retryable: ClassVar[bool] = True


_BY_STATUS: Final[Mapping[int, type[KubeError]]] = {
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    410: Gone,
}


def failure(status: Mapping[str, Any], http_status: int, what: str) -> KubeError:
    """The error that the API server's ``status`` object means, or, without one, ``http_status``.

    ``what`` is what was asked.
    """
    code = int(status.get("code") or http_status or 500)
    problem = f"{what}: {status.get('message') or f'HTTP status {code}'}"
    otherwise = Unavailable if code == 429 or code >= 500 else KubeError
    return _BY_STATUS.get(code, otherwise)(problem, status=code)
