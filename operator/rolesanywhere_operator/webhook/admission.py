"""Answers reviews: asks `selection` what becomes of a pod, and has `injection` do it.

Never lets a pod in because of a mistake of ours, and never shows its author a stack trace.
"""

import asyncio
import logging
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime

from rolesanywhere_operator.domain import (
    bindings,
    injection,
    marks,
    pods,
    podsecurity,
    selection,
)
from rolesanywhere_operator.domain.decisions import Decision, Inject, Leave, Reason, Refuse
from rolesanywhere_operator.domain.sidecardefaults import SidecarDefaults
from rolesanywhere_operator.domain.turns import Quota
from rolesanywhere_operator.kube.errors import KubeError
from rolesanywhere_operator.webhook import levels, reviews
from rolesanywhere_operator.webhook.catalog import Catalog
from rolesanywhere_operator.webhook.levels import Levels
from rolesanywhere_operator.webhook.reviews import Json, Review
from rolesanywhere_operator.webhook.tally import (
    FAILED,
    INJECT,
    INTERNAL_ERROR,
    LEAVE,
    REFUSE,
    Tally,
)

log = logging.getLogger(__name__)

# What is refused for these would be refused whatever bindings there are.
_NOT_ABOUT_BINDINGS = frozenset(
    {
        Reason.MALFORMED_ANNOTATION,
        Reason.CONTRADICTORY_ANNOTATIONS,
        Reason.INCOMPLETE_ANNOTATIONS,
        Reason.UNKNOWN_CONTAINER,
        Reason.NO_CONTAINER,
        Reason.HOST_NETWORK,
        Reason.WINDOWS,
        Reason.NAME_TAKEN,
    }
)


def _no_queue(_: Quota) -> None:
    """Nobody waits."""


class Admission:
    """Answers for pods, by the bindings of ``catalog``; ``take_turn`` gives places in a fleet.

    ``sidecars`` holds where a binding says nothing, ``level_of`` tells a namespace's Pod Security,
    and ``tally`` counts what became of pods.
    """

    def __init__(
        self,
        catalog: Catalog,
        sidecars: SidecarDefaults,
        *,
        level_of: Levels = levels.unknown,
        take_turn: Callable[[Quota], datetime | None] = _no_queue,
        tally: Tally | None = None,
    ) -> None:
        self.tally = tally or Tally()
        self._catalog = catalog
        self._sidecars = sidecars
        self._level_of = level_of
        self._take_turn = take_turn

    def answer(self, review: Review, *, until: float | None = None) -> bytes | Awaitable[bytes]:
        """The AdmissionReview that answers ``review``, whatever happens.

        It is to be awaited where the API server has to be asked first; nobody waits for that longer
        than ``until``, in seconds of the event loop's clock.
        """
        try:
            namespace = review.namespace
            decision = selection.decide(review.pod, namespace, self._catalog.at_hand(namespace))
            if not _is_to_be_asked_about(decision):
                return self._given(review, decision)
        except Exception as mistake:
            return self._failed(review, mistake)
        return self._after_asking(review, decision, until)

    async def _after_asking(self, review: Review, decision: Decision, until: float | None) -> bytes:
        try:
            if isinstance(decision, Refuse):
                decision = await self._decided_again(review, decision, until)
            if _needs_folders(decision):
                enforced = await self._level_of(review.namespace, until)
                decision = podsecurity.judged(decision, enforced)
            return self._given(review, decision)
        except Exception as mistake:
            return self._failed(review, mistake)

    async def _decided_again(
        self, review: Review, refusal: Refuse, until: float | None
    ) -> Decision:
        """Nobody is refused for a binding that the copy has not heard of yet."""
        try:
            async with asyncio.timeout_at(until):
                current = await self._catalog.asked(review.namespace)
        except (KubeError, TimeoutError) as problem:
            said = str(problem) or "no answer while the review could wait"
            log.warning("bindings cannot be read", extra={"problem": said})
            doubt = " (as last heard: the API server could not be asked again)"
            return replace(refusal, sentence=refusal.sentence + doubt)
        return selection.decide(review.pod, review.namespace, current)

    def _given(self, review: Review, decision: Decision) -> bytes:
        """The answer that ``decision`` means, which is logged and counted."""
        answer = self._answer(review, decision)
        told = _told(decision)
        log.info("admission", extra=told | _about(review))
        self.tally.answered(told["decision"], told["reason"])
        return answer

    def _failed(self, review: Review, mistake: Exception) -> bytes:
        reference = secrets.token_hex(4)
        extra = {"reference": reference, **_about(review)}
        log.error("admission failed", extra=extra, exc_info=mistake)
        self.tally.answered(FAILED, INTERNAL_ERROR)
        return reviews.refused(
            review.uid,
            reason=INTERNAL_ERROR,
            message="the rolesanywhere webhook failed on this pod; its log says more under"
            f" reference {reference}, please report it",
            code=500,
        )

    def _answer(self, review: Review, decision: Decision) -> bytes:
        match decision:
            case Inject():
                operations = injection.inject(
                    review.pod,
                    decision,
                    defaults=self._sidecars,
                    start_after=self._turn_of(review, decision),
                )
                return reviews.allowed(review.uid, operations)
            case Leave():
                return reviews.allowed(review.uid)
            case Refuse(reason, sentence):
                return reviews.refused(review.uid, reason=reason, message=sentence)

    def _turn_of(self, review: Review, decision: Inject) -> datetime | None:
        """None for what will ask for no session: a dry run, and a pod that has its sidecar."""
        if review.dry_run or marks.is_injected(review.pod):
            return None
        settings = decision.binding.settings
        anchor = settings.trust_anchor_arn
        return self._take_turn(Quota(anchor.partition, anchor.account, settings.signing_region))


def _is_to_be_asked_about(decision: Decision) -> bool:
    """Whether the copy at hand is not enough."""
    if isinstance(decision, Refuse):
        return decision.reason not in _NOT_ABOUT_BINDINGS
    return _needs_folders(decision)


def _needs_folders(decision: Decision) -> bool:
    """Whether the pod would be given folders of its node."""
    return isinstance(decision, Inject) and bool(bindings.folders(decision.binding))


def _told(decision: Decision) -> Json:
    match decision:
        case Inject(reason, binding, containers):
            return {
                "decision": INJECT,
                "reason": str(reason),
                "binding": binding.name,
                "generation": binding.generation,
                "containers": list(containers),
            }
        case Refuse(reason, sentence, named):
            return {
                "decision": REFUSE,
                "reason": str(reason),
                "binding": named,
                "sentence": sentence,
            }
        case Leave(reason):
            return {"decision": LEAVE, "reason": str(reason)}


def _about(review: Review) -> Json:
    return {
        "namespace": review.namespace,
        "pod": pods.display_name(review.pod),
        "dry_run": review.dry_run,
        "uid": review.uid,
    }
