"""Collections that are too large for one answer: listed page by page, and cut down on the way in.

Never keeps what it has read: `reflector` does, or nobody.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from rolesanywhere_operator.kube.client import METADATA, METADATA_LIST, Json

# Objects a page: memory against requests; what client-go's pager asks for.
PAGE: Final = 500


class Client(Protocol):
    """What paging needs of the API client."""

    async def get(
        self, path: str, *, query: Mapping[str, str] | None = None, accept: str = ...
    ) -> Json:
        """GET ``path``."""
        ...

    def watch(
        self,
        path: str,
        *,
        resource_version: str,
        seconds: int,
        query: Mapping[str, str] | None = None,
        accept: str = ...,
    ) -> AsyncIterator[Json]:
        """The events of ``path`` after ``resource_version``."""
        ...


@dataclass(frozen=True, slots=True)
class Selection:
    """Which objects of a collection: selectors as the API takes them, empty for all."""

    labels: str = ""
    fields: str = ""

    def query(self) -> dict[str, str]:
        """The selectors that select."""
        selectors = {"labelSelector": self.labels, "fieldSelector": self.fields}
        return {name: selector for name, selector in selectors.items() if selector}


async def pages(client: Client, path: str, selection: Selection) -> AsyncIterator[Json]:
    """The metadata of the collection at ``path``, a list of up to ``PAGE`` objects at a time.

    All pages show the same moment. Raises `Gone` when reading them took minutes, other `KubeError`.
    """
    query = {**selection.query(), "limit": str(PAGE)}
    while True:
        page = await client.get(path, query=query, accept=METADATA_LIST)
        yield page
        further = (page.get("metadata") or {}).get("continue")
        if not further:
            return
        query["continue"] = further


class Metadata:
    """The metadata of selected objects, as a `rolesanywhere_operator.kube.reflector.Source`.

    Of annotations only ``annotations`` get through; ``changed`` is called at every list and change.
    """

    def __init__(
        self,
        client: Client,
        selection: Selection,
        *,
        annotations: frozenset[str] = frozenset(),
        changed: Callable[[], None],
    ) -> None:
        self._client = client
        self._selection = selection
        self._annotations = annotations
        self._changed = changed

    async def get(self, path: str) -> Json:
        """The whole list. Raises `KubeError`."""
        kept: list[Json] = []
        metadata: Any = {}
        async for page in pages(self._client, path, self._selection):
            metadata = page.get("metadata")
            kept += [self._cut_down(one) for one in page.get("items") or ()]
        self._changed()
        return {"metadata": metadata, "items": kept}

    async def watch(self, path: str, *, resource_version: str, seconds: int) -> AsyncIterator[Json]:
        """What happens after ``resource_version``. Raises `KubeError`."""
        async for event in self._client.watch(
            path,
            resource_version=resource_version,
            seconds=seconds,
            query=self._selection.query(),
            accept=METADATA,
        ):
            yield {"type": event.get("type"), "object": self._cut_down(event.get("object") or {})}
            if event.get("type") != "BOOKMARK":
                self._changed()

    def _cut_down(self, item: Json) -> Json:
        metadata = item.get("metadata") or {}
        annotations = metadata.get("annotations") or {}
        names = ("namespace", "name", "uid", "resourceVersion")
        return {
            "metadata": {
                **{name: metadata[name] for name in names if name in metadata},
                "annotations": {
                    name: annotations[name] for name in self._annotations & annotations.keys()
                },
            }
        }
