"""Where built tools live: outside the checkout, shared by all clones, keyed by version.

Never holds anything that a test run writes; losing it costs time only.
"""

import os
from pathlib import Path


def cache_dir() -> Path:
    """The project's cache folder: ``ROLESANYWHERE_CACHE``, else the user's cache folder."""
    if chosen := os.environ.get("ROLESANYWHERE_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rolesanywhere"
