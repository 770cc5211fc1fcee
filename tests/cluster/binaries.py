"""Where the programs of a test cluster come from: a folder the developer names, our cache, a build.

``KUBEBUILDER_ASSETS`` names a folder that holds etcd, kube-apiserver and kubectl, as for envtest;
what it lacks comes from the cache. Never takes a program from PATH: its version would be chance.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support import gotools
from tests.support.cache import cache_dir
from tests.support.tools import ToolMissing

ASSETS_VARIABLE: Final = "KUBEBUILDER_ASSETS"


@dataclass(frozen=True, slots=True)
class Binaries:
    """The programs of a control plane, and kubectl to talk to it."""

    etcd: Path
    kube_apiserver: Path
    kube_controller_manager: Path
    kubectl: Path


@dataclass(frozen=True, slots=True)
class NodeBinaries:
    """What a cluster with a node runs beside its control plane."""

    kube_scheduler: Path
    kubelet: Path
    kube_proxy: Path
    coredns: Path


@dataclass(frozen=True, slots=True)
class _Tool:
    name: str
    module: str
    package: str
    stamps: Callable[[], Mapping[str, str]] = dict


def kubernetes_version() -> str:
    """The Kubernetes pinned for tests, e.g. ``v1.36.3``."""
    return gotools.pinned_version("kubernetes", "k8s.io/kubernetes")


def find(env: Mapping[str, str] = os.environ) -> Binaries | None:
    """The programs where all are at hand already, else None. Never builds.

    Raises ``ToolMissing`` when ``KUBEBUILDER_ASSETS`` names no folder.
    """
    found = [_find(tool, env) for tool in _CONTROL_PLANE]
    present = [path for path in found if path is not None]
    return Binaries(*present) if len(present) == len(found) else None


def find_or_build(env: Mapping[str, str] = os.environ) -> Binaries:
    """The programs, built first where need be: minutes, once per version and machine.

    Raises ``ToolMissing`` when one can neither be found nor built.
    """
    return Binaries(*(_find_or_build(tool, env) for tool in _CONTROL_PLANE))


def find_or_build_node(env: Mapping[str, str] = os.environ) -> NodeBinaries:
    """The programs of a node, built first where need be. Raises ``ToolMissing``."""
    return NodeBinaries(*(_find_or_build(tool, env) for tool in _NODE))


def find_helm(env: Mapping[str, str] = os.environ) -> Path | None:
    """Helm, if it is at hand already. Never builds."""
    return _find(_HELM, env)


def find_or_build_helm(env: Mapping[str, str] = os.environ) -> Path:
    """Helm, of the version pinned for tests. Raises ``ToolMissing``."""
    return _find_or_build(_HELM, env)


def _kubernetes_stamps() -> Mapping[str, str]:
    """Without them an API server calls itself v0.0.0-master, and charts refuse to install."""
    return {"k8s.io/component-base/version.gitVersion": kubernetes_version()}


def _helm_stamps() -> Mapping[str, str]:
    """Without them Helm renders for Kubernetes 1.20; we want the one that we test against."""
    major, minor, _ = kubernetes_version().removeprefix("v").split(".")
    stamps = {"internal/version.version": gotools.pinned_version("helm", _HELM.package)}
    for package in ("pkg/chartutil", "pkg/lint/rules"):
        stamps |= {f"{package}.k8sVersionMajor": major, f"{package}.k8sVersionMinor": minor}
    return {f"helm.sh/helm/v3/{variable}": value for variable, value in stamps.items()}


def _kubernetes_tool(name: str) -> _Tool:
    return _Tool(name, "kubernetes", f"k8s.io/kubernetes/cmd/{name}", _kubernetes_stamps)


_HELM: Final = _Tool("helm", "helm", "helm.sh/helm/v3/cmd/helm", _helm_stamps)
_CONTROL_PLANE: Final = (  # in the order of the fields of Binaries
    _Tool("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
    _kubernetes_tool("kube-apiserver"),
    _kubernetes_tool("kube-controller-manager"),
    _kubernetes_tool("kubectl"),
)
_NODE: Final = (  # in the order of the fields of NodeBinaries
    _kubernetes_tool("kube-scheduler"),
    _kubernetes_tool("kubelet"),
    _kubernetes_tool("kube-proxy"),
    _Tool("coredns", "coredns", "rolesanywhere.dev/tests/tools/coredns"),
)


def _find(tool: _Tool, env: Mapping[str, str]) -> Path | None:
    given = _given(tool, env)
    shelf = _shelf(tool)
    return given or (shelf if shelf.exists() else None)


def _find_or_build(tool: _Tool, env: Mapping[str, str]) -> Path:
    return _given(tool, env) or _put_on_shelf(tool)


def _given(tool: _Tool, env: Mapping[str, str]) -> Path | None:
    """What the developer's own folder holds."""
    folder = env.get(ASSETS_VARIABLE)
    if not folder:
        return None
    if not Path(folder).is_dir():
        raise ToolMissing(f"{ASSETS_VARIABLE} is {folder!r}, which is no folder: name one or unset")
    path = Path(folder) / tool.name
    return path if path.exists() else None


def _put_on_shelf(tool: _Tool) -> Path:
    ldflags = [f"-X {variable}={value}" for variable, value in tool.stamps().items()]
    built = gotools.build(tool.module, tool.package, ldflags=ldflags)
    shelf = _shelf(tool)
    shelf.parent.mkdir(parents=True, exist_ok=True)
    fresh = shelf.with_name(f".{shelf.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(built)
    fresh.replace(shelf)
    return shelf


def _shelf(tool: _Tool) -> Path:
    """A name for the built program that can be known without building: by version."""
    version = gotools.pinned_version(tool.module, tool.package)
    return cache_dir() / "assets" / f"{tool.module}-{version}" / tool.name
