"""The pictures of the README: python benchmarks/pictures.py [DATA]

Trains a small CNN on digits, evaluates it, and writes the first page of the report and a figure of attack paths,
light and dark, to benchmarks/pictures/. The paths are those of the public ResNet-20 on CIFAR-10, whose weights and
images are in DATA (`nets/resnet20.safetensors`, `cifar10_genuine_subset.npz`; `../shared/data` by default). The page
needs Chromium and playwright (`pip install -e ".[browser]"`).
"""

import shutil
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

import art_flat as af
from art_flat.models import as_classifier, cifar_resnet20, load_weights
from art_flat.reporting import plot_trajectories
from art_flat.training import trained_digits_cnn

PICTURES = Path(__file__).resolve().parent / "pictures"
PAGE_SIZE = {"width": 900, "height": 900}
LAST_SHOWN = "p.keys"
"""The legend of the bars, the last line in the picture."""
MARGIN = 20
WITHOUT_CONTROLS = (
    "() => { for (const e of document.querySelectorAll('nav, #theme')) e.style.display = 'none'; }"
)
DARK = {"figure.facecolor": "#0d1117", "axes.facecolor": "#0d1117", "savefig.facecolor": "#0d1117"}
BRIGHT_BLUE = "#4da3dc"
"""The blue of figures on a dark ground."""
COLOURS = 64
"""Colours of a picture, few so that the files are small."""


def photograph(report, scheme):
    with sync_playwright() as api:
        browser = api.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport=PAGE_SIZE, color_scheme=scheme)
        page.goto(report.as_uri())
        page.wait_for_selector("html[data-ready]", state="attached")
        page.evaluate(WITHOUT_CONTROLS)
        legend = page.locator(LAST_SHOWN).first.bounding_box()
        height = legend["y"] + legend["height"] + MARGIN
        clip = {"x": 0, "y": 0, "width": PAGE_SIZE["width"], "height": height}
        page.screenshot(path=PICTURES / f"report-{scheme}.png", clip=clip)
        browser.close()


def draw(valley, scheme):
    with plt.style.context(["dark_background", DARK] if scheme == "dark" else "default"):
        figure = plot_trajectories(valley.frame(), valley.valley(), quantities=["log_kappa", "loss"])
        figure.set_size_inches(8, 5.7)
        if scheme == "dark":
            for axes in figure.axes:
                axes.lines[0].set_color(BRIGHT_BLUE)
                for band in axes.collections:
                    band.set(color=BRIGHT_BLUE, alpha=0.3)
        figure.savefig(PICTURES / f"valley-{scheme}.png", dpi=112)


def resnet20_paths(data):
    images = np.load(data / "cifar10_genuine_subset.npz", allow_pickle=False)
    model = load_weights(cifar_resnet20(), data / "nets" / "resnet20.safetensors").eval()
    mean, std = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    classifier = as_classifier(model, input_shape=(3, 32, 32), nb_classes=10, mean=mean, std=std)
    x, y = (images["x_test"][:60] / 255).astype(np.float32), images["y_test"][:60].astype(int)
    return af.trace_attack(classifier, "art_flat:PGD(steps=20)", x, y, delta=8 / 255)


def main(data):
    PICTURES.mkdir(exist_ok=True)
    classifier = as_classifier(trained_digits_cnn(), input_shape=(1, 8, 8), nb_classes=10)
    net, test = af.adapt(classifier), af.load_dataset("digits", split="test", n=100)
    results = af.evaluate(
        {"digits CNN": net}, test.x, test.y, attacks=["art_flat:APGD(steps=20)", "art:FastGradientMethod"],
        deltas={"Linf": [0.02, 0.04, 0.06, 0.1, 0.15]}, epsilons=[0.1], seed=0,
    )  # fmt: skip
    valley = resnet20_paths(data)
    with tempfile.TemporaryDirectory() as folder:
        report = results.report(Path(folder) / "report.html")
        for scheme in ("light", "dark"):
            photograph(report, scheme)
            draw(valley, scheme)
    for path in PICTURES.glob("*.png"):
        Image.open(path).convert("RGB").quantize(COLOURS).save(path, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else PICTURES.parents[2] / "shared" / "data"))
