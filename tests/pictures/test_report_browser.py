"""Reports in a browser: they draw, say nothing on the console, ask for nothing, and can be read and used by all."""

import threading

import pytest

from jaxcnn.cli.main import main
from jaxcnn.config import EMAConfig
from jaxcnn.pictures.report.page import write_report
from jaxcnn.pictures.report.serving import Followed, server_of
from tests.browser import MISSING, browser
from tests.pictures.report_run import HOSTILE, write_run

pytestmark = [pytest.mark.slow, pytest.mark.skipif(MISSING is not None, reason=str(MISSING))]

# The ratios of WCAG 2.2: text against what is behind it, at least 4.5.
TOO_FAINT = """
const parse = (text) => text.match(/[\\d.]+/g).map(Number);
const linear = (c) => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
const light = ([r, g, b]) => [r, g, b].map((c) => linear(c / 255))
  .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
function behind(element) {
  for (; element; element = element.parentElement) {
    const colour = parse(getComputedStyle(element).backgroundColor);
    if (colour.length < 4 || colour[3] === 1) return colour;
  }
  return [255, 255, 255];
}
const found = [];
for (const element of document.querySelectorAll("body *")) {
  const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
  if (!own || !element.checkVisibility() || element.matches("script, option, .unseen, select")) continue;
  const style = getComputedStyle(element);
  const colour = element.namespaceURI.endsWith("svg") ? style.fill : style.color;
  const [a, b] = [light(parse(colour)), light(behind(element))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) found.push([element.tagName, element.textContent.slice(0, 40), ratio]);
}
return found;
"""
# Curves against the page, at least 3.
FAINT_CURVES = (
    TOO_FAINT.split("const found")[0]
    + """
return [...document.querySelectorAll(".plot path.line")].map((line) => {
  const [a, b] = [light(parse(getComputedStyle(line).stroke)), light(behind(document.body))];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
}).filter((ratio) => ratio < 3);
"""
)


@pytest.fixture(scope="module")
def chromium():
    with browser() as found:
        found.look("about:blank")  # ends what the browser's own first page asks for
        yield found


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folder of a run that the command has trained."""
    folder = tmp_path_factory.mktemp("runs") / "digits"
    assert main(["train", "lenet_digits", "--epochs", "2", "--ema.decay", "0.9", "--workdir", str(folder)]) == 0
    return folder


@pytest.fixture(scope="module")
def reports(trained, tmp_path_factory):
    """The report that the training wrote, one of a thousand classes and one of several runs."""
    folder = tmp_path_factory.mktemp("reports")
    many = write_run(folder / "many", classes=1000, ema=EMAConfig(decay=0.5))
    several = [trained, many, *(write_run(folder / f"run{each}") for each in range(7))]
    return [
        trained / "report.html",
        write_report([many], folder / "many.html"),
        write_report(several, folder / "several.html"),
    ]


def test_a_training_leaves_its_report(trained):
    text = (trained / "report.html").read_text()
    assert 'class="missing"' not in text
    assert "conv1: 6 filters of 5x5 over 1 channel;" in text
    assert text.count("digit ") >= 2  # mistakes, by the numbers of their images
    assert (trained / "details" / "result.json").is_file()


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1440])
def test_reports_draw_and_can_be_read(reports, chromium, width, dark):
    chromium.requests()
    for report in reports:
        chromium.look(report.as_uri(), width, dark)
        assert chromium.run("return document.querySelectorAll('.plot path.line').length") >= 6
        assert chromium.run("return document.documentElement.scrollWidth <= innerWidth")
        assert chromium.run("return [...document.images].every((each) => each.naturalWidth)")
        assert chromium.run(TOO_FAINT) == []
        assert chromium.run(FAINT_CURVES) == []
        small = "return [...document.querySelectorAll('a, input, select, summary')].filter((each) => {"
        small += "const box = (each.closest('label') || each).getBoundingClientRect();"
        small += "return each.checkVisibility() && !each.matches('.skip') && box.height < 24; }).length"
        assert chromium.run(small) == 0
        assert chromium.said() == []
        assert [each for each in chromium.requests() if not each.startswith("data:")] == [report.as_uri()]


def test_keys_reach_everything(reports, chromium):
    chromium.look(reports[0].as_uri())
    chromium.press("Tab")
    assert chromium.run("return document.activeElement.textContent") == "To the content"
    assert chromium.run("return getComputedStyle(document.activeElement).outlineStyle") != "none"
    chromium.run("document.querySelector('.plot').focus()")
    chromium.press("ArrowRight", "ArrowRight", "ArrowLeft")
    first = chromium.run("return document.querySelector('.readout').textContent")
    assert first.startswith("epoch ")
    assert "training " in first
    chromium.press("End")
    assert chromium.run("return document.querySelector('.readout').textContent").startswith("epoch 2:")
    chromium.run("document.querySelector('input[value=step]').focus()")
    chromium.press("Space")
    assert chromium.run("return document.querySelector('.plot svg').textContent").endswith("step")
    chromium.run("document.querySelector('input[name=smoothing]').focus()")
    chromium.press("ArrowRight")
    assert chromium.run("return document.querySelector('output').textContent") == "0.02"
    assert chromium.run("return document.querySelectorAll('.plot path.raw').length") >= 3


def test_a_class_of_many_is_looked_up_and_names_stay_names(reports, chromium):
    chromium.look(reports[1].as_uri())
    found = chromium.run(
        "const select = document.querySelector('select'); select.value = 1;"
        "select.dispatchEvent(new Event('input', { bubbles: true }));"
        "return document.getElementById(`${select.id}-found`).textContent"
    )
    assert found.startswith(f"{HOSTILE[1]}, 20 images, is taken for:")
    assert chromium.run("return document.title") == "many: jaxcnn report"
    assert chromium.said() == []


def test_a_run_is_left_out_of_the_curves(reports, chromium):
    chromium.look(reports[2].as_uri())
    count = "return document.querySelectorAll('figure[data-chart=rate] path.line').length"
    assert chromium.run(count) == 9
    chromium.run("document.querySelector('input[name=run]').click()")
    assert chromium.run(count) == 8


def test_a_page_that_is_watched_follows_the_training(chromium, tmp_path):
    folder = write_run(tmp_path / "going", steps=20)
    with server_of(Followed([folder]).text, 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.server_port}/"
            chromium.look(url)
            chromium.run("document.querySelector('input[name=log]').click()")
            with (folder / "metrics.jsonl").open("a") as log:
                line = '{"kind": "evaluation", "step": 30, "epoch": 3.0, "loss": 0.1, "top1_error": 1.0, "images": 9}'
                log.write(line + "\n")
            chromium.wait("return document.getElementById('results').textContent.includes('at step 30 of 40')")
            assert not chromium.run("return document.querySelector('input[name=log]').checked")
            marks = "return document.querySelectorAll('figure[data-chart=loss] .mark').length"
            assert chromium.run(marks) == 3
            assert {each for each in chromium.requests() if each.startswith("http")} == {url}
            assert chromium.said() == []
        finally:
            server.shutdown()
            thread.join()
