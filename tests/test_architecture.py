"""Promises about the tree itself, which no single module could keep alone."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.run import TESTS

ROOT = Path(__file__).parent.parent
SOURCES = [ROOT / "operator", ROOT / "sidecar"]


def modules_loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after ``statement``."""
    code = f"{statement}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def imports_of(package: Path) -> Iterator[str]:
    for module in package.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module


def test_the_standard_library_keeps_its_operator() -> None:
    assert not (ROOT / "operator" / "__init__.py").exists()
    done = subprocess.run(
        [sys.executable, "-c", "from operator import eq"],
        cwd=ROOT,
        check=False,
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_contract_needs_the_standard_library_alone() -> None:
    known = sys.stdlib_module_names | {"rolesanywhere_contract"}
    package = ROOT / "sidecar" / "rolesanywhere_contract"
    assert {name.split(".")[0] for name in imports_of(package)} <= known


EVERY_MODULE_OF_THE_SIDECAR = """
import importlib, pkgutil, rolesanywhere_sidecar as sidecar
for module in pkgutil.walk_packages(sidecar.__path__, "rolesanywhere_sidecar."):
    importlib.import_module(module.name)
"""


def test_the_sidecar_never_loads_kubernetes_or_an_aws_sdk() -> None:
    loaded = modules_loaded_by(EVERY_MODULE_OF_THE_SIDECAR)
    assert not loaded & {"kopf", "kubernetes", "botocore", "boto3", "yaml"}


def test_the_sidecar_never_loads_a_web_framework() -> None:
    loaded = modules_loaded_by(EVERY_MODULE_OF_THE_SIDECAR)
    assert not loaded & {"aiohttp", "yarl", "multidict", "http.server", "urllib.request"}


def test_the_server_loads_no_key_hardware_and_nothing_heavy_that_it_does_not_need() -> None:
    loaded = modules_loaded_by("import rolesanywhere_sidecar.app")
    assert not loaded & {
        "pkcs11",
        "argparse",
        "http.client",
        "urllib.request",
        "xml",
        "multiprocessing",
    }


def test_what_asks_a_token_loads_no_module_and_the_child_little_else() -> None:
    parent = modules_loaded_by("import rolesanywhere_sidecar.identities.token_identity")
    assert not parent & {"pkcs11", "rolesanywhere_sidecar.identities.pkcs11.cryptoki"}
    child = modules_loaded_by(
        "import rolesanywhere_sidecar.identities.pkcs11.child,"
        " rolesanywhere_sidecar.identities.pkcs11.cryptoki"
    )
    assert not child & {"cryptography", "asyncio", "rolesanywhere_contract", "h11", "ssl"}


def test_the_webhook_never_loads_kopf() -> None:
    loaded = modules_loaded_by(
        "import rolesanywhere_operator.app, rolesanywhere_operator.webhook.server"
    )
    assert "kopf" not in loaded


def test_every_test_is_run_by_one_tier() -> None:
    tiers = [ROOT / place for places in TESTS.values() for place in places]
    for module in (ROOT / "tests").rglob("test_*.py"):
        homes = [place for place in tiers if module.is_relative_to(place)]
        assert len(homes) == 1, f"{module.relative_to(ROOT)} is run by {len(homes)} tiers"


def test_every_module_says_what_it_is_for() -> None:
    silent = [
        str(module.relative_to(ROOT))
        for folder in (*SOURCES, ROOT / "tests")
        for module in folder.rglob("*.py")
        if not ast.get_docstring(ast.parse(module.read_text()))
    ]
    assert silent == []
