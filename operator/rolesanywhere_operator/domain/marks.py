"""What we write on an injected pod about its injection: one annotation, read back by ourselves.

Anybody can write such an annotation, so nothing that matters for security may rest on it.
"""

import json
from dataclasses import asdict, dataclass

from rolesanywhere_contract.names import INJECTED_ANNOTATION
from rolesanywhere_operator.domain import pods
from rolesanywhere_operator.domain.pods import Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """Which binding, at which ``metadata.generation``, put which image beside which containers."""

    binding: str
    generation: int
    image: str
    containers: tuple[str, ...]

    def __str__(self) -> str:
        return json.dumps(asdict(self), sort_keys=True)


def read(pod: Json) -> Mark | None:
    """The pod's mark; None where there is none that we could have written."""
    try:
        given = json.loads(pods.annotations(pod).get(INJECTED_ANNOTATION, ""))
        match given:
            case {
                "binding": str(binding),
                "generation": int(generation),
                "image": str(image),
                "containers": list(containers),
            }:
                names = tuple(str(name) for name in containers)
                return Mark(binding=binding, generation=generation, image=image, containers=names)
    except ValueError:
        pass
    return None
