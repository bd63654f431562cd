"""The page in a real browser: it draws, sorts, slides, shows samples, and makes no requests."""

import shutil

import numpy as np
import pandas as pd
import pytest

import art_flat as af
from art_flat.testing import example_classifier

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
CUT = """[...document.querySelectorAll('.figure')].filter(f => f.offsetParent).flatMap(f => {
    const box = f.getBoundingClientRect();
    return [...f.querySelectorAll('.main-svg, .main-svg text')].filter(s => {
        const b = s.getBoundingClientRect();
        const out = [box.left - b.left, b.right - box.right, box.top - b.top, b.bottom - box.bottom];
        return b.width && Math.max(...out) > 2;
    }).map(s => `${f.id}: ${s.textContent.slice(0, 40)}`);
})"""
"""JavaScript: what reaches out of a figure, whose edges cut it off."""
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


def wait_until(page, condition):
    """Wait until an expression is true; Playwright's own way is against the page's security policy."""
    for _ in range(300):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(100)
    raise AssertionError(f"not true in half a minute: {condition}")


@pytest.fixture(scope="module")
def report(run, tmp_path_factory):
    return run.report(tmp_path_factory.mktemp("report") / "report.html")


@pytest.fixture
def page(browser, report):
    page = browser.new_page(viewport={"width": 1024, "height": 900})
    page.set_default_timeout(60_000)
    wrong, asked = [], []
    page.on("console", lambda m: wrong.append(m.text) if m.type in {"error", "warning"} else None)
    page.on("pageerror", lambda e: wrong.append(str(e)))
    page.on("request", lambda r: asked.append(r.url))
    page.goto(report.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    yield page
    assert wrong == []
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [report.as_uri()]
    page.close()


def test_draws_every_figure(page):
    for name in ("surface", "slice", "curve", "kappa", "confidence", "boxes"):
        assert page.locator(f"#fig-{name} .main-svg").count() > 0, name
    assert page.locator("#table tbody tr").count() == 4  # three attacks and the worst of all
    page.locator("#theme").click()
    page.locator("#theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"


def test_draws_the_analyses_of_the_run(page, run_folder):
    tables = {p.stem: pd.read_parquet(p) for p in (run_folder / "analyses").glob("*.parquet")}
    sweep = pd.read_csv(run_folder / "analyses" / "scale_sweep.csv")
    assert page.locator("#valley-none").is_hidden()
    assert page.locator("#trajectory option").count() == 3  # one attack at three radii
    assert page.locator("#sweep option").count() == sweep["delta"].nunique()
    radius = float(sweep["delta"].iloc[0])
    page.locator("#norm").select_option("Linf")
    page.locator("#delta").select_option(str(radius))
    drawn = "[...document.querySelectorAll('#fig-{} .trace')].length"
    figure = "document.getElementById('fig-{}')"

    assert page.evaluate(drawn.format("trajectory")) == 6  # a band and a median of κ, loss and confidence
    steps = page.evaluate(figure.format("trajectory") + ".data[1].x")
    assert steps == sorted(steps)
    assert len(steps) > 3
    assert page.evaluate(figure.format("trajectory") + ".layout.shapes.length") == 3  # the flip
    page.locator("#from-flip").check()
    assert "flip" in page.locator("#fig-trajectory .xtitle").text_content()
    assert min(page.evaluate(figure.format("trajectory") + ".data[1].x")) < 0

    accuracy = page.evaluate(figure.format("sweep") + ".data.find(t => t.name.startsWith('robust')).y")
    own = sweep[sweep["delta"] == radius].sort_values("scale")
    assert accuracy == pytest.approx(own["robust_accuracy"].tolist(), rel=1e-3)
    assert page.evaluate(drawn.format("sweep")) == 9  # five shares, bands and medians of κ at both ends

    for quantity in ("loss", "log_kappa", "confidence", "curvature"):
        page.locator("#profile").select_option(quantity)
        rays = page.evaluate(figure.format("profile") + ".data.map(t => t.y)")
        means = tables["radial_profile"].groupby(["direction", "radius"], sort=False)[quantity].median()
        if quantity == "log_kappa":
            means = means / np.log(10)
        expected = [part.to_list() for _, part in means.groupby("direction", sort=False)]
        for ray, values in zip(rays, expected, strict=True):
            drawn_ray = [np.nan if v is None else v for v in ray]
            assert drawn_ray == pytest.approx(values, rel=2e-3, nan_ok=True)
    assert page.evaluate(drawn.format("profile")) == 4


def test_prints_every_figure_whole(page):
    record = "printed = " + CUT + "; theme = getComputedStyle(document.body).backgroundColor;"
    page.evaluate("() => { addEventListener('beforeprint', () => { " + record + " }); }")
    page.emulate_media(color_scheme="dark")
    pages = page.pdf(format="A4").count(b"/Type /Page\n")
    assert pages >= 4
    assert page.evaluate("printed") == []
    assert page.evaluate("theme") == "rgb(255, 255, 255)"
    # back on the screen, as before
    wait_until(page, "![...document.documentElement.classList].includes('printing')")
    wait_until(page, "[...document.querySelectorAll('.figure .main-svg')].every(s => "
                     "Math.abs(s.clientWidth - s.closest('.figure').clientWidth) <= 1)")  # fmt: skip
    # laid out as paper lays it out: A4 less its margins
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 703, "height": 1000})
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate(CUT) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= 703
    right = "Math.max(...[...document.querySelectorAll('.figure')].map(f => f.getBoundingClientRect().right))"
    assert page.evaluate(right) <= 703
    assert page.locator("nav").is_hidden()
    assert page.locator("#shown").inner_text().startswith("Figures show cnn, L∞, δ = 0.1")


@pytest.fixture(scope="module")
def sequence_report(digits, tmp_path_factory):
    net, x, y = digits
    attacks = [
        "art_flat:PGD(steps=2) @strong.1",
        "torchattacks:FAB(multi_targeted=True, steps=2, n_restarts=1, n_classes=10) @strong.2",
        "art_flat:GaussianNoise @strong.3",
        "art_flat:APGD(steps=5)",
        "art_flat:UniformNoise",
    ]
    results = af.evaluate(net, x[:12], y[:12], attacks=attacks, deltas={"Linf": [0.05, 0.1]}, certify=None)
    return results.report(tmp_path_factory.mktemp("sequence") / "report.html")


TABLE_NAMES = "[...document.querySelectorAll('#table tbody tr')].map(r => r.cells[0].innerText.trim())"


@pytest.mark.parametrize("width", [360, 1024, 1920])
def test_steps_stay_below_their_sequence(browser, sequence_report, width):
    page = browser.new_page(viewport={"width": width, "height": 900})
    page.goto(sequence_report.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    steps = ["↳ after art_flat:PGD(steps=2)", "↳ after torchattacks:FAB(", "↳ after art_flat:GaussianNoise"]

    def blocks():
        """The names of the rows, with the steps of the sequence checked and left out."""
        names = page.evaluate(TABLE_NAMES)
        for i in [i for i, name in enumerate(names) if name.startswith("strong")]:
            below = [name for name in names[i + 1 : i + 4] if name.startswith("↳")]
            assert all(name.startswith(start) for name, start in zip(below, steps[: len(below)], strict=True))
            assert below
        return [name.split()[0] for name in names if not name.startswith("↳")]

    page.locator("#all-cells").check()
    orders = set()
    for key in ("attack", "robust_accuracy", "loss_robust", "seconds"):
        for _ in range(2):
            page.locator(f"#table th[data-key={key}] button").click()
            orders.add(tuple(blocks()))
    assert len(orders) > 2
    assert all(sorted(order) == sorted(blocks()) for order in orders)
    page.locator("#filter").fill("gaussian")  # a step
    assert blocks() == ["strong", "strong"]
    assert page.locator("#count").inner_text().startswith("2 of ")
    page.locator("#table .fold").first.focus()
    page.keyboard.press("Enter")
    assert len(page.evaluate(TABLE_NAMES)) == 2
    assert page.locator("#table .fold").first.get_attribute("aria-expanded") == "false"
    page.keyboard.press("Enter")
    assert blocks() == ["strong", "strong"]
    page.locator("#filter").fill("")
    for cells in (page.locator("#all-cells").check, page.locator("#all-cells").uncheck):
        cells()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate("document.querySelector('#table').scrollWidth") <= page.evaluate(
            "document.querySelector('#attacks').clientWidth"
        )
        assert page.evaluate(WIDER_THAN_THEIR_BOX) == []
        assert page.evaluate(BROKEN_NAMES) == []
    page.close()


A4, LETTER = (703, 1032), (725, 965)
"""Width and height of a page less its margins, CSS pixels."""


@pytest.fixture(scope="module")
def many_models(tmp_path_factory):
    net, x, y = example_classifier()
    results = af.evaluate(
        {f"model {i}": net for i in range(5)}, x, y, attacks=["art_flat:PGD(steps=2)", "art_flat:GaussianNoise"],
        deltas={"Linf": [0.01 * k for k in range(1, 10)], "L2": [0.02 * k for k in range(1, 10)]},
    )  # fmt: skip
    return results.report(tmp_path_factory.mktemp("many") / "report.html")


def test_the_verdict_on_many_models_fits_one_page_too(browser, many_models):
    page = browser.new_page(viewport={"width": LETTER[0], "height": LETTER[1]})
    page.goto(many_models.as_uri())
    page.wait_for_selector("html[data-ready]", state="attached")
    page.emulate_media(media="print")
    assert page.locator(".panel").count() == 4
    assert "4 more pairs of model and norm are" in page.locator("#verdict").inner_text()
    assert page.evaluate("document.getElementById('verdict').getBoundingClientRect().bottom") <= LETTER[1]
    page.close()


@pytest.mark.parametrize("paper", [A4, LETTER])
def test_the_verdict_is_the_first_printed_page(page, paper):
    page.emulate_media(media="print")
    page.set_viewport_size({"width": paper[0], "height": paper[1]})
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.getElementById('verdict').getBoundingClientRect().bottom") <= paper[1]
    assert page.evaluate("getComputedStyle(document.getElementById('verdict')).breakAfter") == "page"
    assert page.evaluate("document.documentElement.scrollWidth") <= paper[0]


def test_buttons_of_figures_cover_nothing(page):
    covered = """[...document.querySelectorAll('.figure .modebar')].filter(m => m.offsetParent).flatMap(m => {
        const b = m.getBoundingClientRect();
        return [...m.closest('.figure').querySelectorAll('.plot, .bglayer rect, .legend, text, .cbfills')].filter(e => {
            const o = e.getBoundingClientRect();
            const across = o.left < b.right - 1 && o.right > b.left + 1;
            return o.width && across && o.top < b.bottom - 1 && o.bottom > b.top + 1;
        }).map(e => `${m.closest('.figure').id}: ${e.getAttribute('class')} ${e.textContent.slice(0, 30)}`);
    })"""
    for width in (360, 1024):
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(500)
        assert page.evaluate(covered) == []


def test_shares_have_denominators_and_norms_their_signs(page):
    page.locator("#all-cells").check()
    text = page.locator("main").inner_text().replace("\xa0", " ")
    assert "L∞" in text
    assert "Linf" not in text
    shares = [
        cell.replace("\xa0", " ") for cell in page.locator("#table td").all_inner_texts() if "%" in cell
    ]
    scores = page.locator("#table td[data-label^='of the best']").all_inner_texts()
    assert sum(" of " in " ".join(s.split()) for s in shares) == len(shares) - sum("%" in s for s in scores)
    ranges = page.locator("#verdict .bars .range, table.verdict .range").all_inner_texts()
    assert ranges
    assert all(r.endswith(" of 24") for r in ranges)


def test_table_sorts_and_filters_by_keyboard(page):
    column = "[...document.querySelectorAll('#table tbody tr')].map(r => parseFloat(r.cells[4].textContent))"
    page.locator("#all-cells").check()
    button = page.locator("#table th[data-key=robust_accuracy] button")
    button.focus()
    before = page.evaluate(column)
    assert before == sorted(before)
    page.keyboard.press("Enter")
    after = page.evaluate(column)
    assert after == sorted(before, reverse=True)
    assert after != before
    page.locator("#filter").fill("fastgradient")
    names = page.evaluate(
        "[...document.querySelectorAll('#table tbody tr')].map(r => r.cells[0].textContent)"
    )
    assert names
    assert all("FastGradient" in n for n in names)


def test_slider_moves_surface_and_slice(page):
    figure = "document.getElementById('fig-{}')".format
    read = f"[{figure('surface')}.layout.shapes[0].y0, ...{figure('slice')}.data.at(-1).y]"
    page.locator("#eps").focus()
    page.keyboard.press("Home")
    low = page.evaluate(read)
    page.keyboard.press("End")
    high = page.evaluate(read)
    assert low[0] == pytest.approx(0.001)
    assert high[0] == pytest.approx(10)
    assert sum(high[1:]) > sum(low[1:])


def test_click_shows_the_sample(page):
    page.locator("#fig-kappa").scroll_into_view_if_needed()
    mark = page.locator("#fig-kappa .points path").first
    box = mark.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.up()
    page.wait_for_selector("#point h3")
    assert page.locator("#point h3").inner_text().startswith("Sample")
    assert page.locator("#point img").count() == 3
    assert "nats" in page.locator("#point").inner_text()


WIDER_THAN_THEIR_BOX = """[...document.querySelectorAll('body *')].filter(e => e.offsetParent
    && !e.closest('.figure, option, select') && e.scrollWidth > e.clientWidth + 1
    && getComputedStyle(e).display !== 'inline').map(
    e => `${e.tagName}.${e.className} ${e.textContent.slice(0, 40)}`)"""
"""JavaScript: what is cut off or scrolls sideways."""
BROKEN_NAMES = """[...document.querySelectorAll('#table td:first-child, .name, .fact')].flatMap(td =>
    [...td.childNodes].filter(n => n.nodeType === 3).flatMap(n => n.data.split(/(?<= )/).map(piece => {
        const range = document.createRange(), at = n.data.indexOf(piece);
        range.setStart(n, at);
        range.setEnd(n, at + piece.trimEnd().length);
        return new Set([...range.getClientRects()].map(r => r.top)).size > 1 ? piece : null;
    }).filter(Boolean)))"""
"""JavaScript: pieces of names between commas that are broken between two lines."""


@pytest.mark.parametrize("width", [360, 620, 768, 1001, 1024, 1366, 1920])
def test_fits_the_window(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    for box in (None, "#all-cells"):
        if box is not None:
            page.locator(box).check()
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert page.evaluate(WIDER_THAN_THEIR_BOX) == []
        assert page.evaluate(BROKEN_NAMES) == []
    drawn = "[...document.querySelectorAll('.figure .main-svg')].every(s => s.clientWidth <= innerWidth)"
    wait_until(page, drawn)  # Plotly draws anew a while after the window changed
    page.wait_for_timeout(300)
    assert page.evaluate(CUT) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
