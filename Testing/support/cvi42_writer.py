"""A writer of cvi42's XML workspaces, after the layout that public readers of them know."""

from collections.abc import Mapping

import numpy as np

SPACES = " ".join(
    f'xmlns:{name}="http://www.circlecvi.com/cvi42/Workspace/{name}/"' for name in ("Hash", "List", "Point")
)
PARTS = 4
"""Of a pixel, in which points are counted."""


def workspace(contours: Mapping[str, Mapping[str, np.ndarray]]) -> str:
    """Return a workspace of (N, 2) points (column, row), pixels, by UID and name; what else stands in one is hinted at.

    ``PatientName`` and the like stand in real ones, too.
    """
    images = "".join(
        f'<Hash:item Hash:key="{uid}" Hash:count="1"><Hash:item Hash:key="Contours" Hash:count="{len(named)}">'
        + "".join(_contour(name, points) for name, points in named.items())
        + "</Hash:item></Hash:item>"
        for uid, named in contours.items()
    )
    return (
        f'<?xml version="1.0" encoding="UTF-8"?><Workspace {SPACES} xmlns="http://www.circlecvi.com/cvi42/Workspace/">'
        '<Hash:item Hash:key="StudyUid">1.2.3</Hash:item><Hash:item Hash:key="PatientName">Mustermann</Hash:item>'
        f'<Hash:item Hash:key="ImageStates" Hash:count="{len(contours)}">{images}</Hash:item></Workspace>'
    )


def _contour(name: str, points: np.ndarray) -> str:
    listed = "".join(
        f"<List:item><Point:x>{x:.3f}</Point:x><Point:y>{y:.3f}</Point:y></List:item>" for x, y in PARTS * points
    )
    return (
        f'<Hash:item Hash:key="{name}"><Hash:item Hash:key="Points" List:count="{len(points)}">{listed}</Hash:item>'
        f'<Hash:item Hash:key="SubpixelResolution">{PARTS}</Hash:item></Hash:item>'
    )
