"""The webhook's certificate as the controller keeps it: real certificates, virtual time.

The last test tries to have an API server meet a certificate that it does not trust, by any order
of crashes, late writes, deletions and slow volumes.
"""

import asyncio
import base64
import json
import logging
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, TypeVar, cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import verification
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from rolesanywhere_operator.controller import minting, whoami
from rolesanywhere_operator.controller.serving import CertificateKeeper, Place
from rolesanywhere_operator.domain.authorities import (
    AUTHORITY_LIFE,
    AUTHORITY_MARGIN,
    LEAF_LIFE,
    LEAF_MARGIN,
    SETTLING,
)
from rolesanywhere_operator.kube.errors import Conflict, Unavailable
from tests.operator.certificates import a_pair
from tests.operator.keeping import Fate, ScriptedObjects

T = TypeVar("T")
# Mostly all goes well: else nothing would ever get as far as to go wrong.
FATES: st.SearchStrategy[Fate] = st.one_of(
    st.just("arrives"), st.sampled_from(["arrives", "is lost", "answer is lost", "arrives late"])
)
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOST = "aws-rolesanywhere-webhook.aws-system.svc"
PLACE = Place(
    namespace="aws-system",
    secret="webhook-tls",
    configuration="aws-system-webhook",
    hosts=frozenset({HOST, "127.0.0.1"}),
)


def finished(work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` returns; it waits for nothing here."""
    try:
        work.send(None)
    except StopIteration as done:
        return cast("T", done.value)
    raise AssertionError("it waits")


class Cluster:
    """What the keeper sees and does, and a clock that only goes when it is told to."""

    def __init__(self, *, webhooks: int = 1) -> None:
        self.objects = ScriptedObjects(
            PLACE.configuration_path, secret=PLACE.secret_path, webhooks=webhooks
        )
        self.seconds = 0.0
        self.new_leader()

    @property
    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)

    def new_leader(self) -> None:
        """As after a crash: nothing is remembered."""
        self.keeper = CertificateKeeper(
            self.objects, PLACE, now=lambda: self.now, clock=lambda: self.seconds
        )

    def look(self) -> bool:
        return finished(self.keeper.look())

    def settle(self) -> None:
        """Look until nothing is left to be done."""
        for _ in range(3):
            while self.look():
                pass
            self.seconds += SETTLING.total_seconds()

    def text(self, name: str) -> str:
        """One of the Secret's texts."""
        data = self.objects.held.get(PLACE.secret_path, {}).get("data", {})
        return base64.b64decode(data.get(name, "")).decode()

    @property
    def bundle(self) -> str:
        [text] = {
            base64.b64decode(one["clientConfig"].get("caBundle", "")).decode()
            for one in self.objects.held[PLACE.configuration_path]["webhooks"]
        }
        return text


@cache
def trusted_until(leaf: str, bundle: str, host: str) -> datetime | None:
    """Until when a client that trusts ``bundle`` would talk to ``host`` with ``leaf``."""
    if not leaf or not bundle:
        return None
    shown = x509.load_pem_x509_certificate(leaf.encode())
    store = verification.Store(x509.load_pem_x509_certificates(bundle.encode()))
    last = shown.not_valid_after_utc - timedelta(seconds=1)
    try:
        verifier = verification.PolicyBuilder().store(store).time(last)
        verifier.build_server_verifier(x509.DNSName(host)).verify(shown, [])
    except verification.VerificationError:
        return None
    return shown.not_valid_after_utc


def verifies(leaf: str, bundle: str, *, at: datetime, host: str = HOST) -> bool:
    """Whether it would do so at ``at``."""
    until = trusted_until(leaf, bundle, host)
    return until is not None and at < until


@pytest.fixture
def cluster() -> Cluster:
    return Cluster()


@pytest.fixture
def served(cluster: Cluster) -> Cluster:
    """A cluster where all is well."""
    cluster.settle()
    return cluster


def test_from_nothing_to_a_certificate_that_is_trusted(cluster: Cluster) -> None:
    while cluster.look():
        pass
    assert verifies(cluster.text("tls.crt"), cluster.bundle, at=cluster.now)
    assert cluster.objects.writes == [
        PLACE.secret_path, PLACE.configuration_path, PLACE.secret_path,
    ]  # fmt: skip


def test_the_certificate_is_for_its_hosts_and_for_no_other(served: Cluster) -> None:
    leaf = x509.load_pem_x509_certificate(served.text("tls.crt").encode())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(name.value) for name in names} == PLACE.hosts
    assert not verifies(served.text("tls.crt"), served.bundle, at=served.now, host="other.svc")


def test_keys_are_p256_and_no_two_are_alike(served: Cluster) -> None:
    keys = [minting._private_key(served.text(name)) for name in ("ca.key", "tls.key")]
    assert all(key is not None and isinstance(key.curve, ec.SECP256R1) for key in keys)
    assert served.text("ca.key") != served.text("tls.key")


def test_an_authority_signs_leaves_and_no_authorities(served: Cluster) -> None:
    [authority] = x509.load_pem_x509_certificates(served.bundle.encode())
    limits = authority.extensions.get_extension_for_class(x509.BasicConstraints).value
    assert (limits.ca, limits.path_length) == (True, 0)
    leaf = x509.load_pem_x509_certificate(served.text("tls.crt").encode())
    assert leaf.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False


def test_where_all_is_well_nothing_is_written(served: Cluster) -> None:
    before = len(served.objects.writes)
    for _ in range(5):
        served.seconds += 3600
        assert not served.look()
    served.new_leader()
    assert not served.look()
    assert len(served.objects.writes) == before


def test_a_leaf_is_renewed_and_its_authority_stays(served: Cluster) -> None:
    leaf, bundle = served.text("tls.crt"), served.bundle
    served.seconds += (LEAF_LIFE - LEAF_MARGIN).total_seconds()
    served.settle()
    assert served.text("tls.crt") != leaf
    assert served.bundle == bundle


def test_an_authority_is_renewed_and_the_old_one_trusted_until_its_end(served: Cluster) -> None:
    old = served.bundle
    for _ in range(26):
        served.seconds += timedelta(days=11).total_seconds()
        served.settle()
    assert served.bundle != old
    assert served.bundle.endswith(old)
    for _ in range(9):
        served.seconds += timedelta(days=11).total_seconds()
        served.settle()
    assert old not in served.bundle
    assert verifies(served.text("tls.crt"), served.bundle, at=served.now)


def test_a_year_and_more_of_neglect_is_mended(served: Cluster) -> None:
    served.seconds += (AUTHORITY_LIFE + AUTHORITY_MARGIN).total_seconds()
    served.settle()
    assert verifies(served.text("tls.crt"), served.bundle, at=served.now)
    assert len(x509.load_pem_x509_certificates(served.bundle.encode())) == 1


def test_a_deleted_secret_is_made_again_and_what_is_served_stays_trusted(served: Cluster) -> None:
    leaf = served.text("tls.crt")
    served.objects.delete(PLACE.secret_path)
    served.settle()
    assert served.text("tls.crt") not in {"", leaf}
    assert verifies(leaf, served.bundle, at=served.now)
    assert verifies(served.text("tls.crt"), served.bundle, at=served.now)


@pytest.mark.parametrize("name", ["tls.crt", "tls.key", "ca.crt", "ca.key"])
@pytest.mark.parametrize("garbage", ["", "Z2FyYmFnZQ==", "not base64"])
def test_a_secret_that_was_spoiled_is_mended(served: Cluster, name: str, garbage: str) -> None:
    leaf = served.text("tls.crt")
    data = {**served.objects.held[PLACE.secret_path]["data"], name: garbage}
    served.objects.edit(PLACE.secret_path, {"data": data})
    served.settle()
    assert verifies(leaf, served.bundle, at=served.now)
    assert verifies(served.text("tls.crt"), served.bundle, at=served.now)
    assert minting.leaf_of(served.text("tls.crt"), served.text("tls.key"), ()) is not None


def test_an_overwritten_configuration_is_put_right_at_the_next_look(served: Cluster) -> None:
    before = served.bundle
    served.objects.edit(
        PLACE.configuration_path, {"webhooks": [{"name": "inject", "clientConfig": {}}]}
    )
    assert served.look()
    assert served.bundle == before


def test_a_strangers_authority_is_not_kept_in_the_configuration(served: Cluster) -> None:
    before = served.bundle
    both = base64.b64encode(a_pair("a stranger").certificate + before.encode()).decode()
    webhook = {"name": "inject", "clientConfig": {"caBundle": both}}
    served.objects.edit(PLACE.configuration_path, {"webhooks": [webhook]})
    served.settle()
    assert served.bundle == before


def test_the_rest_of_the_configuration_is_left_as_it_is() -> None:
    cluster = Cluster(webhooks=2)
    cluster.settle()
    for webhook in cluster.objects.held[PLACE.configuration_path]["webhooks"]:
        assert webhook["clientConfig"].pop("caBundle")
        assert webhook == {"name": "inject", "clientConfig": {"service": {"name": "webhook"}}}


def test_while_a_new_authority_settles_the_leaf_stays_in_the_secret(served: Cluster) -> None:
    """A webhook that starts meanwhile needs one."""
    leaf = served.text("tls.crt")
    served.seconds += (AUTHORITY_LIFE - AUTHORITY_MARGIN - timedelta(days=1)).total_seconds()
    served.settle()
    leaf = served.text("tls.crt")
    served.seconds += timedelta(days=2).total_seconds()
    assert [served.look(), served.look(), served.look()] == [True, True, False]
    assert served.text("tls.crt") == leaf
    served.seconds += SETTLING.total_seconds()
    assert served.look()
    assert served.text("tls.crt") != leaf


def test_what_was_out_of_the_configuration_settles_anew(served: Cluster) -> None:
    served.objects.edit(PLACE.configuration_path, {"webhooks": [{"name": "inject"}]})
    served.seconds += (LEAF_LIFE - LEAF_MARGIN).total_seconds()
    assert [served.look(), served.look()] == [True, False]


@pytest.mark.parametrize("path", [PLACE.secret_path, PLACE.configuration_path])
def test_a_late_write_never_goes_over_what_it_has_not_seen(served: Cluster, path: str) -> None:
    objects = served.objects
    change: dict[str, Any] = {"data": {}} if path == PLACE.secret_path else {"webhooks": [{}]}
    objects.edit(path, change)
    objects.fate = "arrives late"
    with pytest.raises(Unavailable):
        served.look()
    served.settle()
    after = objects.held[path]
    objects.deliver()
    assert objects.held[path] == after


def test_a_configuration_that_is_not_there_yet_is_waited_for(
    cluster: Cluster, caplog: pytest.LogCaptureFixture
) -> None:
    configuration = cluster.objects.held.pop(PLACE.configuration_path)
    pauses: list[float] = []

    class Enough(Exception):
        """The test has seen what it wants."""

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            cluster.objects.held[PLACE.configuration_path] = configuration
        if len(pauses) == 4:
            raise Enough

    keeper = CertificateKeeper(
        cluster.objects, PLACE, now=lambda: cluster.now, clock=lambda: 0.0, sleep=sleep
    )
    with caplog.at_level(logging.INFO), pytest.raises(Enough):
        asyncio.run(keeper.run())
    assert verifies(cluster.text("tls.crt"), cluster.bundle, at=cluster.now)
    said = [vars(record) for record in caplog.records if record.levelno >= logging.WARNING]
    assert [line["code"] for line in said] == ["KubernetesNotFound"], "once, not at every look"


def test_no_key_is_logged(cluster: Cluster, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        cluster.settle()
    said = json.dumps([vars(record) for record in caplog.records], default=str)
    assert "webhook certificate kept" in said
    assert "PRIVATE KEY" not in said
    assert "PRIVATE KEY" not in repr(minting.new_authority(now=NOON))


class Interleavings(RuleBasedStateMachine):
    """Two API servers and two webhooks: of each, one hears at once and the other late.

    The late API server hears when ``SETTLING`` is over, the late volume follows within the nine
    days that the clock may jump.
    """

    @initialize()
    def begin(self) -> None:
        self.cluster = Cluster()
        self.cluster.settle()
        self.told: list[tuple[float, str]] = [(self.cluster.seconds, self.cluster.bundle)]
        self.late_one = 0
        self.serving = [self.cluster.text("tls.crt")] * 2
        self.deletions = 0

    @rule(fates=st.lists(FATES, min_size=1, max_size=4))
    def the_leader_looks(self, fates: list[Fate]) -> None:
        for fate in fates:
            self.cluster.objects.fate = fate
            with suppress(Unavailable, Conflict):
                self.cluster.look()
            self._note()
        self.cluster.objects.fate = "arrives"

    @rule()
    def the_leader_is_replaced(self) -> None:
        self.cluster.new_leader()

    @rule()
    def a_late_write_arrives(self) -> None:
        self.cluster.objects.deliver()
        self._note()

    @rule()
    def the_late_volume_follows(self) -> None:
        self.serving[1] = self.serving[0]

    @rule(seconds=st.sampled_from([1.0, 5.0, 14.0, 16.0]))
    def time_passes(self, seconds: float) -> None:
        self.cluster.seconds += seconds
        self._hear_in_time()

    @rule(days=st.sampled_from([5, 9]))
    def days_pass(self, days: int) -> None:
        """Days at whose end the controller works, and volumes follow."""
        self.cluster.seconds += timedelta(days=days).total_seconds()
        self._hear_in_time()
        for _ in range(3):
            while self.cluster.look():
                self._note()
            self.cluster.seconds += SETTLING.total_seconds()
            self._hear_in_time()
        self.serving = [self.cluster.text("tls.crt")] * 2

    @precondition(lambda self: self.deletions < 4)
    @rule()
    def the_secret_is_deleted(self) -> None:
        self.deletions += 1
        self.cluster.objects.delete(PLACE.secret_path)

    @precondition(lambda self: self._secret_knows_all())
    @rule()
    def the_configuration_is_overwritten(self) -> None:
        """Until the next look, a few seconds later, the API servers trust nobody."""
        webhook = {"name": "inject", "clientConfig": {"service": {"name": "webhook"}}}
        self.cluster.objects.edit(PLACE.configuration_path, {"webhooks": [webhook]})
        self.cluster.look()
        self._note()
        self.late_one = len(self.told) - 1

    @invariant()
    def every_api_server_trusts_every_webhook(self) -> None:
        for _, bundle in (self.told[self.late_one], self.told[-1]):
            for leaf in self.serving:
                assert verifies(leaf, bundle, at=self.cluster.now)

    def _secret_knows_all(self) -> bool:
        """What nobody holds any more, nobody can put back."""
        held = self.cluster.text("ca.crt")
        return all(verifies(leaf, held, at=self.cluster.now) for leaf in self.serving)

    def _note(self) -> None:
        if self.cluster.bundle != self.told[-1][1]:
            self.told.append((self.cluster.seconds, self.cluster.bundle))
        leaf, key = self.cluster.text("tls.crt"), self.cluster.text("tls.key")
        if minting.leaf_of(leaf, key, ()):
            self.serving[0] = leaf

    def _hear_in_time(self) -> None:
        deadline = self.cluster.seconds - SETTLING.total_seconds()
        heard = [n for n, (written, _) in enumerate(self.told) if written <= deadline]
        self.late_one = max([self.late_one, *heard])


TestInterleavings: Any = Interleavings.TestCase
TestInterleavings.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)


ACCOUNT = {"username": "system:serviceaccount:aws-system:controller", "uid": "sa-1"}


def test_the_secret_goes_with_the_account_that_made_it() -> None:
    owner = whoami.reference(ACCOUNT, namespace="aws-system")
    place = replace(PLACE, owner=owner)
    objects = ScriptedObjects(place.configuration_path, secret=place.secret_path)
    written: list[Any] = []

    class Written(ScriptedObjects):
        async def request(self, method: str, path: str, **more: Any) -> Any:
            if method == "PATCH" and path == place.secret_path:
                written.append(more["body"]["metadata"]["ownerReferences"])
            return await objects.request(method, path, **more)

    keeper = CertificateKeeper(
        Written(secret=place.secret_path), place, now=lambda: NOON, clock=lambda: 0.0
    )
    while finished(keeper.look()):
        pass
    reference = {"apiVersion": "v1", "kind": "ServiceAccount", "name": "controller", "uid": "sa-1"}
    assert written
    assert all(one == [reference] for one in written)


@pytest.mark.parametrize(
    "user",
    [
        {}, {"username": "admin", "uid": "1"}, {"username": ACCOUNT["username"]},
        {"username": "system:serviceaccount:elsewhere:controller", "uid": "sa-1"},
        {"username": "system:serviceaccount:aws-system:a:b", "uid": "sa-1"},
    ],
)  # fmt: skip
def test_nobody_elses_object_is_made_an_owner(user: dict[str, str]) -> None:
    assert whoami.reference(user, namespace="aws-system") is None


async def test_who_cannot_find_out_who_it_is_does_without(caplog: pytest.LogCaptureFixture) -> None:
    class Refusing:
        async def request(self, method: str, path: str, *, body: Any = None) -> Any:
            assert (method, path) == ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews")
            raise Unavailable("away", status=503)

    assert await whoami.owner(Refusing(), namespace="aws-system") is None
    assert "cannot find out who this process is" in caplog.text
