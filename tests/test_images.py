"""What the Dockerfile promises of the three images, read off its text; it builds nothing."""

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from rolesanywhere_operator.domain.identities import CLIENT_MODULE

ROOT = Path(__file__).parents[1]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")


def stages() -> Mapping[str, list[list[str]]]:
    """The instructions of each stage by its name, split into words; FROM comes first."""
    found: dict[str, list[list[str]]] = {}
    current: list[list[str]] = []
    for line in DOCKERFILE.splitlines():
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if words[0] == "FROM":
            current = found.setdefault(words[3], [])
        current.append(words)
    return found


def test_one_base_image_is_given_from_outside() -> None:
    external = [stage[0][1] for stage in stages().values() if stage[0][1] not in stages()]
    assert set(external) == {"${BASE_IMAGE}"}
    assert "ARG BASE_IMAGE=" in DOCKERFILE


def test_the_last_stages_run_as_nobody_and_hold_no_installer() -> None:
    runtime = stages()["runtime"]
    assert ["USER", "65532:65532"] in runtime
    [removal] = [words for words in runtime if words[0] == "RUN"]
    for name in ("'pip'", "'ensurepip'"):
        assert any(name in word for word in removal)


@pytest.mark.parametrize("program", ["operator", "sidecar"])
def test_a_last_stage_is_the_runtime_and_the_programs_folder_alone(program: str) -> None:
    last = stages()[program]
    assert last[0] == ["FROM", "runtime", "AS", program]
    assert [words for words in last if words[0] not in ("FROM", "ENTRYPOINT", "CMD")] == [
        ["COPY", f"--from={program}-app", "/app", "/app"]
    ]
    entry = f'["python3", "-m", "rolesanywhere_{program}"]'
    assert ["ENTRYPOINT", *entry.split()] in last


@pytest.mark.parametrize(
    ("stage", "program", "requirements"),
    [
        ("operator-app", "operator", "operator"),
        ("sidecar-app", "sidecar", "sidecar"),
        ("sidecar-pkcs11-app", "sidecar", "pkcs11"),
    ],
)
def test_an_image_holds_its_program_the_contract_and_pinned_requirements(
    stage: str, program: str, requirements: str
) -> None:
    app = stages()[stage]
    copied = {words[1] for words in app if words[0] == "COPY"}
    assert copied == {
        f"requirements/{requirements}.txt",
        f"{program}/rolesanywhere_{program}",
        "sidecar/rolesanywhere_contract",
    }
    assert all((ROOT / path).exists() for path in copied)
    assert any("--require-hashes" in words for words in app)


WITHOUT_CLASSES = """
import importlib, pkgutil, re, sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if re.match(r"kubernetes[.](aio[.])?client[.](api|models)[.]", name):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Absent())
import rolesanywhere_operator as operator
for module in pkgutil.walk_packages(operator.__path__, "rolesanywhere_operator."):
    importlib.import_module(module.name)
"""


def test_what_the_operators_image_leaves_out_of_its_client_nothing_loads() -> None:
    removed = {
        f"{above}client/{classes}/[!_]*" for above in ("", "aio/") for classes in ("api", "models")
    }
    assert any(words[0] == "RUN" and removed <= set(words) for words in stages()["operator-app"])
    subprocess.run([sys.executable, "-c", WITHOUT_CLASSES], check=True)


def test_the_image_for_tokens_is_the_sidecars_with_modules_and_ends_as_nobody_too() -> None:
    last, plain = stages()["sidecar-pkcs11"], stages()["sidecar"]
    assert last[0] == ["FROM", "runtime", "AS", "sidecar-pkcs11"]
    assert [words for words in last if words[0] in ("ENTRYPOINT", "CMD")] == [
        words for words in plain if words[0] in ("ENTRYPOINT", "CMD")
    ]
    assert [words for words in last if words[0] == "USER"][-1] == ["USER", "65532:65532"]
    [installing] = [words for words in last if words[0] == "RUN"]
    for package in ("p11-kit", "p11-kit-modules", "libtpm2-pkcs11-1", "opensc-pkcs11"):
        assert package in installing
    assert "/var/lib/apt/lists/*" in installing


def test_the_plain_sidecar_has_no_module_and_no_way_to_one() -> None:
    text = " ".join(word for stage in ("runtime", "sidecar", "sidecar-app")
                    for words in stages()[stage] for word in words)  # fmt: skip
    assert not any(word in text for word in ("p11", "tpm2", "opensc", "pkcs11"))


def test_the_module_that_bindings_mean_by_default_is_in_the_image() -> None:
    [installing] = [words for words in stages()["sidecar-pkcs11"] if words[0] == "RUN"]
    folder, _, module = CLIENT_MODULE.rpartition("/")
    assert installing[installing.index("-s") + 1 :][:2] == [
        '"$(dirname', f"/usr/lib/*/pkcs11/{module})\"",
    ]  # fmt: skip
    assert installing[installing.index("-s") + 3] == folder
