"""The page in a real browser: it draws, sorts, slides, shows samples, and asks for nothing."""

import shutil

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
]
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as started:
        chromium = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


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
    page.locator("#theme").click()
    page.locator("#theme").click()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 23, 27)"


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


@pytest.mark.parametrize("width", [360, 1024, 1920])
def test_fits_the_window(page, width):
    page.set_viewport_size({"width": width, "height": 800})
    drawn = "[...document.querySelectorAll('.figure .main-svg')].every(s => s.clientWidth <= innerWidth)"
    for _ in range(100):  # Plotly draws anew a while after the window changed
        if page.evaluate(drawn):
            break
        page.wait_for_timeout(100)
    assert page.evaluate(drawn)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
