"""Admission over HTTP: one path, and for everything else a status with a sentence.

Never decides about pods; never serves probes on the port that the API server calls.
"""

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import lru_cache
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qs

from rolesanywhere_operator.ports.messages import Answer, Request, Response, Site, said
from rolesanywhere_operator.webhook import reviews
from rolesanywhere_operator.webhook.admission import Admission
from rolesanywhere_operator.webhook.patience import patience
from rolesanywhere_operator.webhook.tally import UNUSABLE, Unusable

INJECT_PATH: Final = "/inject"
# etcd takes objects of 1.5 MiB by default, and JSON may double one; a review can hold two.
LARGEST_REVIEW: Final = 8 * 2**20
# Of all that come at once; a thousand reviews of usual pods are a third of it.
ROOM: Final = 4 * LARGEST_REVIEW

_JSON: Final = "application/json"
_UNUSABLE: Final = {
    HTTPStatus.REQUEST_TIMEOUT: Unusable.SLOW,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: Unusable.TOO_LARGE,
    HTTPStatus.SERVICE_UNAVAILABLE: Unusable.CROWDED,
}


def _open() -> bool:
    """Nobody is asked to leave."""
    return False


def reviewer(admission: Admission, *, closing: Callable[[], bool] = _open) -> Site:
    """What the API server calls.

    Once ``closing``, each answer asks for a new connection, which somebody else will get.
    """
    desk = _Reviewer(admission, closing)
    return Site(
        pages={INJECT_PATH: {"POST": desk.inject}},
        largest_body=LARGEST_REVIEW,
        room=ROOM,
        patience=_patience,
        refused=desk.refused,
    )


class _Reviewer:
    def __init__(self, admission: Admission, closing: Callable[[], bool]) -> None:
        self._admission = admission
        self._tally = admission.tally
        self._closing = closing

    def inject(self, request: Request) -> Answer:
        """The answer to a review, as soon as there is one."""
        until = request.since + _patience(request.query)
        if problem := _foreign(request):
            self._tally.answered(UNUSABLE, Unusable.CONTENT_TYPE)
            return self._timed(request, said(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, problem))
        try:
            answer = self._admission.answer(reviews.read(request.body), until=until)
        except reviews.NotAReview as wrong:
            self._tally.answered(UNUSABLE, Unusable.NOT_A_REVIEW)
            return self._timed(request, said(HTTPStatus.BAD_REQUEST, str(wrong)))
        except reviews.UnexpectedReview as wrong:
            self._tally.answered(UNUSABLE, Unusable.UNEXPECTED_REVIEW)
            answer = reviews.refused(wrong.uid, reason=wrong.code, message=str(wrong), code=400)
        if isinstance(answer, bytes):
            return self._timed(request, _review(answer))
        return self._later(request, answer)

    def refused(self, status: HTTPStatus) -> None:
        """What came too slowly, or was too much, counts as a review."""
        if status in _UNUSABLE:
            self._tally.answered(UNUSABLE, _UNUSABLE[status])

    async def _later(self, request: Request, answer: Awaitable[bytes]) -> Response:
        return self._timed(request, _review(await answer))

    def _timed(self, request: Request, response: Response) -> Response:
        self._tally.took(time.monotonic() - request.since)
        return replace(response, last=True) if self._closing() else response


def _review(answer: bytes) -> Response:
    return Response(body=answer, content_type=_JSON)


def _foreign(request: Request) -> str | None:
    """Why the body cannot be JSON as it is, going by its head; None where it says that it is."""
    kind = request.headers.get("content-type", "nothing").partition(";")[0].strip().lower()
    if kind != _JSON:
        return f"got content type {kind}, expected {_JSON}"
    coding = request.headers.get("content-encoding", "identity")
    if coding != "identity":
        return f"got content encoding {coding}, expected none"
    return None


# An API server says the same each time, and to read it takes half as long as to read the head.
@lru_cache(maxsize=16)
def _patience(query: str) -> float:
    """The seconds that a review may take, from its head to its answer."""
    return patience(parse_qs(query).get("timeout", [""])[0])
