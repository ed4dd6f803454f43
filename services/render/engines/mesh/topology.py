"""Which landmarks of MediaPipe's face mesh are what, and how they are joined."""

from __future__ import annotations

import ast
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Around the face from the middle of the forehead, clockwise for the viewer.
OVAL = (
    *(10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377),
    *(152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109),
)
FOREHEAD, CHIN = 10, 152
# Rows of the lips, each from the person's right corner to the left one.
UPPER_OUTER = (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291)
LOWER_OUTER = (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291)
UPPER_INNER = (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308)
LOWER_INNER = (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308)
_UPPER_BETWEEN = (184, 74, 73, 72, 11, 302, 303, 304, 408, 183, 42, 41, 38, 12, 268, 271, 272, 407)
_LOWER_BETWEEN = (77, 90, 180, 85, 16, 315, 404, 320, 307, 96, 89, 179, 86, 15, 316, 403, 319, 325)
CORNERS = (61, 291, 78, 308, 76, 306, 62, 292)
UPPER_LIP = tuple(sorted({*UPPER_OUTER, *UPPER_INNER, *_UPPER_BETWEEN} - set(CORNERS)))
LOWER_LIP = tuple(sorted({*LOWER_OUTER, *LOWER_INNER, *_LOWER_BETWEEN} - set(CORNERS)))
# Each eye: the person's right one first. Lids run from the outer corner to the inner one.
UPPER_LIDS = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (263, 466, 388, 387, 386, 385, 384, 398, 362))
LOWER_LIDS = ((33, 7, 163, 144, 145, 153, 154, 155, 133), (263, 249, 390, 373, 374, 380, 381, 382, 362))
IRISES = (tuple(range(468, 473)), tuple(range(473, 478)))
# From the outer end to the inner one, lower edge then upper edge.
BROWS = ((46, 53, 52, 65, 55, 70, 63, 105, 66, 107), (276, 283, 282, 295, 285, 300, 293, 334, 296, 336))


def _strip(upper: tuple[int, ...], lower: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Triangles that fill the opening between two rows with the same ends."""
    triangles = []
    for i in range(len(upper) - 1):
        triangles += [(upper[i], upper[i + 1], lower[i]), (upper[i + 1], lower[i + 1], lower[i])]
    return [t for t in triangles if len(set(t)) == 3]


MOUTH_OPENING = _strip(UPPER_INNER, LOWER_INNER)
EYE_OPENINGS = [t for upper, lower in zip(UPPER_LIDS, LOWER_LIDS, strict=True) for t in _strip(upper, lower)]


@lru_cache(maxsize=1)
def skin_triangles(connections: Path) -> NDArray[np.int32]:
    """The triangles of the mesh without those of the mouth's and the eyes' openings, shape (n, 3).

    Args: connections: MediaPipe's face_mesh_connections.py, read as data: in FACEMESH_TESSELATION each run of three
        edges is one triangle.
    """
    for node in ast.parse(connections.read_text()).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if node.targets[0].id != "FACEMESH_TESSELATION":
                continue
            assert isinstance(node.value, ast.Call)
            edges = np.array(ast.literal_eval(node.value.args[0]), np.int32)
            return np.stack([edges[0::3, 0], edges[0::3, 1], edges[1::3, 1]], axis=1)
    raise ValueError(f"{connections} has no FACEMESH_TESSELATION")
