"""What can become of a pod, and the one stable word for why.

Never decides: it is the vocabulary of those who do, and of logs, Events and metrics.
"""

from dataclasses import dataclass
from enum import StrEnum

from rolesanywhere_operator.domain.bindings import Binding


class Reason(StrEnum):
    """Why a pod was treated as it was. Released words never change."""

    BINDING_NAMED = "BindingNamed"
    BINDING_SELECTED = "BindingSelected"

    NOT_ASKED = "NotAsked"
    OPTED_OUT = "OptedOut"

    MALFORMED_ANNOTATION = "MalformedAnnotation"
    CONTRADICTORY_ANNOTATIONS = "ContradictoryAnnotations"
    INCOMPLETE_ANNOTATIONS = "IncompleteAnnotations"
    UNKNOWN_CONTAINER = "UnknownContainer"
    NO_CONTAINER = "NoContainer"
    BINDING_NOT_FOUND = "BindingNotFound"
    BINDING_DOES_NOT_MATCH = "BindingDoesNotMatch"
    NO_BINDING_MATCHES = "NoBindingMatches"
    SEVERAL_BINDINGS_MATCH = "SeveralBindingsMatch"
    INVALID_BINDING = "InvalidBinding"
    HOST_PATH_NOT_ALLOWED = "HostPathNotAllowed"
    POD_SECURITY_FORBIDS = "PodSecurityForbids"
    HOST_NETWORK = "HostNetwork"
    WINDOWS = "Windows"
    SHARED_PROCESS_NAMESPACE = "SharedProcessNamespace"
    PORT_TAKEN = "PortTaken"
    NAME_TAKEN = "NameTaken"
    NAME_TOO_LONG = "NameTooLong"
    INJECTED_FOR_ANOTHER = "InjectedForAnother"


@dataclass(frozen=True, slots=True)
class Inject:
    """The pod gets ``binding``'s credentials in these containers."""

    reason: Reason
    binding: Binding
    containers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Leave:
    """The pod is none of our business."""

    reason: Reason


@dataclass(frozen=True, slots=True)
class Refuse:
    """The pod must not start: it asks for what it cannot have. ``sentence`` says what to do."""

    reason: Reason
    sentence: str
    binding: str | None = None


Decision = Inject | Leave | Refuse
