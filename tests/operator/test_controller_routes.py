"""kopf as the controller sets it up."""

import logging
from datetime import UTC, datetime

import kopf
import pytest

from rolesanywhere_operator.controller import routes


async def never() -> kopf.AiohttpSession:
    raise AssertionError("nobody logs in here")


def build() -> kopf.OperatorRegistry:
    return routes.registry(login=never, now=lambda: datetime.now(UTC))


def test_importing_registers_nothing_with_kopf() -> None:
    assert not kopf.get_default_registry()._changing.get_all_handlers()


def test_every_route_names_its_resource_in_full_and_needs_no_finalizer() -> None:
    handlers = build()._changing.get_all_handlers()
    assert {str(handler.reason) for handler in handlers} == {"create", "update", "None"}
    for handler in handlers:
        assert handler.selector is not None
        assert (handler.selector.group, handler.selector.version, handler.selector.plural) == (
            "rolesanywhere.dev", "v1alpha1", "rolesanywherebindings",
        )  # fmt: skip
        assert not handler.requires_finalizer


def test_working_notes_go_into_the_status_alone() -> None:
    persistence = routes.settings().persistence
    assert isinstance(persistence.progress_storage, kopf.StatusProgressStorage)
    assert isinstance(persistence.diffbase_storage, kopf.StatusDiffBaseStorage)
    assert persistence.progress_storage.field == ("status", "kopf", "progress")
    assert persistence.progress_storage.touch_field == ("status", "kopf", "touched")
    assert persistence.diffbase_storage.field == ("status", "kopf", "lastHandled")


def test_a_warning_of_kopf_comes_without_its_settings(caplog: pytest.LogCaptureFixture) -> None:
    routes.quieten_logs()
    logger = logging.getLogger("kopf.objects")
    logger.warning("oh", extra={"settings": routes.settings(), "k8s_ref": {"name": "reports"}})
    logger.info("chatter")
    (record,) = caplog.records
    assert not hasattr(record, "settings")
    assert vars(record)["k8s_ref"] == {"name": "reports"}
