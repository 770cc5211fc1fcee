"""A cluster's folder, and the empty folders of the machine that clusters mount theirs on.

Those are made by the first that misses one, and removed by the last. Clusters are told from each
other by their folders, side by side in one. Never mounts anything.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

_MADE: Final = "mountpoints"


def make(cluster: Path, places: Sequence[str]) -> None:
    """Make the folder ``cluster``, and those of ``places`` that the machine lacks."""
    with _no_other_comes_or_goes(cluster.parent):
        cluster.mkdir(exist_ok=True)
        made = [place for place in places if not Path(place).exists()]
        (cluster / _MADE).write_text("\n".join(made))
        for place in made:
            Path(place).mkdir(parents=True)


def leave(cluster: Path) -> None:
    """Remove the folder ``cluster`` with all in it, and the places, unless others are there yet."""
    with _no_other_comes_or_goes(cluster.parent):
        _leave_places(cluster)
        shutil.rmtree(cluster, ignore_errors=True)


def _leave_places(cluster: Path) -> None:
    """Remove those that were made for it, or have the last cluster that is there do so.

    A mount point can be removed under the mounts of other namespaces, which detaches them: the
    cluster would go on in the machine's own folder.
    """
    with suppress(FileNotFoundError):
        made = (cluster / _MADE).read_text().splitlines()
        others = [one for one in cluster.parent.iterdir() if one != cluster]
        if others:
            heir = others[0] / _MADE
            known = heir.read_text().splitlines() if heir.exists() else []
            heir.write_text("\n".join({*known, *made}))
            return
        for place in made:
            with suppress(OSError):  # Somebody else has put something there.
                Path(place).rmdir()


@contextmanager
def _no_other_comes_or_goes(clusters: Path) -> Iterator[None]:
    """Keep the set of clusters as it is, but for the one whose turn it is."""
    while True:
        clusters.mkdir(exist_ok=True)
        folder = os.open(clusters, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            # The last of all takes the folder along, and who waited for him holds nothing.
            if os.fstat(folder).st_nlink:
                yield
                with suppress(OSError):  # Other clusters are there.
                    clusters.rmdir()
                return
        finally:
            os.close(folder)
