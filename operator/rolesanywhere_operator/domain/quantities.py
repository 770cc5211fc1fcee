"""Requests and limits of a container, as whoever runs the operator writes them down.

What the API server would refuse is refused here: it would be every pod that is injected, long
after. Never says what a sidecar needs.
"""

import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

# Suffixes of Kubernetes' "Quantity", and what each multiplies by.
_DECIMAL: Final = {
    "n": -9,
    "u": -6,
    "m": -3,
    "": 0,
    "k": 3,
    "M": 6,
    "G": 9,
    "T": 12,
    "P": 15,
    "E": 18,
}
_SUFFIXES: Final[Mapping[str, Decimal]] = {
    **{suffix: Decimal(10) ** exponent for suffix, exponent in _DECIMAL.items()},
    **{f"{letter}i": Decimal(1024) ** at for at, letter in enumerate("KMGTPE", start=1)},
}
_QUANTITY: Final = re.compile(
    r"(?P<number>[0-9]{1,18}(?:\.[0-9]{0,9})?|\.[0-9]{1,9})"
    r"(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]{1,2}))?"
)
# Kubernetes' own resources; all others have a domain before their name.
_RESOURCE: Final = re.compile(
    r"cpu|memory|ephemeral-storage|hugepages-[0-9A-Za-z]+|[a-z0-9.-]+/[A-Za-z0-9._-]+"
)
_EXAMPLE: Final = '{"requests": {"cpu": "10m"}, "limits": {"memory": "128Mi"}}'


def resources(given: str) -> Mapping[str, Any]:
    """The requests and limits that ``given`` is in JSON, each of its quantities as text.

    Raises ValueError with what was got and expected.
    """
    try:
        found = json.loads(given)
    except ValueError as wrong:
        raise ValueError(f"{given!r} is not JSON ({wrong}), expected such as {_EXAMPLE}") from wrong
    if not isinstance(found, dict) or not found.keys() <= {"requests", "limits"}:
        raise ValueError(
            f"{given!r} is no requests and limits, expected an object with nothing but these, such"
            f" as {_EXAMPLE}"
        )
    read = {kind: _quantities(kind, quantities) for kind, quantities in found.items()}
    _compare(read.get("requests", {}), read.get("limits", {}))
    return read


def amount(quantity: str) -> Decimal:
    """What ``quantity`` comes to, such as 0.01 for 10m. Raises ValueError."""
    match = _QUANTITY.fullmatch(quantity)
    if match is None:
        raise ValueError(f"{quantity!r} is not a quantity, expected such as 10m, 0.5 or 64Mi")
    number = Decimal(match["number"])
    if match["exponent"]:
        return number.scaleb(int(match["exponent"]))
    return number * _SUFFIXES[match["suffix"] or ""]


def _quantities(kind: str, given: object) -> dict[str, str]:
    if not isinstance(given, dict):
        raise ValueError(f"{kind} is {given!r}, expected an object of quantities")
    for name in given:
        if not _RESOURCE.fullmatch(name):
            raise ValueError(
                f"{kind}: {name!r} is not a resource, expected cpu, memory, ephemeral-storage or"
                " DOMAIN/NAME"
            )
    return {name: _quantity(f"{kind}.{name}", one) for name, one in given.items()}


def _quantity(where: str, given: object) -> str:
    """A number is a quantity too, as in YAML; true is none."""
    written = str(given) if isinstance(given, str | int | float) else ""
    try:
        amount(written)
    except ValueError:
        raise ValueError(
            f"{where}: {given!r} is not a quantity, expected such as 10m, 0.5 or 64Mi"
        ) from None
    return written


def _compare(requests: Mapping[str, str], limits: Mapping[str, str]) -> None:
    for name in requests.keys() & limits.keys():
        if amount(requests[name]) > amount(limits[name]):
            raise ValueError(
                f"requests.{name} is {requests[name]} and limits.{name} {limits[name]}, expected"
                " no request above its limit"
            )
