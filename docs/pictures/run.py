"""The README's picture of a run's page: `make pictures`, or python docs/pictures/run.py [OUT.png].

Four small residual blocks under Adam; at step 900 the learning rate is multiplied by 60, and stays there. Every step is
taped, so that the picture is the same each time, but for the seconds. It is taken in a headless Chromium.
"""

import sys
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

import undertow
from reading import chromium, screen  # how the tests open pages

STEPS, AT, FACTOR, SHOWN = 1500, 900, 60.0, 919
WIDTH, HEIGHT = 1180, 815


class Block(nn.Module):
    """x + second(relu(first(norm(x))))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.first, self.second = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(torch.relu(self.first(self.norm(x))))


def batches(rows: int = 64) -> tuple[Tensor, Tensor]:
    """Four classes, told apart by a curved boundary."""
    x = torch.randn(rows, 8)
    return x, (torch.tanh(3 * x[:, :4]) + x[:, :4] * x[:, 4:]).argmax(1)


def train(path: Path, **settings: object) -> Path:
    """Train under the watcher; where the Run is."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 48), *(Block(48) for _ in range(4)), nn.Tanh(), nn.Linear(48, 4))
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    with undertow.watch(net, optimizer, path, **{"every": 1, **settings}) as watcher:
        for step in range(STEPS):
            optimizer.param_groups[0]["lr"] = 3e-3 * (FACTOR if step >= AT else 1.0)
            optimizer.zero_grad()
            x, y = batches()
            nn.functional.cross_entropy(net(x), y).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
    return Path(watcher.path)


def main(out: Path) -> None:
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder, chromium(Path(folder, "profile")) as browser:
        run = undertow.open_run(train(Path(folder, "trouble.undertow")))
        page = Path(folder, "run.html")
        undertow.explain(run, step=SHOWN).save(page, "trouble.undertow")
        screen(browser, WIDTH, HEIGHT)
        browser.get(page.as_uri())
        browser.save_screenshot(str(out))


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "docs" / "pictures" / "run.png")
