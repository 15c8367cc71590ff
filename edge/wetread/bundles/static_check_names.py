"""The allow-list: which dotted names a bundle's configuration may use without being trusted as code.

Nothing is imported to answer: names of MONAI and of Wetread are looked up in the text of their source files. A name
that is only re-exported by accident (``monai.data.image_reader.os``) is therefore unknown, and refused.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pathlib import Path


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


DEFAULT_ALIASES = {"monai": "monai", "torch": "torch", "np": "numpy", "numpy": "numpy"}
"""What MONAI's ``ConfigParser`` imports for every expression."""

BUILTINS = _words(
    "abs all any bool complex dict divmod enumerate filter float frozenset int isinstance len list map max min next"
    " print range reversed round set slice sorted str sum tuple zip"
)

MODULES = _words(
    "copy datetime functools glob ignite itertools json logging math monai numpy os os.path pathlib random re"
    " safetensors.torch sys torch torch.nn torch.nn.functional torch.optim"
)
"""May be imported; what is used of them is checked at its use. Further: every module below ``monai``."""

_FUNCTIONS = {
    "": "pathlib.Path datetime.datetime datetime.date glob.glob safetensors.torch.load_file json.loads json.dumps",
    "os.path": "join basename dirname splitext normpath relpath abspath exists isfile isdir sep",
    "os": "sep",
    "copy": "copy deepcopy",
    "functools": "partial reduce",
    "itertools": "chain product repeat",
    "math": "pi e inf nan ceil floor sqrt exp log log2 pow prod sin cos tan fabs isnan",
    "ignite.engine": "Events",
    "ignite.handlers": "EMAHandler",
    "torch.utils.data": "WeightedRandomSampler",
    "wetread.learn.datalist": "datalist",
    "wetread.learn.sampling": "appearance_weights",
    "monai.networks.layers": "Act Norm Conv Pool Dropout",
    "monai.networks.layers.factories": "Act Norm Conv Pool Dropout",
    "numpy": """pi e inf nan newaxis float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64 bool_
    array asarray zeros ones full eye arange linspace concatenate stack where clip round abs sum mean
    std min max prod ceil floor sqrt exp log argmax argmin unique transpose squeeze expand_dims isnan
    nan_to_num any all percentile ndarray""",
    "torch": """float float16 float32 float64 half double bfloat16 int int8 int16 int32 int64 long short uint8 bool
        device tensor as_tensor from_numpy zeros ones full empty zeros_like ones_like rand randn arange
        linspace eye cat stack where clamp round abs sum mean std min max amin amax prod ceil floor sqrt exp
        log argmax argmin softmax sigmoid tanh squeeze unsqueeze flip permute topk unique any all nan_to_num
        logical_and logical_or logical_not is_tensor Tensor FloatTensor LongTensor Size no_grad
        inference_mode manual_seed load cuda.is_available cuda.device_count backends.mps.is_available""",
    "torch.nn.functional": "softmax sigmoid relu interpolate one_hot pad normalize avg_pool3d max_pool3d grid_sample",
}
FUNCTIONS = frozenset(
    f"{module}.{name}" if module else name for module, names in _FUNCTIONS.items() for name in names.split()
)

_CLASSES = re.compile(
    r"(torch\.nn|torch\.optim|torch\.optim\.lr_scheduler|ignite\.metrics|torchvision\.transforms)\.[A-Z]\w*"
)

ATTRIBUTES = _words(
    """T abs affine all any append argmax array astype batch bool clone contiguous convert copy count cpu
    cuda data detach device dim double dtype ema_model endswith epoch epoch_length eval exists extend flatten
    float get half image index int item items iteration join keys label load_old_state_dict
    load_state_dict long lower lstrip max mean meta metrics min name ndim network now numel numpy output
    parameters named_parameters parent pixdim pred prod replace reshape round rsplit rstrip run
    scale_factor set_box_selector_parameters set_sliding_window_inferer set_target_keys set_timesteps
    shape size split squeeze startswith state state_dict stem strftime strip suffix sum sw_batch_size to
    tolist train transform transpose unsqueeze update upper values view permute zfill std sqrt clamp"""
)
"""Attributes of values we know nothing about. Nothing that leads to code, globals, files or other objects' insides."""

_MONAI_PACKAGES = _words(
    """monai.transforms monai.networks.nets monai.networks.blocks monai.networks.layers monai.networks.schedulers
    monai.inferers monai.engines monai.handlers monai.losses monai.metrics monai.optimizers monai.utils.enums
    monai.apps.nuclick monai.apps.detection monai.apps.deepedit monai.apps.deepgrow monai.apps.vista3d
    monai.apps.generation monai.apps.reconstruction monai.apps.pathology"""
)
_MONAI_SINGLE = _words(
    """Dataset CacheDataset SmartCacheDataset CSVDataset PatchWSIDataset MaskedPatchWSIDataset DataLoader
    ThreadDataLoader ITKReader ITKWriter NibabelReader NibabelWriter PILReader PILWriter PydicomReader
    NrrdReader MetaTensor decollate_batch list_data_collate pad_list_data_collate no_collation
    load_decathlon_datalist partition_dataset set_determinism first ensure_tuple ensure_tuple_rep
    ensure_tuple_size copy_model_state"""
)
_MONAI_REFUSED = _words(
    "MLFlowHandler ClearMLHandler ClearMLImageHandler ClearMLStatsHandler FlexUNetEncoderRegister RemoteDataset"
    " LogfileHandler WriteFileMapping WriteFileMappingd"
)

FORMER_TRANSFORMS = _words("AddChannel AddChanneld AsChannelFirst AsChannelFirstd")
"""MONAI has them no more; ``EnsureChannelFirst`` is made in their place."""

_OUR_MODULES = ("wetread.infer.", "wetread.learn.augment", "wetread.learn.losses")
"""Classes of ours that configs may make."""

IMPORTING_ARGUMENTS = frozenset({"reader", "writer", "merger_cls"})
"""MONAI imports, and calls, what a string in these arguments names."""
IMPORTING_CLASSES = re.compile(r"(LoadImage|SaveImage|PatchInferer|WSIReader)\w*")
READERS = _words("pydicomreader itkreader nrrdreader pilreader nibabelreader")


def is_allowed(dotted: str) -> bool:
    """Whether the object of this full name may be used: called, handed on, instantiated."""
    if dotted in FUNCTIONS or _CLASSES.fullmatch(dotted):
        return True
    package = dotted.partition(".")[0]
    name = dotted.rpartition(".")[2]
    if package not in ("monai", "wetread"):
        return False
    return any(_reaches(dotted, module) and _may_use(module, name) for module in _defined(package).get(name, ()))


def is_known_module(dotted: str) -> bool:
    """Whether this is a module that may be imported: of the list, or any of MONAI's own."""
    if dotted in MODULES:
        return True
    modules = {module for found in _defined("monai").values() for module in found}
    return any(module == dotted or module.startswith(dotted + ".") for module in modules)


def is_allowed_short(name: str) -> bool:
    """Whether a bare name in ``_target_`` may be used; MONAI looks it up in all its modules."""
    if name in FORMER_TRANSFORMS:
        return True
    modules = _defined("monai").get(name, ())
    return bool(modules) and all(_may_use(module, name) for module in modules)


def nearest(target: str) -> str | None:
    """For a bare name, or one of a module of MONAI's, that MONAI does not have: the most similar one, or empty.

    None for one that it has, or that is somebody else's; and where MONAI is not installed.
    """
    module, _, name = target.rpartition(".")
    known = _defined("monai")
    if not known or name in known or (module and not is_known_module(module)) or module in MODULES - {"monai"}:
        return None
    return next(iter(get_close_matches(name, known, n=1)), "")


def _reaches(dotted: str, module: str) -> bool:
    """Whether ``dotted`` names an object of ``module``, there or re-exported by a package above it."""
    parent = dotted.rpartition(".")[0]
    return module == parent or module.startswith(parent + ".")


def _may_use(module: str, name: str) -> bool:
    if name in _MONAI_REFUSED or name.startswith("_"):
        return False
    if module.startswith("wetread."):
        return module.startswith(_OUR_MODULES) and name[0].isupper()
    if name in _MONAI_SINGLE:
        return module.startswith(("monai.data.", "monai.utils.", "monai.networks."))
    return any(module == package or module.startswith(package + ".") for package in _MONAI_PACKAGES)


@cache
def _defined(package: str) -> dict[str, tuple[str, ...]]:
    """Classes and functions at the top level of a package's modules: name → modules. Empty if it is not installed."""
    found: dict[str, tuple[str, ...]] = {}
    for root in _roots(package):
        for path in sorted(root.rglob("*.py")):
            parts = path.relative_to(root.parent).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            for name in _top_level(path.read_text(encoding="utf-8")):
                found[name] = (*found.get(name, ()), module)
    return found


def _roots(package: str) -> list[Path]:
    # The folder of the bundle may be on sys.path by now: a bundle must not answer what MONAI is.
    spec = find_spec(package) or PathFinder.find_spec(package)
    return [Path(p) for p in (spec.submodule_search_locations or ())] if spec else []


def _top_level(source: str) -> set[str]:
    names = set(re.findall(r"^(?:class|def) (\w+)", source, re.MULTILINE))
    for line in re.findall(r"^(\w+(?: = \w+)+)$", source, re.MULTILINE):  # LoadImageD = LoadImageDict = LoadImaged
        *aliases, last = line.split(" = ")
        if last in names:
            names.update(aliases)
    return names
