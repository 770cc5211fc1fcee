"""kopf as the controller sets it up."""

import logging
from typing import Any, cast

import kopf
import pytest

from rolesanywhere_operator.controller import routes


async def never() -> kopf.AiohttpSession:
    raise AssertionError("nobody logs in here")


class Watching:
    """Somebody who is told, and remembers."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []

    def saw(self, body: dict[str, Any]) -> None:
        self.told.append(("saw", body["metadata"]["name"]))

    def lost(self, body: dict[str, Any]) -> None:
        self.told.append(("lost", body["metadata"]["name"]))


def build(watcher: Watching | None = None) -> kopf.OperatorRegistry:
    return routes.registry(login=never, watcher=watcher or Watching())


def test_importing_registers_nothing_with_kopf() -> None:
    assert not kopf.get_default_registry()._changing.get_all_handlers()


def test_the_route_names_its_resource_in_full() -> None:
    (handler,) = build()._watching.get_all_handlers()
    assert handler.selector is not None
    assert (handler.selector.group, handler.selector.version, handler.selector.plural) == (
        "rolesanywhere.dev", "v1alpha1", "rolesanywherebindings",
    )  # fmt: skip


def test_kopf_has_nothing_to_keep_notes_or_a_finalizer_for() -> None:
    assert not build()._changing.get_all_handlers()
    assert not build()._spawning.get_all_handlers()


@pytest.mark.parametrize(
    ("event", "told"),
    [(None, "saw"), ("ADDED", "saw"), ("MODIFIED", "saw"), ("DELETED", "lost")],
)
async def test_every_event_of_a_binding_is_told(event: str | None, told: str) -> None:
    watcher = Watching()
    (handler,) = build(watcher)._watching.get_all_handlers()
    seen: Any = {"type": event, "object": {"metadata": {"name": "reports"}}}
    await cast(Any, handler.fn)(event=seen, body={}, patch={})
    assert watcher.told == [(told, "reports")]


def test_a_warning_of_kopf_comes_without_its_settings(caplog: pytest.LogCaptureFixture) -> None:
    routes.quieten_logs()
    logger = logging.getLogger("kopf.objects")
    logger.warning("oh", extra={"settings": routes.settings(), "k8s_ref": {"name": "reports"}})
    logger.info("chatter")
    (record,) = caplog.records
    assert not hasattr(record, "settings")
    assert vars(record)["k8s_ref"] == {"name": "reports"}
