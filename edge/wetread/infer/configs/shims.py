"""What old bundles need to run with today's libraries: small named changes to a config that was read, never to a file.

Each shim looks at the config, changes what it is for, and says what it did; what was applied stands in the bundle's
compatibility report. A new shim is a function and a line in ``SHIMS``.
"""

from __future__ import annotations

import importlib.util
import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wetread.infer.configs.plain import load_plain
from wetread.infer.configs.tree import Config, components, rewritten, short_name, target_class


@dataclass(frozen=True, slots=True)
class Applied:
    """One shim that had something to do."""

    name: str
    what: str
    """A sentence for the compatibility report."""


Shim = Callable[[Config, Path], list[str]]
"""Changes the config in place; answers with what it did."""


def apply_shims(config: Config, folder: Path) -> tuple[Applied, ...]:
    """Run every shim over the config of the bundle in ``folder``."""
    return tuple(Applied(shim.__name__, what) for shim in SHIMS for what in shim(config, folder))


def old_imports_key(config: Config, _folder: Path) -> list[str]:
    """``import`` was never read by MONAI; the modules it names are missing in expressions."""
    if "import" not in config or "imports" in config:
        return []
    config["imports"] = config.pop("import")
    return ["the key 'import' is read as 'imports'"]


def own_root(config: Config, folder: Path) -> list[str]:
    """``bundle_root`` is where the bundle lies, whatever its author's machine looked like."""
    given = config.get("bundle_root")
    config["bundle_root"] = str(folder)
    if isinstance(given, str) and Path(given).is_absolute() and Path(given) != folder:
        return [f"bundle_root {given!r} is the folder of the bundle"]
    return []


def own_data_folders(config: Config, folder: Path) -> list[str]:
    """Folders with the author's data do not exist here; images come from the PACS."""
    done = []
    for key in ("dataset_dir", "data_file_base_dir", "dataset_folder"):
        given = config.get(key)
        if isinstance(given, str) and Path(given).is_absolute() and not Path(given).is_dir():
            config[key] = str(folder)
            done.append(f"{key} {given!r} is not used")
    return done


_CUDA = re.compile(r"""torch\.device\(\s*(['"])cuda(?::\d+)?\1\s*\)""")
_CUDA_MAP = re.compile(r"""map_location\s*=\s*(['"])cuda(?::\d+)?\1""")
_DEVICE_KEYS = frozenset({"device", "sw_device", "map_location"})


def own_device(config: Config, _folder: Path) -> list[str]:
    """Transforms run on the CPU; the networks run where their engine does. Hard-coded devices are replaced."""
    given = config.get("device", "")
    done = []
    if isinstance(given, str) and "cuda" in given and "is_available" not in given:
        done.append(f"device {given!r} is the CPU")
    config["device"] = "$torch.device('cpu')"

    def on_cpu(text: str) -> str:
        if not text.startswith("$") or "is_available" in text:
            return text
        return _CUDA_MAP.sub("map_location='cpu'", _CUDA.sub("torch.device('cpu')", text)).replace(".cuda()", ".cpu()")

    done += [f"{old!r} is {new!r}" for old, new in rewritten(config, on_cpu)]
    for name, component in components(config):
        for key in _DEVICE_KEYS & component.keys():
            if isinstance(component[key], str) and component[key].startswith("cuda"):
                component[key] = "cpu"
                done.append(f"{name}: {key} is the CPU")
    return done


_REMOVED_ARGUMENTS = ("img_size",)
"""Taken by networks of MONAI before 1.5 that never needed them: the answer does not depend on them."""
_RENAMED_ARGUMENTS = {"pos_embed": "proj_type", "dimensions": "spatial_dims"}


def removed_arguments(config: Config, _folder: Path) -> list[str]:
    """Arguments that MONAI removed or renamed; an argument the class still knows stays as it is."""
    done = []
    for name, component in components(config):
        old = [key for key in (*_REMOVED_ARGUMENTS, *_RENAMED_ARGUMENTS) if key in component]
        known = _parameters(component) if old else None
        if known is None:
            continue
        for key in old:
            new = _RENAMED_ARGUMENTS.get(key, "")
            if key in known or (new and (new not in known or new in component)):
                continue
            value = component.pop(key)
            if new:
                component[new] = value
            done.append(f"{name}: {key} is now {new}" if new else f"{name}: {key} is no longer an argument, left out")
    return done


def _parameters(component: Config) -> frozenset[str] | None:
    """Names the component's class takes; ``None`` when it is not to be found or takes anything."""
    target = target_class(component)
    if target is None:
        return None
    parameters = inspect.signature(target).parameters
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values()):
        return None
    return frozenset(parameters)


_REMOVED_TRANSFORMS: dict[str, tuple[str, object]] = {
    "AddChannel": ("EnsureChannelFirst", "no_channel"),
    "AddChanneld": ("EnsureChannelFirstd", "no_channel"),
    "AsChannelFirst": ("EnsureChannelFirst", -1),
    "AsChannelFirstd": ("EnsureChannelFirstd", -1),
}
"""What stands in their place, and its ``channel_dim`` where the config names none."""


def removed_transforms(config: Config, _folder: Path) -> list[str]:
    """Transforms that MONAI 1.3 removed in favour of ``EnsureChannelFirst``."""
    done = []
    for name, component in components(config):
        old = short_name(component)
        if old in _REMOVED_TRANSFORMS:
            new, channel_dim = _REMOVED_TRANSFORMS[old]
            component["_target_"] = f"monai.transforms.{new}"
            component.setdefault("channel_dim", channel_dim)
            done.append(f"{name}: {old} is now {new}")
    return done


_NUMPY_ALIASES: dict[str, tuple[str, Any]] = {
    "product": ("np.prod", np.prod),
    "cumproduct": ("np.cumprod", np.cumprod),
    "alltrue": ("np.all", np.all),
    "sometrue": ("np.any", np.any),
    "in1d": ("np.isin", np.isin),
    "trapz": ("np.trapezoid", np.trapezoid),
    "int": ("int", int),
    "float": ("float", float),
    "float_": ("np.float64", np.float64),
    "Inf": ("np.inf", np.inf),
    "NaN": ("np.nan", np.nan),
}
_NUMPY_NAME = re.compile(r"\b(?:np|numpy)\.(" + "|".join(_NUMPY_ALIASES) + r")\b")


def numpy_aliases(config: Config, folder: Path) -> list[str]:
    """Names that numpy 2 removed: replaced in expressions, and given back to numpy for a bundle's own scripts.

    One process runs one bundle, so nobody else sees the names that come back.
    """
    done = [
        f"{old!r} is {new!r}"
        for old, new in rewritten(
            config,
            lambda text: _NUMPY_NAME.sub(lambda m: _NUMPY_ALIASES[m[1]][0], text) if text.startswith("$") else text,
        )
    ]
    for path in sorted((folder / "scripts").rglob("*.py")):
        used = set(_NUMPY_NAME.findall(path.read_text(encoding="utf-8", errors="replace")))
        for name in sorted(n for n in used if n not in vars(np)):
            setattr(np, name, _NUMPY_ALIASES[name][1])
            done.append(f"{path.relative_to(folder)} uses np.{name}, now {_NUMPY_ALIASES[name][0]}")
    return done


def no_downloads(config: Config, _folder: Path) -> list[str]:
    """Pretrained weights are overwritten by the bundle's own, so nothing is fetched for them."""
    done = []
    for name, component in components(config):
        for key in ("pretrained", "pretrained_backbone"):
            if component.get(key) is True:
                component[key] = False
                done.append(f"{name}: {key} is false, nothing is downloaded")
    found = rewritten(config, lambda text: re.sub(r"\bpretrained(\w*)\s*=\s*True", r"pretrained\1=False", text))
    return done + [f"{old!r} is {new!r}" for old, new in found]


def safe_loading(config: Config, _folder: Path) -> list[str]:
    """A pickle is code: expressions that load one may load tensors only."""
    found = rewritten(config, lambda text: re.sub(r"\bweights_only\s*=\s*False", "weights_only=True", text))
    return [f"{old!r} is {new!r}" for old, new in found]


_LOADED = re.compile(r"\$\s*torch\.load\(\s*(?P<path>@[\w:#]+|'[^']*'|\"[^\"]*\")\s*(,.*)?\)\s*", re.DOTALL)


def arrays_beside_weights(config: Config, folder: Path) -> list[str]:
    """Arrays that a network is made of (the architecture DiNTS found): read as data, from the bundle's folder."""
    text, done = str(config), []
    for name, value in list(config.items()):
        loaded = _LOADED.fullmatch(value) if isinstance(value, str) else None
        if loaded is None or f"@{name}[" not in text:
            continue
        path = loaded["path"]
        written = config.get(path[1:]) if path.startswith("@") else path[1:-1]
        if isinstance(written, str) and Path(written).is_absolute():
            path = str(folder / "models" / Path(written).name)
        config[name] = {"_target_": f"{load_plain.__module__}.load_plain", "path": path.strip("'\"")}
        done.append(f"{name}: of {Path(str(written)).name.strip(chr(39))} arrays and tensors are read, nothing is run")
    return done


_RUN_KEYS = ("run", "evaluating", "inferring", "inference", "eval")


def run_key(config: Config, _folder: Path) -> list[str]:
    """What is to be run has had many names."""
    key = next((k for k in _RUN_KEYS if k in config), None)
    if key in (None, "run"):
        return []
    config["run"] = config.pop(str(key))
    return [f"the key {key!r} is read as 'run'"]


_LOADS_WEIGHTS = re.compile(r"load_state_dict|checkpoint_?loader|torch\.load", re.IGNORECASE)


def weights_are_ours(config: Config, _folder: Path) -> list[str]:
    """``initialize`` must not load weights: the engines have them, checked against the digest in the manifest."""
    steps = config.get("initialize", [])
    given = steps if isinstance(steps, list) else [steps]
    config["initialize"] = [s for s in given if not (isinstance(s, str) and _LOADS_WEIGHTS.search(s))]
    return []


_PER_KEY = ("mode", "padding_mode", "align_corners", "dtype", "nearest_interp", "orig_keys", "meta_keys")


def no_labels(config: Config, _folder: Path) -> list[str]:
    """A study has no ``label``, the reference that some inference configs load for evaluation: that key is left out."""
    done = []
    for name, component in components(config):
        keys = component.get("keys")
        if keys in ("label", ["label"]):
            component.clear()
            component["_target_"] = "wetread.infer.configs.in_memory.Unchanged"
        elif isinstance(keys, list) and "label" in keys:
            index = keys.index("label")
            for argument in _PER_KEY:
                given = component.get(argument)
                if isinstance(given, list) and len(given) == len(keys):
                    component[argument] = given[:index] + given[index + 1 :]
            component["keys"] = keys[:index] + keys[index + 1 :]
        else:
            continue
        done.append(f"{name}: the key 'label' is left out")
    return done


def no_torchvision(config: Config, _folder: Path) -> list[str]:
    """MONAI's RetinaNet takes two small pieces from torchvision; ours stand in where it is not installed."""
    text = str(config)
    if "resnet_fpn" not in text and "BackboneWithFPN" not in text:
        return []
    if importlib.util.find_spec("torchvision") is not None:
        return []
    from wetread.infer.networks.detection_backbone import stand_in_for_torchvision

    stand_in_for_torchvision()
    return ["torchvision is not installed: its layer getter is replaced for the detector's backbone"]


SHIMS: tuple[Shim, ...] = (
    old_imports_key,
    own_root,
    own_data_folders,
    own_device,
    removed_arguments,
    removed_transforms,
    numpy_aliases,
    no_downloads,
    safe_loading,
    arrays_beside_weights,
    run_key,
    weights_are_ours,
    no_labels,
    no_torchvision,
)
