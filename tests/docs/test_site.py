"""The site of the documentation: it builds without a warning, every link leads somewhere, and it works in a browser."""

import contextlib
import functools
import http.server
import importlib.util
import json
import threading
from pathlib import Path

import pytest

from docs.builder import assemble, check, reference
from docs.builder.build import build
from docs.builder.check import Page
from tests.browser import MISSING, browser

NO_BUILDER = None if importlib.util.find_spec("zensical") else "the extra docs is not installed"
WIDTHS, SCHEMES = (1440, 390), (False, True)
# What the search draws is in a shadow root, into which no selector of the page looks.
ROOTS = """
const roots = () => [document, ...[...document.querySelectorAll("*")].map((each) => each.shadowRoot).filter(Boolean)];
const box = () => roots().map((root) => root.querySelector("input[role=combobox]")).find(Boolean);
const enter = (text) => { box().value = text; box().dispatchEvent(new Event("input", { bubbles: true })); };
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The folder of the site, and what is wrong with it."""
    if NO_BUILDER:
        pytest.skip(NO_BUILDER)
    folder = tmp_path_factory.mktemp("built") / "site"
    return folder, build(folder)


@pytest.fixture(scope="module")
def site(built):
    assert built[1] == []
    return built[0]


@pytest.fixture(scope="module")
def page():
    if MISSING:
        pytest.skip(MISSING)
    with browser() as driven:
        driven.look("about:blank")
        driven.requests()
        yield driven


@pytest.mark.slow
def test_it_builds_without_a_warning_and_every_link_in_it_leads_somewhere(built):
    assert built[1] == []


@pytest.mark.slow
def test_the_whole_public_api_has_entries(site):
    anchors = set()
    for path in (site / "api").glob("*.html"):
        anchors |= Page(path.read_text()).anchors
    wanted = {module for module in reference.modules()}
    names = {f"{module}.{name}" for module in wanted for name in reference.public_names(module)}
    assert len(wanted) > 200
    assert len(names) > 1000
    assert sorted((wanted | names) - anchors) == []
    assert {"jaxcnn.load", "jaxcnn.create_model", "jaxcnn.config.data.DataConfig.batch_size"} <= anchors


@pytest.mark.slow
def test_pages_from_outside_the_folder_are_shown(site):
    assert "Noisy stripes" in (site / "extending.html").read_text()
    assert 'href="architecture.html"' in (site / "contributing.html").read_text()
    assert "TrainConfig" in (site / "source" / "configs.html").read_text()
    assert json.loads((site / "source" / "jaxcnn" / "devices" / "machines.json").read_text())


def errors(page):
    """What the console says, but for a note on addresses with a place on a page."""
    return [line for line in page.said() if "Autofocus processing was blocked" not in line]


def elsewhere(page, origin):
    """What was asked of anything but the site."""
    asked = page.requests()
    return [url for url in asked if not url.startswith((origin, "data:", "about:", "chrome:", "chrome-extension:"))]


def navigation(page):
    """The addresses of the pages in the navigation, in their order."""
    script = "return [...document.querySelectorAll('.md-sidebar--primary a.md-nav__link[href]')].map(a => a.href)"
    return [url for url in dict.fromkeys(url.partition("#")[0] for url in page.run(script))]


def settled(page):
    page.wait("return document.readyState === 'complete' && document.documentElement.classList.contains('js')")


@pytest.mark.slow
@pytest.mark.parametrize("dark", SCHEMES, ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_of_the_navigation_opens_as_a_file(site, page, width, dark):
    page.look(f"{site.as_uri()}/index.html", width, dark)
    settled(page)
    urls = navigation(page)
    assert {Path(url).name for url in urls} >= {"index.html", "first_run.html", "commands.html", "jaxcnn.html"}
    assert len(urls) == len(set(urls)) == len(list(assemble.DOCS.rglob("*.md"))) + len(reference.pages()) + 2
    for url in urls:
        page.look(url, width, dark)
        settled(page)
        assert page.run("return document.querySelector('h1') !== null"), url
        assert page.run("return document.documentElement.scrollWidth <= window.innerWidth"), f"{url} is too wide"
        light = page.run("return getComputedStyle(document.body).backgroundColor.match(/\\d+/g)[0] > 127")
        assert light != dark, url
    assert errors(page) == []
    assert elsewhere(page, site.as_uri()) == []


@pytest.mark.slow
def test_one_can_click_through_all_pages(site, page):
    page.look(f"{site.as_uri()}/index.html")
    settled(page)
    urls = navigation(page)
    for url in urls[1:]:
        page.run("document.querySelector('.md-footer__link--next').click()")
        page.wait(f"return location.href === {json.dumps(url)}")
        settled(page)
    assert not page.run("return document.querySelector('.md-footer__link--next')")
    assert errors(page) == []


@contextlib.contextmanager
def served(folder):
    """Yields the address at which a plain server shows a folder."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder)) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.mark.slow
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("of", ["file", "server"])
def test_search_finds_an_entry_and_leads_to_it(site, page, of, width):
    with served(site) if of == "server" else contextlib.nullcontext(site.as_uri()) as origin:
        page.look(f"{origin}/training.html", width)
        settled(page)
        page.run("document.querySelector('.md-search__button').click()")
        page.wait(f"{ROOTS} return Boolean(box())")
        page.run(f"{ROOTS} enter('fold_batch_norm')")
        found = "roots().flatMap(root => [...root.querySelectorAll('a[href*=\"fold_batch_norm\"]')])"
        page.wait(f"{ROOTS} return {found}.length > 0")
        page.run(f"{ROOTS} {found}[0].click()")
        page.wait("return location.href.includes('/api/') && location.hash.includes('fold_batch_norm')")
        settled(page)
        assert page.run("return document.getElementById(location.hash.slice(1)) !== null")
        assert errors(page) == []
        assert elsewhere(page, origin) == []


def test_what_is_wrong_with_a_site_is_found(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "index.html").write_text(
        '<h1 id="here">x</h1><a href="#here">1</a><a href="a/b.html#there">2</a><a href="https://example.org">3</a>'
        '<a href="#no">4</a><a href="a/b.html#no">5</a><a href="no.html">6</a><a href="../outside.html">7</a>'
        '<img src="https://example.org/x.png"><script src="no.js"></script><link rel="stylesheet" href="a/style.css">'
        '<style>@import "//example.org/y.css";</style>'
    )
    (tmp_path / "a" / "b.html").write_text('<p id="there"><a href="../">back</a> <a href="/index.html">root</a>')
    (tmp_path / "a" / "style.css").write_text("b { src: url(https://example.org/font.woff2) } i { src: url(data:x) }")
    (tmp_path.parent / "outside.html").write_text("")
    assert list(check.faults(tmp_path)) == [
        "a/b.html: the link /index.html leads to no file",
        "index.html: the link #no leads to no place on its page",
        "index.html: the link a/b.html#no leads to no place on its page",
        "index.html: the link no.html leads to no file",
        "index.html: the link ../outside.html leads to no file",
        "index.html: https://example.org/x.png is asked of another host",
        "index.html: no.js is asked for, and does not exist",
        "index.html: //example.org/y.css is asked of another host",
        "a/style.css: https://example.org/font.woff2 is asked of another host",
    ]


def test_links_lead_to_places_on_the_site():
    linked = {}
    text = (
        "[a](data.md#x) [b](../CONTRIBUTING.md#goldens) [c](../README.md) [`d`](../jaxcnn/ops/conv.py#conv2d) "
        "[e](../jaxcnn/ops) [f](../jaxcnn/__init__.py#load) [g](../configs/lenet_digits.py) [h](https://x.org) "
        "[i](#j) `[k](../README.md)` [l](../jaxcnn/devices/machines.json) ![m](pictures/depth.svg)\n"
        "\n```\n[n](../README.md)\n```\n"
    )
    assert assemble.with_links(assemble.DOCS / "training.md", text, linked) == (
        "[a](data.md#x) [b](contributing.md#goldens) [c](index.md) [`d`](api/ops.md#jaxcnn.ops.conv.conv2d) "
        "[e](api/ops.md#jaxcnn.ops) [f](api/jaxcnn.md#jaxcnn.load) [g](source/configs/lenet_digits.py.md) "
        "[h](https://x.org) [i](#j) `[k](../README.md)` [l](source/jaxcnn/devices/machines.json) "
        "![m](pictures/depth.svg)\n\n```\n[n](../README.md)\n```\n"
    )
    assert list(linked) == ["source/configs/lenet_digits.py.md", "source/jaxcnn/devices/machines.json"]
    below = assemble.with_links(assemble.DOCS / "families" / "vgg.md", "[a](../weights.md) [b](../../CHANGELOG.md)", {})
    assert below == "[a](../weights.md) [b](../changelog.md)"
    with pytest.raises(assemble.PageError, match=r"^docs/training.md links to nope.md, which does not exist$"):
        assemble.with_links(assemble.DOCS / "training.md", "[a](nope.md)", {})
