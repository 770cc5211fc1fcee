"""``docs/hardware-keys.md``: its commands make a token whose URI gets a session, as it says.

They run as they stand there, but for packages, which are installed, and folders of the machine.
"""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.fakes.aws import utc_now
from tests.fakes.pki import Authority
from tests.hardware import packages, softhsm, tpm
from tests.hardware.scenes import a_scene
from tests.hardware.tokens import Token, TokenKey, certified
from tests.support import debian
from tests.support.tools import build_or_skip

GUIDE: Final = (Path(__file__).parents[2] / "docs" / "hardware-keys.md").read_text()
PIN, SO_PIN = "48151623", "recovery-42"
SIGNED: Final = "# … have it signed"


def commands(heading: str) -> str:
    """All of a section's shell blocks, but for the installation of packages."""
    section = GUIDE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0].partition("\n### ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.MULTILINE | re.DOTALL)
    return re.sub(r"^apt-get .*\n", "", "".join(blocks), flags=re.MULTILINE)


def done(script: str, folder: Path, env: Mapping[str, str]) -> None:
    run = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], cwd=folder,
        env={"PATH": os.environ["PATH"], "PIN": PIN, "SO_PIN": SO_PIN, **env},
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr


async def follow(
    script: str, folder: Path, env: Mapping[str, str], *, module: Path, label: str
) -> None:
    """Do what the guide says, sign what it asks to be signed, and get a session by its URI."""
    build_or_skip(lambda: debian.packages(*packages.GUIDES))
    before, after = re.split(rf"^{SIGNED}.*\n", script, flags=re.MULTILINE)
    done(before, folder, env)
    root = Authority.root(at=utc_now())
    asked = x509.load_pem_x509_csr((folder / "reports.csr").read_bytes())
    assert asked.is_signature_valid
    public = asked.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    held = TokenKey("reports", b"", certified(root, public))
    (folder / "reports.crt").write_bytes(held.pem)
    module_line = next(line for line in before.splitlines() if line.startswith("MODULE="))
    done(f"{module_line}\n{after}", folder, env)
    token = Token(label=label, pin=PIN, module=module, env=env, root=root, keys={"p256": held})
    uri = f"pkcs11:token={label};object=reports"
    await gets_a_session(token, folder, ROLESANYWHERE_CERTIFICATE=uri)
    await gets_a_session(
        token, folder, ROLESANYWHERE_CERTIFICATE=str(folder / "reports.crt"),
        ROLESANYWHERE_PRIVATE_KEY=uri,
    )  # fmt: skip


async def gets_a_session(token: Token, folder: Path, **identity: str) -> None:
    async with a_scene(token, folder) as scene:
        env = {**scene.env(), "ROLESANYWHERE_PRIVATE_KEY": "", **identity}
        told = await scene.run("credential-process", **env)
        assert told.status == 0, told.errors
        assert scene.granted() == 1


async def test_the_guide_to_an_hsm_leads_to_a_session(folder: Path) -> None:
    build_or_skip(lambda: debian.packages(*packages.HSM))
    (folder / "tokens").mkdir()
    config = folder / "softhsm2.conf"
    config.write_text(f"directories.tokendir = {folder / 'tokens'}\nobjectstore.backend = file\n")
    await follow(
        commands("A node's HSM"), folder, {"SOFTHSM2_CONF": str(config)},
        module=softhsm.MODULE, label="node-hsm",
    )  # fmt: skip


async def test_the_guide_to_a_tpm_leads_to_a_session(folder: Path) -> None:
    build_or_skip(lambda: debian.packages(*packages.TPM))
    (folder / "state").mkdir()
    script = commands("A server's TPM").replace("/var/lib/tpm2-pkcs11", str(folder / "store"))
    with tpm.powered(folder) as started:
        await follow(script, folder, started.env, module=tpm.MODULE, label="node-tpm")
