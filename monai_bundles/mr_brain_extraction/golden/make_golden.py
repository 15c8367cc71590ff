"""Make the golden case anew; run by hand, its output is committed.

    pip install nilearn tqdm pandas connected-components-3d fill_voids nibabel torch
    pip install --no-deps deepbet==1.0.2
    python make_golden.py

Input: the MNI152 2009a T1 template that ships with nilearn, as means of 3×3×3 voxels (3 mm), uint8.
Output: what the package deepbet makes of exactly this file, with its own TorchScript networks and its own code. Nothing
of Wetread takes part, so the stored answer is independent of what is checked against it.
"""

from __future__ import annotations

from pathlib import Path

import nibabel
import nilearn.datasets
import numpy as np
from deepbet.bet import BrainExtraction

BLOCK = 3
FOLDER = Path(__file__).parent


def reduced(image: nibabel.Nifti1Image) -> nibabel.Nifti1Image:
    """Means of blocks, scaled to 0–255; the affine moves to the centre of the first block."""
    array = image.get_fdata(dtype=np.float32)
    sides = [n // BLOCK for n in array.shape]
    array = array[tuple(slice(n * BLOCK) for n in sides)]
    blocks = array.reshape(sides[0], BLOCK, sides[1], BLOCK, sides[2], BLOCK).mean(axis=(1, 3, 5))
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.full(3, (BLOCK - 1) / 2)
    affine[:3, :3] *= BLOCK
    return nibabel.Nifti1Image(np.rint(blocks / blocks.max() * 255).astype(np.uint8), affine)


def main() -> None:
    """Write ``input.nii.gz`` and ``output.nii.gz`` beside this file."""
    source = Path(nilearn.datasets.__file__).parent / "data" / "mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz"
    image = reduced(nibabel.load(source))
    nibabel.save(image, FOLDER / "input.nii.gz")
    _, mask, _ = BrainExtraction(no_gpu=True).run(nibabel.load(FOLDER / "input.nii.gz"))
    labels = np.asarray(mask.dataobj).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(labels, image.affine), FOLDER / "output.nii.gz")


if __name__ == "__main__":
    main()
