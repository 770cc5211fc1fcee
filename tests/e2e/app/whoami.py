"""An application that asks AWS who it is: a line of JSON each time, on standard output.

    whoami.py                 once; exits 1 if AWS did not say
    whoami.py SECONDS         again and again, with so long a pause between
    whoami.py SECONDS anew    the same, as an application that starts each time: with a session,
                              and so with credentials, of its own
    whoami.py SECONDS anew patiently
                              the same, and asks for credentials again when nobody answers, as the
                              SDK does by itself: three times, a second apart

Unless it is patient nothing is asked for twice, so that no failure is hidden.
A line has ``at`` (seconds since 1970), ``took``, and either ``arn`` with ``key``, or ``error``.
"""

import json
import sys
import time
from typing import Any

import boto3
from botocore.utils import ContainerMetadataFetcher


def ask(session: boto3.Session) -> dict[str, Any]:
    """Who AWS says it is, or why it does not say."""
    started = time.time()
    try:
        arn = session.client("sts").get_caller_identity()["Arn"]
        key = session.get_credentials().get_frozen_credentials().access_key
        return {"at": started, "took": time.time() - started, "arn": arn, "key": key}
    except Exception as failed:  # Whatever an SDK raises is what there is to tell.
        error = f"{type(failed).__name__}: {failed}"
        return {"at": started, "took": time.time() - started, "error": error}


def main(seconds: str = "", manner: str = "again", temper: str = "") -> int:
    """Ask, as told; the exit code."""
    if temper != "patiently":
        ContainerMetadataFetcher.RETRY_ATTEMPTS = 1
    session = boto3.Session()
    said = ask(session)
    print(json.dumps(said))
    while seconds:
        time.sleep(float(seconds))
        if manner == "anew":
            session = boto3.Session()
        print(json.dumps(ask(session)))
    return int("error" in said)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
