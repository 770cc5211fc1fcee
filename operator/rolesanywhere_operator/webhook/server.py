"""Admission over HTTP: one path, and for everything else a status with a sentence.

Never decides about pods; never serves probes on the port that the API server calls.
"""

import time
from http import HTTPStatus
from typing import Final

from aiohttp import web

from rolesanywhere_operator.webhook import reviews
from rolesanywhere_operator.webhook.admission import Admission
from rolesanywhere_operator.webhook.tally import UNUSABLE

INJECT_PATH: Final = "/inject"
# etcd takes objects of 1.5 MiB by default, and JSON may double one; a review can hold two.
LARGEST_REVIEW: Final = 8 * 2**20


def reviewer(admission: Admission) -> web.Application:
    """The application that the API server calls."""

    async def inject(request: web.Request) -> web.Response:
        since = time.perf_counter()
        answer = await _inject(request, admission)
        admission.tally.took(time.perf_counter() - since)
        return answer

    app = web.Application(client_max_size=LARGEST_REVIEW)
    app.router.add_post(INJECT_PATH, inject)
    return app


async def _inject(request: web.Request, admission: Admission) -> web.Response:
    if request.content_type != "application/json":
        admission.tally.answered(UNUSABLE, "ContentType")
        return web.Response(
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            text=f"got content type {request.content_type}, expected application/json\n",
        )
    try:
        review = reviews.read(await request.read())
    except reviews.NotAReview as wrong:
        admission.tally.answered(UNUSABLE, wrong.code)
        return web.Response(status=HTTPStatus.BAD_REQUEST, text=f"{wrong}\n")
    except reviews.UnexpectedReview as wrong:
        admission.tally.answered(UNUSABLE, wrong.code)
        answer = reviews.refused(wrong.uid, reason=wrong.code, message=str(wrong), code=400)
        return web.json_response(answer)
    return web.json_response(await admission.answer(review))
