"""Files that somebody else named, read whole without trusting the name.

Never waits: a pipe is refused, not read. Knows nothing of what is in a file.
"""

import stat
from pathlib import Path
from typing import Final

# Keys and certificates are kilobytes, all public authorities together a few hundred of them; a
# path to something else must not fill the memory.
LARGEST_FILE_BYTES: Final = 1024 * 1024


def read_regular(path: Path) -> bytes:
    """All of the file. Raises OSError, also for what is no ordinary file or is far too large."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(0, "it is not a regular file")
    with path.open("rb") as file:
        content = file.read(LARGEST_FILE_BYTES + 1)
    if len(content) > LARGEST_FILE_BYTES:
        raise OSError(0, f"it is larger than {LARGEST_FILE_BYTES} bytes")
    return content
