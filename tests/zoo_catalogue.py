"""The look-alikes by name, one for each quirk of the zoo (``zoo_lookalikes`` has the common skeleton)."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import numpy as np
import torch
from monai.apps.detection.networks.retinanet_network import RetinaNet
from monai.networks.blocks.backbone_fpn_utils import BackboneWithFPN
from monai.networks.nets import DenseNet, DiNTS, SwinUNETR, TopologyInstance, UNet
from monai.networks.nets.resnet import ResNet
from torch import nn

from bundles import label
from wetread.infer.networks.detection_backbone import stand_in_for_torchvision
from zoo_lookalikes import (
    ARGMAX,
    CHANNEL,
    CHECKPOINT,
    CODE,
    CONV,
    KIDNEY,
    LOAD,
    RAS,
    SAVE,
    SIGMOID,
    SOFTMAX,
    SPACING,
    THRESHOLD,
    TWO,
    Config,
    Lookalike,
    conv,
    invert,
    per_channel,
    seeded,
    step,
    steps,
    zoo_config,
)

POST = steps(SOFTMAX, invert(), ARGMAX, SAVE)
PRE = steps(LOAD, CHANNEL, RAS)


def spleen() -> Lookalike:
    """Resampling, a U-Net with a window, softmax, inversion, argmax: what most of the zoo does."""
    net = {"spatial_dims": 3, "in_channels": 1, "out_channels": 3, "channels": [4, 8], "strides": [2], "norm": "batch"}
    scale = step("ScaleIntensityRanged", a_min=-57, a_max=164, b_min=0.0, b_max=1.0, clip=True)
    pre = steps(LOAD, CHANNEL, RAS, SPACING, scale, step("EnsureTyped"))
    loader = {**CHECKPOINT, "map_location": "@device"}
    more: Config = {"checkpointloader": loader, "initialize": ["$@checkpointloader(@evaluator)"], "handlers": []}
    return Lookalike(zoo_config({"_target_": "UNet", **net}, pre, POST, **more), seeded(UNet(**net)))


def found_architecture() -> Lookalike:
    """DiNTS: the architecture that a search found lies as NumPy arrays beside the weights; cuda by name everywhere."""
    found = {"node_a": np.array([[1, 1], [1, 0], [1, 1]]), "arch_code_c": np.array([[1, 0, 0, 0], [1, 3, 0, 0]])}
    found["arch_code_a"] = np.array([[1.0, 0, 1, 0], [1, 1, 0, 1]])
    space: Config = {"channel_mul": 0.125, "num_blocks": 2, "num_depths": 2, "use_downsample": True}
    codes = [found["arch_code_a"], found["arch_code_c"]]
    with redirect_stdout(StringIO()):  # it prints
        instance = TopologyInstance(arch_code=codes, **space)
    network = DiNTS(instance, in_channels=1, num_classes=3, node_a=torch.from_numpy(found["node_a"]))
    taken: list[str] = ["$@arch_ckpt['arch_code_a']", "$@arch_ckpt['arch_code_c']"]
    cuda = "$torch.device('cuda')"
    net = {"_target_": "monai.networks.nets.DiNTS", "dints_space": "@dints_space", "in_channels": 1, "num_classes": 3}
    more: Config = {
        "arch_ckpt_path": "$@bundle_root + '/models/search_code_7.pt'",
        "arch_ckpt": "$torch.load(@arch_ckpt_path, map_location=torch.device('cuda'))",
        "dints_space": {"_target_": "TopologyInstance", **space, "arch_code": taken, "device": cuda},
    }
    config = zoo_config({**net, "node_a": "$torch.from_numpy(@arch_ckpt['node_a'])"}, PRE, POST, **more)
    beside = {"search_code_7.pt": {**found, "iter_num": 7, "best_dsc": np.float64(0.5)}}
    return Lookalike(config, seeded(network), beside=beside, yaml=True)


def no_run_key() -> Lookalike:
    """``evaluating`` instead of ``run``, checkpoint in the handlers, images with their metadata beside them."""
    pre = steps(step("LoadImaged", image_only=False), CHANNEL, RAS)
    config = zoo_config(CONV, pre, POST, run=None, initialize=None, evaluating=["$@evaluator.run()"])
    return Lookalike(config, conv())


def yaml_itk_crop() -> Lookalike:
    """YAML, ITKReader, keys by reference, cropping to the foreground, overlap .75."""
    keys = ["@image_key"]
    crop = step("CropForegroundd", keys, source_key="@image_key", select_fn="$lambda x: x > -500", mode=["minimum"])
    cast = step("CastToTyped", "@image_key", dtype="$torch.float32")
    pre = steps(
        step("LoadImaged", "@image_key", reader="ITKReader"), step("EnsureChannelFirstd", keys), RAS, crop, cast
    )
    return Lookalike(zoo_config(CONV, pre, POST, image_key="image"), conv(), yaml=True)


def lists_added() -> Lookalike:
    """Preprocessing as two lists added up, ``val_handlers`` at the top, a data list opened at parse time."""
    pre = {"_target_": "Compose", "transforms": "$@preprocessing_load + @preprocessing_rest"}
    config = zoo_config(CONV, pre, POST, handlers=None, val_handlers=[CHECKPOINT])
    config |= {"preprocessing_load": [LOAD, CHANNEL], "preprocessing_rest": [RAS]}
    config["datalist"] = "$open('/nowhere/datalist.json').read()"
    config["evaluator"] = {**config["evaluator"], "val_handlers": "@val_handlers"}
    return Lookalike(config, conv())


def own_network() -> Lookalike:
    """A network in ``scripts/`` that uses a name numpy 2 removed; another such name in an expression."""
    config = zoo_config({"_target_": "scripts.network.Plain", "kernel": "$[int(np.product([1, 1]))] * 3"}, PRE, POST)
    network = nn.Sequential()
    network.conv = conv()  # the same parameter names
    return Lookalike(config, network, scripts="old numpy")


def swin_img_size() -> Lookalike:
    """An argument that MONAI 1.5 removed."""
    net: dict[str, Any] = {"in_channels": 1, "out_channels": 3, "feature_size": 12, "depths": [1, 1, 1, 1]}
    net["num_heads"] = [1, 1, 1, 1]
    scale = step("ScaleIntensityRanged", a_min=-175, a_max=250, b_min=0.0, b_max=1.0, clip=True)
    window = {"_target_": "SlidingWindowInferer", "roi_size": [64, 64, 64], "sw_batch_size": 4, "overlap": 0.25}
    net_config = {"_target_": "SwinUNETR", "img_size": [64, 64, 64], **net}
    config = zoo_config(net_config, steps(LOAD, CHANNEL, scale), POST, inferer=window)
    return Lookalike(config, seeded(SwinUNETR(**net)), spatial_shape=(64, 64, 64))


MODALITIES = ("t1c", "t1", "t2", "flair")


def _brats(*post: Config, **more: Any) -> Lookalike:
    net = {**CONV, "in_channels": 4, "out_channels": 4}
    pre = steps(LOAD, step("NormalizeIntensityd", nonzero=True, channel_wise=True))
    config = zoo_config(net, pre, steps(SIGMOID, invert(), THRESHOLD, *post, SAVE))
    inputs = tuple((f"series {name}", "image") for name in MODALITIES)
    channels = {str(k): name for k, name in enumerate(MODALITIES)}
    return Lookalike(config, per_channel(4, 0.01), inputs=inputs, channels=channels, **more)


def sigmoid_overlap() -> Lookalike:
    """Four series stacked as channels; structures that overlap, one mask each."""
    labels = tuple(label(k + 1, name, KIDNEY) for k, name in enumerate(MODALITIES))
    return _brats(labels=labels, own={"overlapping": True})


def brats_values() -> Lookalike:
    """Four series, and a label map with the values 1, 2 and 4."""
    choose = "$lambda x: torch.where(x[[2]] > 0, 4, torch.where(x[[0]] > 0, 1, torch.where(x[[1]] > 0, 2, 0)))"
    labels = tuple(label(k, f"Region {v}", KIDNEY, bundle_value=v) for k, v in ((1, 1), (2, 2), (3, 4)))
    return _brats(step("Lambdad", "pred", func=choose), labels=labels)


def three_series() -> Lookalike:
    """Three series under keys of their own, merged by a script after preprocessing, LPS, sigmoid."""
    keys = ["artery", "vein", "excret"]
    merge = {"_target_": "scripts.concat.ConcatSeries", "keys_merge": keys, "keys_out": "image"}
    pre = steps(
        step("LoadImaged", keys), step("EnsureChannelFirstd", keys), step("Orientationd", keys, axcodes="LPS"), merge
    )
    post = steps(invert(orig="artery"), SIGMOID, THRESHOLD, SAVE)
    net = {**CONV, "in_channels": 3}
    config = zoo_config(net, pre, post, run=None, inference=["$@evaluator.run()"])
    return Lookalike(
        config,
        per_channel(3, 200.0),
        labels=tuple(label(k + 1, name, KIDNEY) for k, name in enumerate(keys)),
        own={"overlapping": True},
        inputs=tuple((f"series {key}", key) for key in keys),
        channels={str(k): key for k, key in enumerate(keys)},
        scripts="concat",
    )


def argmax_then_bilinear() -> Lookalike:
    """Labels are chosen first and then interpolated: values between labels."""
    keep = step("KeepLargestConnectedComponentd", "pred", applied_labels=[1, 2])
    config = zoo_config(CONV, steps(LOAD, CHANNEL, RAS, SPACING), steps(ARGMAX, keep, invert(), SAVE))
    return Lookalike(config, conv())


def argmax_then_nearest() -> Lookalike:
    """Labels are chosen first and put back by nearest neighbour, with 105 classes."""
    labels = tuple(label(k, f"Structure {k}", KIDNEY) for k in range(1, 105))
    window = {**zoo_config({}, {}, {})["inferer"], "sw_batch_size": 1, "device": "cpu"}
    post = steps(SOFTMAX, ARGMAX, invert(nearest=True), SAVE)
    config = zoo_config({**CONV, "out_channels": 105}, steps(LOAD, CHANNEL, RAS, SPACING), post, inferer=window)
    return Lookalike(config, conv(classes=105), labels=labels)


def hard_coded_cuda() -> Lookalike:
    """Somebody's machine: absolute root, cuda by name, a checkpoint round the weights."""
    config = zoo_config(CONV, PRE, POST, bundle_root="/workspace/bundle", device="$torch.device('cuda:0')")
    config["preprocessing"] = steps(LOAD, CHANNEL, step("EnsureTyped", device="cuda"), RAS)
    return Lookalike(config, conv(), checkpoint=lambda state: {"model": state, "epoch": 7})


def slices_2d() -> Lookalike:
    """A 2-D network over the slices of a volume."""
    net = {"_target_": "torch.nn.Conv2d", "in_channels": 1, "out_channels": 3, "kernel_size": 1}
    inferer = {"_target_": "SliceInferer", "roi_size": [32, 32], "spatial_dim": 2}
    pre = steps(step("LoadImaged", image_only=False), CHANNEL, step("EnsureTyped", device="@device"))
    config = zoo_config(net, pre, POST, inferer=inferer, run=None, evaluating=["$@evaluator.run()"])
    return Lookalike(config, conv(dimensions=2), spatial_shape=(32, 32))


def classifier() -> Lookalike:
    """``import`` for ``imports``, resizing, a sigmoid, a handler that writes a CSV file."""
    net: dict[str, Any] = {"spatial_dims": 3, "in_channels": 1, "out_channels": 2, "init_features": 4}
    net |= {"growth_rate": 4, "block_config": [1, 1]}
    scale = step("ScaleIntensityRanged", a_min=-1000, a_max=1000, b_min=0.0, b_max=1.0)
    pre = steps(LOAD, CHANNEL, scale, step("Resized", spatial_size=[32, 32, 32]))
    saver = {"_target_": "ClassificationSaver", "output_dir": "@output_dir"}
    config = zoo_config({"_target_": "DenseNet", **net}, pre, steps(SIGMOID, THRESHOLD), imports=None)
    config |= {"import": ["$import glob"], "inferer": {"_target_": "SimpleInferer"}, "handlers": [CHECKPOINT, saver]}
    scores = [{"name": name, "index": k, "condition": CODE, "threshold": 0.5} for k, name in enumerate(("A", "B"))]
    own = {"labels": [], "scores": scores, "runtime": {"drop": ["AsDiscreted"]}}
    return Lookalike(config, seeded(DenseNet(**net)), own=own)


def array_transforms() -> Lookalike:
    """Transforms for arrays instead of dictionaries; ``AddChannel`` is gone from MONAI."""
    pre = steps({"_target_": "LoadImage", "image_only": True}, {"_target_": "AddChannel"})
    config = zoo_config(CONV, pre, steps({"_target_": "AsDiscrete", "argmax": True}))
    return Lookalike(config, conv())


def own_evaluator() -> Lookalike:
    """An evaluator in ``scripts/`` with its own iteration and inferer, a thread loader."""
    config = zoo_config(CONV, PRE, POST)
    config["evaluator"] = {
        **config["evaluator"],
        "_target_": "scripts.evaluator.PromptedEvaluator",
        "hyper_kwargs": {"classes": [1, 2]},
    }
    config["inferer"] = {"_target_": "scripts.evaluator.TwiceInferer"}
    config["dataloader"] = {"_target_": "ThreadDataLoader", "dataset": "@dataset", "batch_size": 1, "num_workers": 0}
    config |= {"checkpointloader": CHECKPOINT, "initialize": ["$@checkpointloader(@evaluator)"]}
    return Lookalike(config, conv(), scripts="evaluator")


def handler_postprocesses() -> Lookalike:
    """Postprocessing in a handler instead of the evaluator."""
    config = zoo_config(CONV, PRE, POST)
    config["evaluator"] = {k: v for k, v in config["evaluator"].items() if k != "postprocessing"}
    config["handlers"] = [CHECKPOINT, {"_target_": "PostProcessing", "transform": "@postprocessing"}]
    return Lookalike(config, conv())


def _backbone() -> nn.Module:
    return ResNet(
        "basic", [1, 1, 1, 1], [4, 8, 16, 32], spatial_dims=3, n_input_channels=1, conv1_t_size=3, conv1_t_stride=1
    )


_RESNET = (
    "monai.networks.nets.resnet.ResNet('basic', [1, 1, 1, 1], [4, 8, 16, 32], spatial_dims=3, n_input_channels=1, "
)


def _retinanet() -> nn.Module:
    stand_in_for_torchvision()
    body = BackboneWithFPN(_backbone(), {"layer1": "0", "layer2": "1"}, [4, 8], 8, 3)
    network = seeded(RetinaNet(3, 1, 1, body, (8, 8, 8)))
    nn.init.constant_(network.classification_head.cls_logits.bias, 0.3)
    nn.init.normal_(network.classification_head.cls_logits.weight, std=0.5, generator=torch.Generator().manual_seed(1))
    return network


def detection_in_handler() -> Lookalike:
    """A RetinaNet whose boxes become a result in a handler; reader arguments of ITK, two readers by switch."""
    switch = {"raw": False, "resampled": "$(not @raw)"}
    readers = [
        step("LoadImaged", meta_key_postfix="meta_dict", _disabled_="@raw"),
        step("LoadImaged", reader="itkreader", affine_lps_to_ras=True, _disabled_="@resampled"),
    ]
    scale = step("ScaleIntensityRanged", a_min=-1024.0, a_max=300.0, b_min=0.0, b_max=1.0, clip=True)
    spacing = step("Spacingd", pixdim=[1.5, 1.5, 2.0], _disabled_="@resampled")
    pre = steps(*readers, CHANNEL, RAS, spacing, scale, step("EnsureTyped"))
    anchors = {"_target_": "monai.apps.detection.utils.anchor_utils.AnchorGeneratorWithAnchorShape"}
    anchors |= {"feature_map_scales": [1, 2, 4], "base_anchor_shapes": [[6, 8, 4]]}
    net = {"_target_": "RetinaNet", "spatial_dims": 3, "num_classes": 1, "num_anchors": 1}
    net |= {"feature_extractor": "@feature_extractor", "size_divisible": [8, 8, 8]}
    post = steps(
        {"_target_": "ClipBoxToImaged", "box_keys": "box", "label_keys": "label", "box_ref_image_keys": "image"},
        {"_target_": "ConvertBoxModed", "box_keys": "box", "src_mode": "xyzxyz", "dst_mode": "cccwhd"},
        step("DeleteItemsd", ["image"]),
    )
    saver = {
        "_target_": "scripts.detection.BoxSaver",
        "output_dir": "@output_dir",
        "output_transform": "@postprocessing",
    }
    config = zoo_config(net, pre, post, **switch)
    config |= {
        "anchor_generator": anchors,
        "backbone": f"${_RESNET}conv1_t_size=3, conv1_t_stride=1)",
        "feature_extractor": "$monai.networks.blocks.backbone_fpn_utils.BackboneWithFPN("
        "@backbone, {'layer1': '0', 'layer2': '1'}, [4, 8], 8, 3)",
        "detector": {"_target_": "RetinaNetDetector", "network": "@network", "anchor_generator": "@anchor_generator"},
        "detector_ops": [
            "$@detector.set_target_keys(box_key='box', label_key='label')",
            "$@detector.set_box_selector_parameters("
            "score_thresh=0.02, topk_candidates_per_level=100, nms_thresh=0.22, detections_per_img=5)",
        ],
        "inferer": {"_target_": "scripts.detection.BoxInferer", "detector": "@detector"},
        "handlers": [CHECKPOINT, saver],
    }
    loader = config["dataloader"]
    config["dataloader"] = {**loader, "collate_fn": "$monai.data.utils.no_collation"}
    evaluator = {"_target_": "scripts.detection.BoxEvaluator", "_requires_": "@detector_ops"}
    config["evaluator"] = {**config["evaluator"], **evaluator}
    rule = {"name": "Nodule", "label": 0, "category": CODE, "type": CODE, "colour_rgb": [255, 0, 0]}
    own = {"labels": [], "boxes": [{**rule, "score_threshold": 0.1}], "runtime": {"override": {"raw": True}}}
    return Lookalike(config, _retinanet(), own=own, scripts="detection")


def colour_video() -> Lookalike:
    """Frames of a colour video: not a radiological image."""
    net = {"_target_": "torch.nn.Conv2d", "in_channels": 3, "out_channels": 3, "kernel_size": 1}
    config = zoo_config(net, steps(LOAD, CHANNEL), steps(ARGMAX, SAVE), inferer={"_target_": "SimpleInferer"})
    return Lookalike(
        config, nn.Conv2d(3, 3, 1), labels=TWO, channels={"0": "R", "1": "G", "2": "B"}, spatial_shape=(32, 32)
    )


LOOKALIKES: dict[str, Callable[[], Lookalike]] = {
    maker.__name__: maker
    for maker in (
        spleen,
        found_architecture,
        no_run_key,
        yaml_itk_crop,
        lists_added,
        own_network,
        swin_img_size,
        sigmoid_overlap,
        brats_values,
        three_series,
        argmax_then_bilinear,
        argmax_then_nearest,
        hard_coded_cuda,
        slices_2d,
        classifier,
        array_transforms,
        own_evaluator,
        handler_postprocesses,
        detection_in_handler,
        colour_video,
    )
}
