"""What somebody who starts ``serve`` by hand pastes into another shell to be given credentials.

Never a secret: the token is in its file.
"""

import shlex
from collections.abc import Iterator

from rolesanywhere_contract.names import CREDENTIALS_PATH
from rolesanywhere_contract.settings import Settings

_NOBODY = """\
Nobody is given credentials: container credentials need --token-file, and IMDSv2 is switched off.
"""


def invitation(settings: Settings, *, token_file: str | None) -> str:
    """In plain words, what to export; ``token_file`` is absolute, for shells in other folders."""
    offers = list(_offers(settings, token_file))
    if not offers:
        return _NOBODY
    offered = "\nor, with IMDSv2:\n\n".join(offers)
    return f"To use these credentials, in the shell of an AWS SDK or the AWS CLI:\n\n{offered}\n"


def _offers(settings: Settings, token_file: str | None) -> Iterator[str]:
    address = f"http://127.0.0.1:{settings.port}"
    if token_file is not None:
        yield (
            f"  export AWS_CONTAINER_CREDENTIALS_FULL_URI={address}{CREDENTIALS_PATH}\n"
            f"  export AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE={shlex.quote(token_file)}\n"
        )
    if settings.imds:
        # With this slash: AWS CLI v2 before 2.28.3 writes the path right behind it.
        yield f"  export AWS_EC2_METADATA_SERVICE_ENDPOINT={address}/\n"
