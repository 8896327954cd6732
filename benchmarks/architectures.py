"""What a whole call of examine costs on models of timm: forward and backward under examine / forward and backward.

pip install timm --no-deps    # torchvision, which its models hardly use, isn't needed
OMP_NUM_THREADS=1 python benchmarks/architectures.py --rounds 3 --batch 8
"""

import argparse
import importlib.util
import statistics
import sys
import types
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

import undertow
from rounds import measure, table

NAMES = (
    *("resnet18", "resnet26d", "resnext26ts", "seresnet18", "regnetx_002", "regnety_002", "res2net50_14w_8s"),
    *("densenet121", "vgg11_bn", "dla34", "hardcorenas_a", "mobilenetv2_050", "mobilenetv3_small_100", "mnasnet_small"),
    *(
        "efficientnet_b0",
        "tinynet_e",
        "ghostnet_050",
        "lcnet_050",
        "convnext_atto",
        "poolformer_s12",
        "edgenext_xx_small",
    ),
    *("vit_tiny_patch16_224", "deit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "mixer_s16_224"),
    *("resmlp_12_224", "gmlp_s16_224", "xcit_nano_12_p16_224", "cait_xxs24_224", "crossvit_tiny_240"),
)
ASKED_MEDIAN, ASKED_WORST = 1.6, 4.0


def without_torchvision() -> None:
    """Let timm load its models where torchvision is missing: stand in for the few names of it that they import."""
    if importlib.util.find_spec("torchvision") is not None:
        return
    stand_ins: dict[str, dict[str, object]] = {
        "torchvision": {},
        "torchvision.ops": {},
        "torchvision.ops.misc": {"FrozenBatchNorm2d": type("FrozenBatchNorm2d", (nn.Module,), {})},
        "torchvision.models": {},
        "torchvision.models.feature_extraction": dict.fromkeys(("create_feature_extractor", "get_graph_node_names")),
    }
    spec = importlib.util.find_spec("timm")
    root = Path(next(iter(spec.submodule_search_locations or ()))) if spec is not None else Path()
    constants: dict[str, object] = {}
    exec((root / "data" / "constants.py").read_text("utf-8"), constants)  # noqa: S102  # timm's own
    stand_ins["timm.data"] = {name: value for name, value in constants.items() if name.isupper()}
    for name, content in stand_ins.items():
        module = types.ModuleType(name)
        module.__path__ = [str(root / "data")] if name == "timm.data" else []
        module.__dict__.update(content)
        sys.modules[name] = module


def passes(name: str, batch: int) -> tuple[Callable[[], None], Callable[[], None]]:
    """Return what makes a plain forward and backward pass of a model, and what examines it."""
    import timm

    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=10).train()
    size = net.default_cfg["input_size"][1]
    x, y = torch.randn(batch, 3, size, size), torch.randint(10, (batch,))

    def loss() -> Tensor:
        out = net(x)
        return nn.functional.cross_entropy(out[0] if isinstance(out, tuple) else out, y)

    def plain() -> None:
        net.zero_grad()
        loss().backward()

    def examined() -> None:
        net.zero_grad()
        undertow.examine(net, loss)

    return plain, examined


def main() -> None:
    parser = argparse.ArgumentParser(description="What examine costs on models of timm, on one thread.")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--models", nargs="*", default=list(NAMES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    without_torchvision()
    rows, ratios = [], []
    for name in options.models:
        plain, examined = passes(name, options.batch)
        times = measure({"plain": plain, "examined": examined}, options.rounds)
        ratios.append(times.ratio("examined", "plain"))
        rows.append([name, f"{1e3 * times.median('plain'):.0f}", f"{ratios[-1]:.2f}"])
        print(*rows[-1], flush=True)
    rows.append(["median", "", f"{statistics.median(ratios):.2f} (asked {ASKED_MEDIAN})"])
    rows.append(["worst", "", f"{max(ratios):.2f} (asked {ASKED_WORST})"])
    print(table(["", "plain, ms", "examined / plain"], rows))


if __name__ == "__main__":
    main()
