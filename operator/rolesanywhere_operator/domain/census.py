"""How many pods each binding serves, from no more of a pod than its metadata.

Never asks anybody and keeps nothing: counted anew each time, a count cannot drift.
"""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

from rolesanywhere_operator.domain import marks, pods
from rolesanywhere_operator.domain.pods import Json
from rolesanywhere_operator.domain.untyped import mapping

# Namespace and name.
Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Injected:
    """All that is kept of an injected pod; there may be tens of thousands."""

    uid: str
    binding: str
    generation: int


@dataclass(frozen=True, slots=True)
class Count:
    """The pods of one binding: ``ready`` and ``outdated`` are each a part of ``injected``."""

    injected: int = 0
    ready: int = 0
    outdated: int = 0

    def status(self) -> dict[str, int]:
        """As the binding's ``status.pods``."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Counted:
    """A binding as far as counting goes: what its status says of pods, if it is whole.

    ``judged``: it has a status at all. One that has none is about to get one.
    """

    generation: int
    version: str
    said: Count | None
    judged: bool = True


def read_pod(pod: Json) -> Injected | None:
    """What there is to keep of ``pod``; None where it was not injected."""
    mark = marks.read(pod)
    if mark is None:
        return None
    # One string for all the pods of a binding.
    return Injected(uid(pod), sys.intern(mark.binding), mark.generation)


def uid(pod: Json) -> str:
    """Unlike a name, never used again."""
    return str(pods.metadata(pod).get("uid") or "")


def read_binding(body: Json) -> Counted:
    """The binding ``body`` as the API server holds it."""
    metadata = mapping(body.get("metadata"))
    status = mapping(body.get("status"))
    told = mapping(status.get("pods"))
    numbers = [told.get(name) for name in ("injected", "ready", "outdated")]
    whole = all(isinstance(number, int) for number in numbers)
    return Counted(
        generation=int(metadata.get("generation") or 0),
        version=str(metadata.get("resourceVersion") or ""),
        said=Count(*numbers) if whole else None,  # type: ignore[arg-type]  # whole numbers they are
        judged="observedGeneration" in status,
    )


def tally(
    injected: Iterable[tuple[Key, Injected | None]],
    running: Mapping[Key, str],
    bindings: Mapping[Key, Counted],
) -> dict[Key, Count]:
    """The pods of every binding in ``bindings``; ``running`` has the uids of pods that run.

    Pods of a binding that is no longer there count for nobody.
    """
    sums = {key: [0, 0, 0] for key in bindings}
    for (namespace, name), pod in injected:
        if pod is None or (of := sums.get((namespace, pod.binding))) is None:
            continue
        of[0] += 1
        of[1] += running.get((namespace, name)) == pod.uid
        # Not "below": who makes a binding anew makes its first generation again.
        of[2] += pod.generation != bindings[namespace, pod.binding].generation
    return {key: Count(*numbers) for key, numbers in sums.items()}
