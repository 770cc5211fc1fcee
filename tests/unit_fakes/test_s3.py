"""The pretended bucket tells those who hold a session's secret who they are, and nobody else."""

import hashlib
import json
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.fakes import s3, signer
from tests.fakes.scene import NOW, a_scene
from tests.fakes.sessions import Issued, mint
from tests.fakes.wire import ServiceError, WireRequest
from tests.fakes.world import REGION

SCENE = a_scene()
ISSUED = mint(SCENE.granted(SCENE.request()), lambda size: b"\x07" * size)
OTHER = mint(SCENE.granted(SCENE.request()), lambda size: b"\x09" * size)
WHOLE = f"/{s3.BUCKET}/{s3.OBJECT}"
EMPTY = hashlib.sha256(b"").hexdigest()


def asked(path: str = WHOLE, *, by: Issued = ISSUED, method: str = "GET") -> WireRequest:
    draft = signer.Draft(method=method, path=path, headers={"X-Amz-Content-Sha256": EMPTY})
    return signer.with_secret(draft, by, at=NOW, region=REGION, host="s3.example.com", service="s3")


def verdict(request: WireRequest) -> Issued | ServiceError:
    return s3.verify(request, [OTHER, ISSUED], REGION, NOW)


def refusal(request: WireRequest) -> str:
    found = verdict(request)
    assert isinstance(found, ServiceError), f"believed: {found}"
    return found.code


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_the_holder_of_the_secret_is_believed(method: str) -> None:
    assert verdict(asked(method=method)) is ISSUED


def test_its_object_is_who_reads_it() -> None:
    status, _, body = s3.answer(asked(), ISSUED)
    assert status == 200
    assert json.loads(body) == {
        "key": ISSUED.access_key_id,
        "arn": ISSUED.session.assumed_role_arn,
    }


def test_the_bucket_lists_its_object() -> None:
    status, _, body = s3.answer(asked(f"/{s3.BUCKET}"), ISSUED)
    assert status == 200
    assert f"<Key>{s3.OBJECT}</Key>".encode() in body


@pytest.mark.parametrize("path", ["/elsewhere/whoami", f"/{s3.BUCKET}/nothing"])
def test_there_is_nothing_else(path: str) -> None:
    assert s3.answer(asked(path), ISSUED)[0] == 404


def test_a_path_is_signed_as_it_is_sent() -> None:
    assert verdict(asked(f"/{s3.BUCKET}//a/../%2B")) is ISSUED


def test_a_wrong_secret_is_refused() -> None:
    assert refusal(asked(by=replace(ISSUED, secret_access_key="x" * 40))) == "SignatureDoesNotMatch"


def test_the_key_of_one_session_with_the_token_of_another_is_refused() -> None:
    torn = replace(ISSUED, session_token=OTHER.session_token)
    assert refusal(asked(by=torn)) == "InvalidAccessKeyId"


def test_what_was_signed_is_what_must_arrive() -> None:
    assert refusal(replace(asked(), target=f"{WHOLE}?x=y")) == "SignatureDoesNotMatch"
    assert refusal(replace(asked(), method="HEAD")) == "SignatureDoesNotMatch"
    assert refusal(replace(asked(), body=b"more")) == "XAmzContentSHA256Mismatch"


def test_an_unsigned_request_is_refused() -> None:
    request = asked()
    headers = tuple(pair for pair in request.headers if pair[0] != "Authorization")
    assert refusal(replace(request, headers=headers)) == "AccessDenied"


def test_a_session_ends() -> None:
    ended = replace(ISSUED, session=replace(ISSUED.session, expires=NOW - timedelta(seconds=1)))
    found = s3.verify(asked(by=ended), [ended], REGION, NOW)
    assert isinstance(found, ServiceError)
    assert found.code == "ExpiredToken"


def test_nothing_can_be_written() -> None:
    assert refusal(asked(method="DELETE")) == "MethodNotAllowed"
