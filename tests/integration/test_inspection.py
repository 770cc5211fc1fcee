"""``read-certificate-data`` and ``sign-string`` beside AWS's own helper, byte for byte.

And that the helper is what our page about it says.
"""

import os
import re
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from rolesanywhere_sidecar.commands.inspection import fixed_text
from tests.fakes import aws_helper
from tests.fakes.aws import utc_now
from tests.fakes.aws_helper import identity_flags
from tests.fakes.aws_helper_flags import FLAGS
from tests.fakes.pki import Authority, KeyForm, KeyKind
from tests.support.commands import Outcome, finished
from tests.support.tools import build_or_skip

ROOT = Authority.root(at=utc_now())


@pytest.fixture(scope="session")
def helper() -> Path:
    return build_or_skip(aws_helper.find_or_build)


async def ours(*arguments: str) -> Outcome:
    return await finished(
        sys.executable, "-m", "rolesanywhere_sidecar", *arguments,
        env={"PATH": os.environ.get("PATH", "")},
    )  # fmt: skip


async def both(helper: Path, *arguments: str) -> str:
    """What we print, which is what the helper prints."""
    mine, theirs = await ours(*arguments), await aws_helper.run(helper, *arguments)
    assert (mine.status, mine.errors) == (theirs.status, theirs.errors) == (0, "")
    assert mine.output == theirs.output
    return mine.output


@pytest.mark.parametrize("command", sorted(FLAGS))
async def test_the_helper_has_the_flags_that_our_page_speaks_of(helper: Path, command: str) -> None:
    listed = (await aws_helper.run(helper, command, "--help")).output
    assert set(re.findall(r"^ {6}(--[a-z0-9-]+)", listed, re.MULTILINE)) == FLAGS[command]


@pytest.mark.parametrize("kind", ["rsa-2048", "p256", "p384", "p521", "ml-dsa-44", "ml-dsa-87"])
async def test_a_certificate_is_told_as_the_helper_tells_it(
    helper: Path, tmp_path: Path, kind: KeyKind
) -> None:
    identity = ROOT.leaf(at=utc_now(), kind=kind)
    identity_flags(identity, tmp_path, "both" if kind.startswith("ml-dsa") else "pkcs8")
    text = await both(helper, "read-certificate-data", "--certificate", f"{tmp_path}/tls.crt")
    assert str(identity.certificate.serial_number) in text


async def test_a_bundle_is_told_by_its_first_certificate(helper: Path, tmp_path: Path) -> None:
    identity = ROOT.intermediate(at=utc_now()).leaf(at=utc_now())
    (tmp_path / "bundle.pem").write_bytes(identity.certificate_pem + identity.chain_pem)
    await both(helper, "read-certificate-data", "--certificate", f"{tmp_path}/bundle.pem")


@pytest.mark.parametrize("form", ["pkcs1", "pkcs8"])
@pytest.mark.parametrize("digest", ["SHA256", "SHA384", "SHA512"])
@pytest.mark.parametrize("format_", ["json", "text"])
async def test_rsa_signs_as_the_helper_does(
    helper: Path, tmp_path: Path, form: KeyForm, digest: str, format_: str
) -> None:
    flags = identity_flags(ROOT.leaf(at=utc_now(), kind="rsa-2048"), tmp_path, form)
    await both(helper, "sign-string", *flags, "--digest", digest, "--format", format_)


@pytest.mark.parametrize("kind", ["p256", "p521"])
async def test_both_sign_the_same_text_with_an_ec_key(
    helper: Path, tmp_path: Path, kind: KeyKind
) -> None:
    """ECDSA is never the same twice; the public key tells whether the text is."""
    identity = ROOT.leaf(at=utc_now(), kind=kind)
    public = identity.key.public_key()
    assert isinstance(public, ec.EllipticCurvePublicKey)
    arguments = ["sign-string", *identity_flags(identity, tmp_path)]
    for outcome in (await ours(*arguments), await aws_helper.run(helper, *arguments)):
        signature = bytes.fromhex(outcome.output.strip('"'))
        public.verify(signature, fixed_text(public), ec.ECDSA(hashes.SHA256()))


async def test_the_documented_example_with_the_key_alone_works_here(
    helper: Path, tmp_path: Path
) -> None:
    """The helper's own page shows it, and the helper wants a certificate nevertheless."""
    flags = identity_flags(ROOT.leaf(at=utc_now(), kind="rsa-2048"), tmp_path)
    example = ["sign-string", "--private-key", f"{tmp_path}/tls.key", "--format", "text"]
    assert (await aws_helper.run(helper, *example)).status == 1
    theirs = await aws_helper.run(helper, "sign-string", *flags, "--format", "text")
    assert (await ours(*example)).output == theirs.output


async def test_der_which_the_helper_cannot_read_is_read(tmp_path: Path) -> None:
    leaf = ROOT.leaf(at=utc_now())
    (tmp_path / "leaf.der").write_bytes(leaf.certificate.public_bytes(Encoding.DER))
    outcome = await ours("read-certificate-data", "--certificate", f"{tmp_path}/leaf.der")
    assert outcome.document()["serialNumber"] == str(leaf.certificate.serial_number)


async def test_a_password_on_the_command_line_is_warned_of_and_never_repeated(
    tmp_path: Path,
) -> None:
    identity_flags(ROOT.leaf(at=utc_now()), tmp_path)
    outcome = await ours(
        "sign-string", "--private-key", f"{tmp_path}/tls.key", "--pkcs8-password", "open sesame"
    )
    assert outcome.status == 0
    [line] = outcome.errors.splitlines()
    assert line.startswith("rolesanywhere-sidecar: --pkcs8-password: everybody on this machine")
    assert "sesame" not in outcome.output + outcome.errors
