"""Admission over HTTP: one path, and for everything else a status with a sentence.

Never decides about pods; never serves probes on the port that the API server calls.
"""

import asyncio
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from aiohttp import web

from rolesanywhere_operator.webhook import reviews
from rolesanywhere_operator.webhook.admission import Admission
from rolesanywhere_operator.webhook.patience import patience
from rolesanywhere_operator.webhook.tally import UNUSABLE

INJECT_PATH: Final = "/inject"
# etcd takes objects of 1.5 MiB by default, and JSON may double one; a review can hold two.
LARGEST_REVIEW: Final = 8 * 2**20


def _open() -> bool:
    """Nobody is asked to leave."""
    return False


def reviewer(admission: Admission, *, closing: Callable[[], bool] = _open) -> web.Application:
    """The application that the API server calls.

    Once ``closing``, each answer asks for a new connection, which somebody else will get.
    """

    async def inject(request: web.Request) -> web.Response:
        since = time.perf_counter()
        answer = await _inject(request, admission)
        if closing():
            answer.force_close()
        admission.tally.took(time.perf_counter() - since)
        return answer

    app = web.Application(client_max_size=LARGEST_REVIEW)
    app.router.add_post(INJECT_PATH, inject)
    return app


async def _inject(request: web.Request, admission: Admission) -> web.Response:
    until = asyncio.get_running_loop().time() + patience(request.query.get("timeout"))
    if request.content_type != "application/json":
        admission.tally.answered(UNUSABLE, "ContentType")
        return web.Response(
            status=HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            text=f"got content type {request.content_type}, expected application/json\n",
        )
    try:
        async with asyncio.timeout_at(until):
            body = await request.read()
        review = reviews.read(body)
    except TimeoutError:
        admission.tally.answered(UNUSABLE, "Slow")
        return web.Response(
            status=HTTPStatus.REQUEST_TIMEOUT, text="the review did not come in time\n"
        )
    except reviews.NotAReview as wrong:
        admission.tally.answered(UNUSABLE, wrong.code)
        return web.Response(status=HTTPStatus.BAD_REQUEST, text=f"{wrong}\n")
    except reviews.UnexpectedReview as wrong:
        admission.tally.answered(UNUSABLE, wrong.code)
        answer = reviews.refused(wrong.uid, reason=wrong.code, message=str(wrong), code=400)
        return web.json_response(answer)
    return web.json_response(await admission.answer(review, until=until))
