"""What a reader of children's chest films must not read: real images where the test data have them, else drawn.

Every image is as displayed, ``(row, column)``, 0 (black) to 1 (white). Real: the films of an adult's chest and of an
ankle, CT and MR slices. Drawn by us, for want of real ones that may be used: lateral chests, feet, noise. Spoiled by
us: the films handed in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydicom import dcmread
from pydicom.data import get_testdata_file
from scipy.ndimage import gaussian_filter, rotate, zoom

from wetread.dimse.dataset import build_study, describe_instance
from wetread.images.film import read_radiograph

Grey = npt.NDArray[np.float32]
REAL_FILMS = {"adult chest, PA (real)": "RG1_UNCR.dcm", "ankle (real)": "RG3_UNCR.dcm"}
SLICES = {
    "CT slices (real)": ("CT_small.dcm", "J2K_pixelrep_mismatch.dcm", "bad_sequence.dcm", "explicit_VR-UN.dcm"),
    "MR slices (real)": ("MR_small.dcm", "MR2_UNCR.dcm", "examples_overlay.dcm"),
}


def real_film(name: str) -> Grey:
    """A film of pydicom-data, as a read sees it."""
    (study,) = build_study([describe_instance(_file(name))])
    return read_radiograph(study.series[0]).array


def slices(names: Sequence[str]) -> list[Grey]:
    """Cross-sections, windowed to 1 % to 99 %."""
    return [_windowed(dcmread(_file(name), force=True).pixel_array) for name in names]


def spoiled(films: Sequence[Grey]) -> dict[str, list[Grey]]:
    """The same films in ways in which they should not come."""
    ways: dict[str, Callable[[Grey], Grey]] = {
        "upside down": lambda f: f[::-1],
        "half a turn": lambda f: f[::-1, ::-1],
        "quarter turn to the left": np.rot90,
        "quarter turn to the right": lambda f: np.rot90(f, 3),
        "turned by 45°": lambda f: rotate(f, 45, reshape=False, order=1, mode="nearest"),
        "inverted": lambda f: 1 - f,
        "cropped: middle half": lambda f: _part(f, 0.25, 0.25),
        "cropped: upper left half": lambda f: _part(f, 0.0, 0.0),
        "cropped: lower right half": lambda f: _part(f, 0.5, 0.5),
        "cropped: upper middle half": lambda f: _part(f, 0.0, 0.25),
    }
    return {name: [np.asarray(way(film), np.float32) for film in films] for name, way in ways.items()}


def noise(count: int, *, seed: int = 0) -> dict[str, list[Grey]]:
    """Of single pixels, and of blobs."""
    random = np.random.default_rng(seed)
    white = [random.random((64, 64)).astype(np.float32) for _ in range(count)]
    return {"noise": white, "blobs of noise": [_scaled(gaussian_filter(n, 5)) for n in white]}


def drawn(count: int, *, seed: int = 0) -> dict[str, list[Grey]]:
    """Shapes of a lateral chest and of a foot, no two alike."""
    random = np.random.default_rng(seed)
    return {
        "lateral chest (drawn)": [_lateral(random) for _ in range(count)],
        "foot (drawn)": [_foot(random) for _ in range(count)],
    }


def mr_series(folder: Path) -> Iterator[Grey]:
    """Every slice of a folder of DICOM files."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            yield _windowed(dcmread(path).pixel_array)


def _part(film: Grey, top: float, left: float) -> Grey:
    rows, columns = film.shape
    r, c = round(top * rows), round(left * columns)
    return np.clip(zoom(film[r : r + rows // 2, c : c + columns // 2], 2, order=1), 0, 1)


def _lateral(random: np.random.Generator) -> Grey:
    """Air in front, sternum, dark lung, heart at the front below, spine and soft tissue at the back."""
    rows, columns = np.mgrid[-1:1:64j, -1:1:64j]
    lean, size = random.uniform(-0.1, 0.1), random.uniform(0.85, 1.1)
    front = (columns - lean * rows) / size
    film = np.where(np.abs(front) < 0.8, 0.55, 0.03)
    film[(front / 0.55) ** 2 + ((rows + 0.1) / 0.75) ** 2 < 1] = random.uniform(0.18, 0.3)
    film[((front + 0.25) / 0.28) ** 2 + ((rows - 0.35) / 0.3) ** 2 < 1] = 0.65
    film[(np.abs(front - 0.5 - 0.1 * np.sin(3 * rows)) < 0.1) & (rows < 0.8)] = 0.85
    film[(rows > 0.6 + 0.2 * front) & (np.abs(front) < 0.8)] = 0.75
    return _grained(film, random)


def _foot(random: np.random.Generator) -> Grey:
    """Five rays of bone in a narrow shape on a black ground."""
    rows, columns = np.mgrid[-1:1:64j, -1:1:64j]
    spread, width = random.uniform(0.5, 0.8), random.uniform(0.05, 0.08)
    film = np.where(np.abs(columns) < 0.35 + 0.25 * -rows, 0.35, 0.02) * (np.abs(rows) < 0.92)
    for ray in np.linspace(-1, 1, 5):
        film[(np.abs(columns - ray * spread * (0.35 - 0.25 * rows)) < width) & (rows < 0.3) & (rows > -0.9)] = 0.8
    film[(columns / 0.3) ** 2 + ((rows - 0.55) / 0.35) ** 2 < 1] = 0.85
    return _grained(film, random)


def _grained(film: npt.NDArray[np.float64], random: np.random.Generator) -> Grey:
    return _scaled(gaussian_filter(film, 1.5) + random.normal(0, 0.015, film.shape))


def _windowed(values: npt.NDArray[np.generic]) -> Grey:
    grey = np.asarray(values if values.ndim == 2 else values[0], np.float64)
    low, high = np.percentile(grey, [1, 99])
    return np.clip((grey - low) / max(high - low, 1e-6), 0, 1).astype(np.float32)


def _scaled(values: npt.NDArray[np.floating]) -> Grey:
    return ((values - values.min()) / np.ptp(values)).astype(np.float32)


def _file(name: str) -> Path:
    found = get_testdata_file(name, download=False)
    assert found, f"{name}: pydicom-data is not installed"
    return Path(str(found))
