"""Makes this bundle from cxr_pneumonia and cxr_pneumonia_vit beside it: python training/make_pair.py TRAINVAL.npz

Nothing is trained: the weights are those of the two; calibration and threshold of their mean are fitted as theirs were.
"""

import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from monai.bundle import ConfigParser
from safetensors.torch import load_file, save_file

from wetread.bundles import load_bundle
from wetread.bundles.bundle import file_sha256
from wetread.infer.gate.golden import golden_images
from wetread.infer.model import open_model
from wetread.learn.augment import Augmentation
from wetread.learn.calibrate import COPIES, Answers, Calibration, fit
from wetread.learn.card import write_figures
from wetread.learn.checkpoint import seed_epoch
from wetread.learn.measures import Classification, classification
from wetread.learn.npz import read_npz

PAIR = Path(__file__).resolve().parents[1]
PARTS = [PAIR.parent / name for name in ("cxr_pneumonia", "cxr_pneumonia_vit")]


def read(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))


def write(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content, indent=4, ensure_ascii=False) + "\n", encoding="utf-8")


def logits(network: torch.nn.Module, images: torch.Tensor) -> np.ndarray:
    with torch.inference_mode():
        return np.concatenate([network(batch)[:, 0].numpy() for batch in images.split(64)]).astype(np.float64)


def joined() -> tuple[dict, torch.nn.Module]:
    """The network's definition, and the network with the weights of both, which are written."""
    configs = [read(part / "configs" / "inference.json") for part in PARTS]
    definition = {
        "_target_": "wetread.infer.networks.film.Averaged",
        "networks": [config["network_def"] for config in configs],
        "temperatures": [config["calibration"]["temperature"] for config in configs],
        "offsets": [config["calibration"]["offset"] for config in configs],
    }
    network = ConfigParser({"network_def": json.loads(json.dumps(definition))}).get_parsed_content("network_def").eval()
    weights = {
        f"networks.{number}.{name}": tensor
        for number, part in enumerate(PARTS)
        for name, tensor in load_file(part / "models" / "model.safetensors").items()
    }
    network.load_state_dict(weights)
    save_file(weights, PAIR / "models" / "model.safetensors")
    return definition, network


def fitted(network: torch.nn.Module, data: Path) -> tuple[Calibration, Classification]:
    """On the validation part, as ``wetread bundle train`` does it."""
    train = read(PARTS[0] / "configs" / "train.json")
    given, point = dict(train["augmentation"]), train["operating_point"]
    del given["_target_"]
    cases = read_npz(data, scores=1)["val"]
    images = torch.from_numpy(np.stack([case.image for case in cases]))[:, None]
    low, high = images.amin((2, 3), keepdim=True), images.amax((2, 3), keepdim=True)
    images = (images - low) / (high - low)  # as ScaleIntensityd of the configs does
    labels = np.array([case.targets[0] for case in cases])
    change, changed = Augmentation(**given).scaled(point["strength"]), []
    for copy in range(COPIES):
        seed_epoch(0, copy)
        changed.append(logits(network, torch.cat([change(batch) for batch in images.split(64)])))
    answers = Answers(logits(network, images), labels, np.concatenate(changed), np.tile(labels, COPIES))
    found = fit(answers, **point)
    return found, classification(labels, found.probabilities(answers.logits), threshold=found.threshold)


def write_configs(definition: dict, found: Calibration) -> None:
    """Inference config, metadata, manifest and golden answer."""
    inference = read(PARTS[0] / "configs" / "inference.json") | {"network_def": definition}
    inference["calibration"] = {"temperature": found.temperature, "offset": found.offset}
    write(PAIR / "configs" / "inference.json", inference)
    metadata = read(PARTS[0] / "configs" / "metadata.json")
    metadata |= {
        "name": "Chest radiograph: pneumonia, CNN and vision transformer",
        "description": "The mean of what a residual CNN and a vision transformer say about a child's chest film.",
        "changelog": {"0.1.0": "cxr_pneumonia 0.1.0 and cxr_pneumonia_vit 0.1.0, averaged"},
    }
    write(PAIR / "configs" / "metadata.json", metadata)
    manifest = read(PARTS[0] / "configs" / "wetread.json")
    manifest["title"] = "Pneumonia (child's chest film, CNN and transformer)"
    manifest["weights"][0]["sha256"] = file_sha256(PAIR / "models" / "model.safetensors")
    manifest["scores"][0]["threshold"] = found.threshold
    manifest["explain"] = {"method": "occlusion"}
    golden = manifest.pop("golden")
    write(PAIR / "configs" / "wetread.json", manifest)
    bundle = load_bundle(PAIR)
    with tempfile.TemporaryDirectory() as cache:
        model = open_model(bundle, engine="torch", cache_folder=Path(cache))
        answer = model.run(golden_images(bundle, load_bundle(PARTS[0]).manifest.golden))
        model.close()
    (PAIR / "golden" / "scores.json").write_text(json.dumps({"scores": answer.values}) + "\n")
    write(PAIR / "configs" / "wetread.json", {**manifest, "golden": golden})


def write_metrics(found: Calibration, measured: Classification) -> None:
    """``training/metrics.json`` and the figures of the model card."""
    metrics = read(PARTS[0] / "training" / "metrics.json")
    metrics |= {
        "command": "python training/make_pair.py trainval.npz",
        "decided": {},
        "epochs": 0,
        "kept_epoch": 0,
        "history": [],
        "effort": {"wall_s": 0.0, "cpu_s": 0.0, "threads": 1},
        "calibration": asdict(found),
        "validation": {
            "n": measured.n,
            "n_positive": measured.n_positive,
            "threshold": measured.threshold,
            "figures": {name: figure.value for name, figure in measured.figures.items()},
            "intervals_95": {name: [figure.low, figure.high] for name, figure in measured.figures.items()},
            "confusion": list(measured.confusion),
        },
        "notes": [*metrics["notes"], "nothing was trained for it: the weights are those of the two bundles"],
    }
    write(PAIR / "training" / "metrics.json", metrics)
    write_figures(PAIR, metrics)


if __name__ == "__main__":
    torch.set_num_threads(1)
    definition, network = joined()
    found, measured = fitted(network, Path(sys.argv[1]))
    write_configs(definition, found)
    write_metrics(found, measured)
