"""The bindings that admission looks at: a copy at hand, and the API server behind it.

Never waits for the API server where the copy has an answer that lets a pod in.
"""

from collections.abc import Mapping
from functools import partial
from typing import Final, Protocol

from rolesanywhere_contract.names import API_VERSION, PLURAL
from rolesanywhere_operator.domain import bindings
from rolesanywhere_operator.domain.bindings import Entry
from rolesanywhere_operator.kube.reflector import Chance, Reflector, Source

EVERYWHERE: Final = f"/apis/{API_VERSION}/{PLURAL}"


class Catalog(Protocol):
    """What admission needs to know of bindings."""

    def at_hand(self, namespace: str) -> Mapping[str, Entry]:
        """The namespace's bindings by name, as last heard."""
        ...

    async def asked(self, namespace: str) -> Mapping[str, Entry]:
        """The namespace's bindings by name, as they are now. Raises `KubeError`."""
        ...


class LiveCatalog:
    """A `Catalog` that follows the API server once its ``reflector`` runs."""

    def __init__(
        self,
        source: Source,
        *,
        trust_domain: str,
        chance: Chance,
        host_paths: frozenset[str] = frozenset(),
    ) -> None:
        self._source = source
        self._read = partial(bindings.read, trust_domain=trust_domain, host_paths=host_paths)
        self.reflector = Reflector(source, EVERYWHERE, read=self._read, chance=chance)

    def at_hand(self, namespace: str) -> Mapping[str, Entry]:
        """The namespace's bindings by name, as last heard."""
        return self.reflector.of(namespace)

    async def asked(self, namespace: str) -> Mapping[str, Entry]:
        """The namespace's bindings by name, as they are now. Raises `KubeError`."""
        listed = await self._source.get(f"/apis/{API_VERSION}/namespaces/{namespace}/{PLURAL}")
        items = listed.get("items") or ()
        return {str(item["metadata"]["name"]): self._read(item) for item in items}
