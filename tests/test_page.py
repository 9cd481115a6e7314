"""The page in a browser: what it shows first, that it answers, and that it asks for nothing."""

import itertools
import shutil
from pathlib import Path

import pytest

import report
from browser import CHROMIUM, Browser
from config import REESTIMATED
from fakes import make_plan, make_results, measure
from store import records

SIZES = {1200: 800, 390: 844}
READY = "document.getElementById('curves-of-all').dataset.ready === 'yes'"
LIMIT = 3_000_000

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="no chromium, which Debian's package of that name has"),
]

CONTRAST = """
(() => {
  const light = (rgb) => rgb.slice(0, 3).map((v) => v / 255)
    .map((v) => v <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const behind = (element) => {
    for (let e = element; e; e = e.parentElement) {
      const found = parse(getComputedStyle(e).backgroundColor);
      if (found.length < 4 || found[3] > 0) return found;
    }
    return [255, 255, 255];
  };
  const worst = { ratio: 21, text: "" };
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walk.nextNode());) {
    const element = node.parentElement, style = getComputedStyle(element);
    if (["SCRIPT", "STYLE", "OPTION"].includes(element.tagName)) continue;
    if (!node.textContent.trim()) continue;
    if (!element.checkVisibility() || element.disabled) continue;
    const [a, b] = [light(parse(style.color)), light(behind(element))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < worst.ratio) Object.assign(worst, { ratio, text: node.textContent.trim() });
  }
  return worst;
})()
"""
CHOOSE = """
(name, value) => {
  const field = document.querySelector(`#curves-of-all [name=${name}]`);
  field.value = value;
  field.dispatchEvent(new Event(field.type === "range" ? "input" : "change", { bubbles: true }));
}
"""
LAST_POINT = """
(() => {
  const view = [...Bokeh.index.roots][0], frame = view.frame.bbox;
  const box = view.el.getBoundingClientRect(), { x_range, y_range } = view.model;
  const data = Bokeh.documents[0].get_model_by_name("mean-0").data, last = data.x.length - 1;
  const x = (data.x[last] - x_range.start) / (x_range.end - x_range.start);
  const y = (data.mean[last] - y_range.start) / (y_range.end - y_range.start);
  return [box.left + frame.left + x * frame.width, box.top + frame.top + (1 - y) * frame.height];
})()
"""
TIPS = """
(() => {
  const walk = (e) => [...e.querySelectorAll("*")].flatMap(
    (c) => [c, ...(c.shadowRoot ? walk(c.shadowRoot) : [])]);
  return walk(document).filter((e) => e.classList.contains("tip"))
    .map((e) => e.textContent).join(" ");
})()
"""
CHOICES = ("architecture", "regime", "noise", "batchnorm", "strength")
NAMED = ("combobox", "checkbox", "slider", "button", "link", "img", "image", "heading")
MODELS = "Bokeh.documents.map((d) => d.roots()[0])"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A report of four architectures, a further noise, and one model's second BatchNorm policy."""
    folder = tmp_path_factory.mktemp("page") / "results"
    names = ("mlp", "cnn", "resnet18", "vit")
    plan = make_plan(names, noise=("bit_errors:0.001,0.01,0.1",), draws=2)
    make_results(folder, plan)
    for run in plan.runs:
        path = folder / "runs" / f"{run.run_id}.json"
        record = records.load(path)
        points = [(s, draw, 1) for s in (0.0, 0.001, 0.01, 0.1) for draw in range(2)]
        settings = plan.sweep.settings_of("bit_errors")
        rows = [[*row, 0.1] for row in measure(run, points, settings)]
        record = records.add(record, settings, rows)
        if run.architecture == "resnet18":
            settings = plan.sweep.settings_of("gaussian", REESTIMATED)
            record = records.add(record, settings, measure(run, plan.sweep.points, settings, 2.0))
        path.write_text(records.dumps(record))
    report.rebuild(folder)
    return folder


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """A browser, for all tests of this file."""
    found = Browser(tmp_path_factory.mktemp("profile"))
    yield found
    found.close()


@pytest.fixture
def page(browser, made) -> Browser:
    """The page at 1200 pixels, ready."""
    browser.open(made / "report.html", 1200, SIZES[1200])
    browser.wait(READY)
    return browser


def choose(page: Browser, name: str, value) -> None:
    """Change one of the choices as a user does."""
    page.evaluate(f"({CHOOSE})({name!r}, {str(value)!r})")


def visible(page: Browser, selector: str) -> list[str]:
    """Return the text of the elements that can be seen."""
    script = f"[...document.querySelectorAll({selector!r})].filter(e => e.checkVisibility())"
    return page.evaluate(script + ".map(e => e.textContent.trim())")


@pytest.mark.parametrize("width", SIZES)
def test_the_first_screen_answers(browser, made, width):
    browser.open(made / "report.html", width, SIZES[width])
    browser.wait(READY)
    assert browser.problems == []
    assert [u for u in browser.requests if not u.startswith("data:")] == [
        (made / "report.html").as_uri()
    ]
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    bottom = "document.querySelector({!r}).getBoundingClientRect().bottom"
    assert browser.evaluate(bottom.format("#answer")) < SIZES[width]
    top = "document.querySelector('#curve-0').getBoundingClientRect().top"
    assert browser.evaluate(top) < SIZES[width] - 150
    assert len(visible(browser, ".first tbody tr")) == 4
    for line in visible(browser, ".first tbody tr"):
        assert "±" in line and "×" in line and {"+", "−", "=", "?"} & {*line}
    assert browser.evaluate(CONTRAST)["ratio"] >= 4.5


def test_one_file_of_moderate_size_holds_all(made, tmp_path):
    alone = tmp_path / "elsewhere.html"
    shutil.copy(made / "report.html", alone)
    assert alone.stat().st_size < LIMIT


def test_an_architecture_is_chosen(page):
    assert visible(page, ".panels h3") == ["mlp", "cnn", "resnet18", "vit"]
    choose(page, "architecture", 2)
    assert visible(page, ".panels h3") == ["resnet18"]


def test_a_regime_is_chosen(page):
    drawn = f"{MODELS}[0].renderers.filter(r => r.name === 'regime-1').every(r => r.visible)"
    assert page.evaluate(drawn)
    page.evaluate("document.querySelector('[name=regime][value=noisy]').click()")
    assert not page.evaluate(drawn)
    assert page.evaluate(drawn.replace("regime-1", "regime-0"))


def test_noise_and_policy_are_chosen(page):
    source = "Bokeh.documents[{}].get_model_by_name('mean-1').data.{}"
    before = page.evaluate(source.format(2, "mean"))
    choose(page, "batchnorm", "reestimated")
    anew = page.evaluate(source.format(2, "mean"))
    assert anew != before and len(visible(page, ".none")) == 3  # the others have no BatchNorm
    choose(page, "noise", "bit_errors")
    assert visible(page, ".none") == []  # frozen again: all that bit errors were measured under
    assert page.evaluate("document.querySelector('[name=batchnorm]').value") == "frozen"
    strengths = page.evaluate(source.format(0, "strength"))
    assert [s for s in strengths if s] == ["0", "0.1%", "1%", "10%"]
    assert "bit_errors" in visible(page, "#meaning")[0]
    assert page.problems == []


def test_values_are_read_off_by_keyboard(page, made):
    choose(page, "strength", 9)
    (said,) = visible(page, "#read-off")
    effects = report.read(made).rows
    mine = effects[(effects.architecture == "mlp") & (effects.regime == "clean")]
    mine = mine[mine.alpha == 1.0]
    assert said.startswith("At 1 · mlp: clean ")
    assert f"clean {mine.correct.sum() / mine.total.sum():.4f} ± " in said and "(n = 3)" in said


def test_keys_alone_reach_and_work_every_control(page):
    """From the top of the page, by tabulator: what has the focus shows it, and answers to keys."""
    focused = "document.activeElement.name || document.activeElement.textContent.trim()"
    ring = "getComputedStyle(document.activeElement).outlineStyle"
    reached, shown = [], set()
    for _ in range(60):
        page.press("Tab")
        reached.append(page.evaluate(focused))
        shown.add(page.evaluate(ring))
        if reached[-1] == "strength":
            break
    assert "none" not in shown
    order = [r for r in dict.fromkeys(reached) if r in CHOICES]
    assert order == list(CHOICES)
    said = visible(page, "#read-off")
    page.press("ArrowRight")
    assert visible(page, "#read-off") != said
    value = "document.querySelector('#curves-of-all [name={}]').value"
    for name in ("architecture", "noise"):
        page.evaluate(f"document.querySelector('#curves-of-all [name={name}]').focus()")
        before = page.evaluate(value.format(name))
        page.press("ArrowDown")
        assert page.evaluate(value.format(name)) != before
    page.evaluate("document.querySelector('[name=regime][value=noisy]').focus()")
    page.press("Space")
    assert not page.evaluate("document.activeElement.checked")
    page.evaluate("document.querySelectorAll('#runs ~ .wide thead button')[4].focus()")
    page.press("Enter")
    assert page.evaluate("document.activeElement.closest('th').ariaSort") == "ascending"


def test_a_screen_reader_finds_names_for_all(page):
    """The browser's accessibility tree: what is read aloud has a name, headings skip no level."""
    nodes = page.call("Accessibility.getFullAXTree")["nodes"]
    found = [
        (n["role"]["value"], n.get("name", {}).get("value", ""), n)
        for n in nodes
        if not n["ignored"]
    ]
    roles = {role for role, _, _ in found}
    assert {"combobox", "checkbox", "slider", "button", "link", "table", "columnheader"} <= roles
    assert {"img", "image"} & roles
    nameless = [role for role, name, _ in found if role in NAMED and not name.strip()]
    assert nameless == []
    levels = [
        next(p["value"]["value"] for p in n["properties"] if p["name"] == "level")
        for role, _, n in found
        if role == "heading"
    ]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(b <= a + 1 for a, b in itertools.pairwise(levels))
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.evaluate("document.getElementById('read-off').ariaLive") == "polite"


def test_curves_answer_to_the_pointer(page):
    place = page.evaluate(LAST_POINT)
    for shift in (3, 0):
        page.call("Input.dispatchMouseEvent", type="mouseMoved", x=place[0] - shift, y=place[1])
    page.wait(f"{TIPS.strip()}.includes('n = 3')", 10)
    assert "[" in page.evaluate(TIPS) and "strength 2" in page.evaluate(TIPS)


def test_a_point_leads_to_the_facts_of_its_run(page):
    run = page.evaluate("Bokeh.documents[0].get_model_by_name('seeds-0').data.run[0]")
    page.evaluate(f"window.showRun({run!r})")
    page.wait(f"document.getElementById('run-{run}').querySelector('details').open", 10)
    (facts,) = visible(page, f"[id='run-{run}'] dl")
    assert "dataset" in facts and "hardware" in facts


def test_tables_sort(page):
    rows = "[...document.querySelector('#runs ~ .wide table').tBodies[0].rows]"
    column = f"{rows}.map(r => r.cells[4].textContent)"
    before = page.evaluate(column)
    press = "document.querySelectorAll('#runs ~ .wide thead button')[4].click()"
    page.evaluate(press)
    assert page.evaluate(column) == sorted(before, key=float)
    page.evaluate(press)
    assert page.evaluate(column) == sorted(before, key=float, reverse=True)
    state = "document.querySelectorAll('#runs ~ .wide thead th')[4].getAttribute('aria-sort')"
    assert page.evaluate(state) == "descending"


def test_every_control_has_a_name_and_every_link_a_goal(page):
    nameless = (
        "[...document.querySelectorAll('input, select')].filter(e => !e.labels.length).length"
    )
    assert page.evaluate(nameless) == 0
    lost = """[...document.querySelectorAll('a[href^="#"]')].map((a) => a.hash.slice(1))
      .filter((id) => !document.getElementById(decodeURIComponent(id)))"""
    assert page.evaluate(lost) == []
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len({*ids})


def test_readable_without_scripts_and_in_print(browser, made):
    browser.open(made / "report.html", 1200, 800, scripts=False)
    for _ in ("without scripts", "in print"):
        assert len(visible(browser, ".still")) == 4 and visible(browser, ".plot") == []
        assert visible(browser, ".choices") == []
        assert len(visible(browser, ".first tbody tr")) == 4
        browser.open(made / "report.html", 1200, 800)
        browser.wait(READY)
        browser.call("Emulation.setEmulatedMedia", media="print")
    browser.call("Emulation.setEmulatedMedia", media="")
