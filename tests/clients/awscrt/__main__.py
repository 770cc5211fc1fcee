"""awscrt: the C runtime's default chain and its signer; only the sending is Python's own."""

import io
import re
from urllib.parse import urlsplit
from urllib.request import Request, urlopen

import awscrt
from awscrt import auth, http

from tests.clients import protocol

TIMEOUT_SECONDS = 20
BODY = b"Action=GetCallerIdentity&Version=2011-06-15"


def make() -> protocol.Ask:
    """The default chain keeps what it got in a cache of its own."""
    provider = auth.AwsCredentialsProvider.new_default_chain()

    def ask() -> protocol.Caller:
        credentials = provider.get_credentials().result(TIMEOUT_SECONDS)
        headers = _signed(auth.AwsCredentialsProvider.new_delegate(lambda: credentials))
        request = Request(protocol.STS_URL, BODY, headers)  # noqa: S310 - a test's own server
        with urlopen(request, timeout=TIMEOUT_SECONDS) as answer:  # noqa: S310
            found = re.search("<Arn>(.*)</Arn>", answer.read().decode())
        return {"key": credentials.access_key_id, "arn": found[1] if found else ""}

    return ask


def _signed(provider: auth.AwsCredentialsProvider) -> dict[str, str]:
    """The headers of GetCallerIdentity, signed."""
    headers = http.HttpHeaders(
        [
            ("Host", urlsplit(protocol.STS_URL).netloc),
            ("Content-Type", "application/x-www-form-urlencoded"),
        ]
    )
    config = auth.AwsSigningConfig(
        algorithm=auth.AwsSigningAlgorithm.V4,
        signature_type=auth.AwsSignatureType.HTTP_REQUEST_HEADERS,
        credentials_provider=provider,
        region=protocol.REGION,
        service="sts",
    )
    request = http.HttpRequest("POST", "/", headers, io.BytesIO(BODY))
    return dict(auth.aws_sign_request(request, config).result(TIMEOUT_SECONDS).headers)


if __name__ == "__main__":
    protocol.run(f"awscrt {awscrt.__version__}", make)
