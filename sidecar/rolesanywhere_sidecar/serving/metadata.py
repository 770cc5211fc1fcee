"""What the metadata service tells besides credentials: texts under paths, and their listings.

Paths and forms are those of the Amazon EC2 User Guide ("Instance metadata categories", "Instance
identity documents"). A pod outside of AWS is no instance: only what clients ask for is told, and
of that, what is invented looks like nothing real. Never holds a secret.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Final

from rolesanywhere_contract.arns import RoleArn
from rolesanywhere_sidecar.documents import timestamp
from rolesanywhere_sidecar.serving.exchange import Path, path_of

# Below the root of every version.
ROLES_PATH: Final = path_of("meta-data/iam/security-credentials")
INFO_PATH: Final = path_of("meta-data/iam/info")
INSTANCE_ID_PATH: Final = path_of("meta-data/instance-id")
REGION_PATH: Final = path_of("meta-data/placement/region")
ZONE_PATH: Final = path_of("meta-data/placement/availability-zone")
IDENTITY_PATH: Final = path_of("dynamic/instance-identity/document")

# In the place of ids, which a pod has not. The AWS SDK for Go v1 takes a metadata service without
# an instance id for none at all; nobody takes this word for an instance or an instance profile.
NO_INSTANCE: Final = "rolesanywhere"

# The version that EC2 gives of its own document's format.
_IDENTITY_VERSION: Final = "2017-09-30"


def texts(*, role: RoleArn, region: str) -> Mapping[Path, str]:
    """What stands under each path that does not depend on a session, folders' listings included.

    The listing of `ROLES_PATH` is the name of ``role``.
    """
    leaves = {
        INSTANCE_ID_PATH: NO_INSTANCE,
        REGION_PATH: region,
        ZONE_PATH: availability_zone(region),
        IDENTITY_PATH: identity_document(account=role.account, region=region),
    }
    return leaves | listings([*leaves, INFO_PATH, (*ROLES_PATH, role.name)])


def availability_zone(region: str) -> str:
    """A zone of ``region``: some clients learn their region from it, by cutting its last letter."""
    return f"{region}a"


def identity_document(*, account: str, region: str) -> str:
    """The instance identity document, without what only an instance has."""
    document = {
        "accountId": account,
        "availabilityZone": availability_zone(region),
        "region": region,
        "version": _IDENTITY_VERSION,
    }
    return json.dumps(document, indent=2)


def iam_info(role: RoleArn, *, updated: datetime) -> str:
    """``iam/info``: an instance profile of the role's name, as EC2 has one for most roles.

    ``updated`` is when the session was issued.
    """
    document = {
        "Code": "Success",
        "LastUpdated": timestamp(updated),
        "InstanceProfileArn": (
            f"arn:{role.partition}:iam::{role.account}:instance-profile{role.path}{role.name}"
        ),
        "InstanceProfileId": NO_INSTANCE,
    }
    return json.dumps(document, indent=2)


def listings(leaves: Iterable[Path]) -> dict[Path, str]:
    """What each folder on the way to ``leaves`` holds, a name a line, sorted."""
    names: dict[Path, set[str]] = {}
    for leaf in leaves:
        for depth, name in enumerate(leaf):
            # EC2 marks folders with a slash, but for those of a version's root.
            is_marked = 0 < depth < len(leaf) - 1
            names.setdefault(leaf[:depth], set()).add(f"{name}/" if is_marked else name)
    return {folder: "\n".join(sorted(within)) for folder, within in names.items()}
