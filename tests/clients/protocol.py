"""How a client under test is told what to do, and tells what came of it.

A client is a program that lives as long as its standard input is open. Each line there is a word:

    again   ask with the client at hand, as an application that runs on does
    anew    ask with a client made for this and kept, as an application that starts does

and answered by one line of JSON: ``{"key": …, "arn": …}``, who the service said it was, or
``{"error": …}``. The first line, before any word, is ``{"client": name and version}``. Where to ask
is in the environment: ``STS_URL``, ``S3_URL``. Of credentials a client is told by its SDK's own
variables alone.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Final

STS_URL: Final = os.environ["STS_URL"]
S3_URL: Final = os.environ["S3_URL"]
REGION: Final = os.environ["AWS_REGION"]

# What every bucket of the pretended S3 is for: its object's content is who reads it.
BUCKET: Final = "mirror"
OBJECT: Final = "whoami"

Caller = dict[str, str]
Ask = Callable[[], Caller]


def run(name: str, make: Callable[[], Ask]) -> None:
    """Serve words until there are no more; ``make`` makes a client and gives its one question."""
    _tell({"client": name})
    kept: Ask | None = None
    for line in sys.stdin:
        try:
            if line.strip() == "anew" or kept is None:
                kept = make()
            _tell(kept())
        except Exception as failure:  # whatever an SDK raises is what there is to tell
            _tell({"error": f"{type(failure).__name__}: {failure}"})


def _tell(what: Caller) -> None:
    print(json.dumps(what), flush=True)
