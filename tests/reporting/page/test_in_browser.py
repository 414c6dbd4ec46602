"""The page in headless Chromium: sorting, choosing, keyboard, no network, no error, phone, dark mode, opening time.

Needs playwright (`pip install playwright`) and a Chromium that is installed (`apt-get install chromium`).
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if CHROMIUM is None:
    pytest.skip("no Chromium is installed", allow_module_level=True)

OPENS_MS = 2000
READABLE = 4.5  # the least contrast of text, WCAG 2.2 level AA

# Every text with the colour behind it: the worst contrast, and where it is.
WORST_CONTRAST = """() => {
  const linear = (part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
  const channel = (value) => linear(value / 255);
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const behind = (element) => {
    for (; element; element = element.parentElement) {
      const colour = parse(getComputedStyle(element).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  let worst = [99, ""];
  for (const details of document.querySelectorAll("details")) details.open = true;
  for (const element of document.body.querySelectorAll(":not(title)")) {
    if (![...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())) continue;
    const style = getComputedStyle(element), svg = element instanceof SVGElement;
    const [a, b] = [luminance(parse(svg ? style.fill : style.color)), luminance(behind(element))];
    const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (ratio < worst[0]) worst = [ratio, `${element.tagName}: ${element.textContent.slice(0, 40)}`];
  }
  return worst;
}"""


@pytest.fixture(scope="module")
def address(drawn_html: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(drawn_html, encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Any, address: str) -> Iterator[Any]:
    """The page, opened; at the end nothing may have been complained of, and nothing fetched from elsewhere."""
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(address)
    yield page
    assert [
        line for line in complaints if "pictures.png" not in line and "ERR_FILE_NOT_FOUND" not in line
    ] == []
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
    context.close()


def first_cells(page: Any, table: str) -> list[str]:
    rows = page.locator(f"#{table} tbody tr:not(.block):not([hidden]) th")
    return [text.split("\n")[0] for text in rows.all_inner_texts()]


def test_numbers_sort_from_the_largest_and_gaps_stay_last(page: Any) -> None:
    written = first_cells(page, "sorted-drawn")
    head = page.locator("#sorted-drawn thead th", has_text="Detection")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    assert first_cells(page, "sorted-drawn") == ["Context encoder", "Rotation", "Random weights"]
    other = page.locator("#sorted-drawn thead th", has_text="Classification")
    other.get_by_role("button").click()
    assert first_cells(page, "sorted-drawn") == ["Rotation", "Context encoder", "Random weights"], (
        "100 before 41 and 9.5"
    )
    assert head.get_attribute("aria-sort") is None
    other.get_by_role("button").click()
    assert other.get_attribute("aria-sort") == "ascending"
    assert first_cells(page, "sorted-drawn") == ["Random weights", "Context encoder", "Rotation"]
    other.get_by_role("button").click()
    assert other.get_attribute("aria-sort") is None
    assert first_cells(page, "sorted-drawn") == written


def test_sorting_with_the_keyboard(page: Any) -> None:
    button = page.locator("#all-runs thead th", has_text="Run").get_by_role("button")
    button.focus()
    page.keyboard.press("Enter")
    names = first_cells(page, "all-runs")
    page.keyboard.press("Space")
    assert first_cells(page, "all-runs") == names[::-1]
    outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid", "focus is to be seen"


def test_the_skip_link_is_first_and_leads_to_the_content(page: Any) -> None:
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    assert page.locator(".skip").bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"


def test_choosing_by_words_and_lists(page: Any) -> None:
    form = page.locator("form[data-filters=all-runs]")
    assert form.locator("output").inner_text() == "11 rows"
    form.locator("select[name=state]").select_option("failed")
    assert first_cells(page, "all-runs") == ["det-random-0"]
    assert page.locator("article.run:not([hidden])").count() == 1
    assert form.locator("output").inner_text() == "1 of 11 rows"
    form.get_by_role("button", name="Show all").click()
    page.wait_for_function("document.querySelector('form[data-filters=all-runs] output').value === '11 rows'")
    form.locator("input").fill("CLS context")
    assert first_cells(page, "all-runs") == ["cls-context-encoder-0", "cls-context-encoder-1"]


def test_rows_of_a_table_are_chosen_by_their_runs(page: Any) -> None:
    form = page.locator("form[data-filters=sorted-drawn]")
    options = form.locator("select[name=method] option").all_inner_texts()
    assert options == ["all", "context-encoder", "random", "rotation"]
    assert form.locator("label", has_text="Data").is_hidden(), "there is only one data set to choose"
    form.locator("select[name=method]").select_option("rotation")
    assert first_cells(page, "sorted-drawn") == ["Rotation"]
    form.locator("input").fill("nothing is called so")
    assert first_cells(page, "sorted-drawn") == []
    assert page.locator("#sorted-drawn tr.block").is_hidden()


def test_a_cell_leads_to_its_run_even_if_that_is_hidden(page: Any) -> None:
    page.locator("form[data-filters=all-runs] input").fill("rotation")
    assert page.locator("#run-cls-random-0").is_hidden()
    page.locator("#sorted-drawn").get_by_role("link", name="9.5").click()
    page.wait_for_function("!document.getElementById('run-cls-random-0').hidden")
    assert page.locator("#run-cls-random-0 h3").is_visible()


@pytest.mark.parametrize("width", [360, 1200])
def test_the_page_is_never_wider_than_the_screen(page: Any, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 740})
    page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    spill = page.evaluate(
        "(width) => [...document.querySelectorAll('main > section > *, article > *')]"
        ".filter((e) => e.getBoundingClientRect().right > width + 1).map((e) => e.outerHTML.slice(0, 80))",
        width,
    )
    assert spill == []


def test_the_first_column_stays_while_a_table_scrolls(page: Any) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    box = page.locator("#all-runs")
    box.evaluate("(element) => { element.scrollLeft = 150; }")
    head = page.locator("#all-runs tbody th").first
    assert box.evaluate("(element) => element.scrollLeft") == 150
    assert abs(head.bounding_box()["x"] - box.bounding_box()["x"]) <= 2
    assert head.bounding_box()["width"] < 200


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(page: Any, scheme: str) -> None:
    page.emulate_media(color_scheme=scheme)
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(20, 23, 26)")
    ratio, where = page.evaluate(WORST_CONTRAST)
    assert ratio >= READABLE, where


def test_it_opens_at_once(page: Any) -> None:
    took = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd")
    assert 0 < took <= OPENS_MS


def test_without_a_script_everything_is_there(browser: Any, address: str) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator("article.run").count() == 11
    assert page.locator("article.run h3").last.is_visible()
    assert page.locator("form.filter").first.is_hidden()
    context.close()


def test_on_paper(page: Any) -> None:
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator("nav").is_hidden()
    assert page.locator("form.filter").first.is_hidden()
