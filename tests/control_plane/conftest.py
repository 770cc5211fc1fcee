"""One control plane for the whole run, and a namespace of its own for every test.

Without the programs, tests skip with the reason; under ``CI=true`` they fail instead.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Protocol

import pytest

from tests.chart.helm import FULLNAME, as_yaml, render
from tests.cluster import authorization
from tests.cluster.binaries import Binaries, find_or_build, find_or_build_helm
from tests.cluster.control_plane import ControlPlane
from tests.cluster.controllers import Cluster
from tests.cluster.kubectl import PATIENCE
from tests.cluster.release import CRD, Release, installed
from tests.operator.certificates import a_pair
from tests.support.tools import build_or_skip


@pytest.fixture(scope="session")
def cluster_binaries() -> Binaries:
    """The programs of a control plane; built, for minutes, where no run has done so before."""
    return build_or_skip(find_or_build)


@pytest.fixture(scope="session")
def control_plane(cluster_binaries: Binaries) -> Iterator[ControlPlane]:
    """A control plane with controllers, shared by all tests of the run."""
    with ControlPlane.start(cluster_binaries, controllers=True) as started:
        yield started


@pytest.fixture
def namespace(control_plane: ControlPlane) -> Iterator[str]:
    """The name of a new namespace in which pods can be made; deleted after the test."""
    manifest = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "test-"}}
    name = control_plane.kubectl(
        "create", "--filename=-", "--output=jsonpath={.metadata.name}", input=json.dumps(manifest)
    )
    # Admission refuses a pod until a controller has made the ServiceAccount it runs as.
    control_plane.kubectl(
        "wait", "--for=create", "serviceaccount/default", f"--namespace={name}", PATIENCE
    )
    yield name
    control_plane.kubectl("delete", "namespace", name, "--wait=false")


@pytest.fixture(scope="session")
def schema(control_plane: ControlPlane) -> ControlPlane:
    """The control plane, which knows bindings."""
    control_plane.define(CRD)
    return control_plane


@pytest.fixture(scope="session")
def helm() -> Path:
    """Helm; built where no run has done so before."""
    return build_or_skip(find_or_build_helm)


class MakeRelease(Protocol):
    """Makes a release in a new ``namespace``, by ``values`` of the chart."""

    def __call__(self, namespace: str, values: Mapping[str, Any] | None = None) -> Release: ...


@pytest.fixture(scope="module")
def releases(
    control_plane: ControlPlane, helm: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[MakeRelease]:
    """Makes releases whose webhook has a certificate of its own, and takes them away."""
    with ExitStack() as stack:

        def make(namespace: str, values: Mapping[str, Any] | None = None) -> Release:
            pair = a_pair("webhook")
            release = installed(
                control_plane,
                helm,
                namespace=namespace,
                folder=tmp_path_factory.mktemp("webhook"),
                authority=pair.certificate,
                certificate=pair.certificate,
                private_key=pair.private_key,
                values=values,
            )
            return stack.enter_context(release)

        yield make


@pytest.fixture
def accounts(control_plane: ControlPlane, helm: Path, namespace: str) -> Iterator[dict[str, str]]:
    """The chart's ServiceAccounts by component, in ``namespace``, with the chart's permissions."""
    roles = render(helm, namespace=namespace, only=["webhook/rbac.yaml", "controller/rbac.yaml"])
    control_plane.apply(as_yaml(roles), namespace=namespace)
    authorization.take_effect(control_plane, roles, namespace=namespace)
    yield {component: f"{FULLNAME}-{component}" for component in ("webhook", "controller")}
    control_plane.kubectl(
        "delete", "--filename=-", f"--namespace={namespace}", "--wait=false", input=as_yaml(roles)
    )


@pytest.fixture
def cluster(
    schema: ControlPlane, accounts: dict[str, str], namespace: str, tmp_path: Path
) -> Iterator[Cluster]:
    """The CRD, the chart's account with the chart's permissions, and no controller yet."""
    kubeconfig = schema.kubeconfig_for(accounts["controller"], namespace)
    with ExitStack() as started:
        yield Cluster(schema, namespace, kubeconfig, tmp_path, started)
