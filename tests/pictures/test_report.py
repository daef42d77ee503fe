"""The page of a report: what it holds, and that nothing foreign in it gets out of its place."""

import dataclasses
import html.parser
import http.client
import json
import math
import re
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxcnn.cli import train as train_command
from jaxcnn.cli.main import main
from jaxcnn.config import EMAConfig, PublishedConfig
from jaxcnn.errors import UserError
from jaxcnn.evaluation.details import read_details
from jaxcnn.pictures.embedded import joined, script_data, tag
from jaxcnn.pictures.filters import drawn
from jaxcnn.pictures.report import page as pages
from jaxcnn.pictures.report.answers import mistakes_of
from jaxcnn.pictures.report.curves import thinned
from jaxcnn.pictures.report.page import write_report
from jaxcnn.pictures.report.run import read_runs
from jaxcnn.pictures.report.seen import DETAILS_FOLDER
from jaxcnn.pictures.report.serving import Followed, server_of
from tests.pictures.report_run import HOSTILE, names_of, write_run

VOID = {"meta", "link", "br", "img", "input", "wbr"}


class Page(html.parser.HTMLParser):
    """A page that has been read strictly: elements end where they should, and no name occurs twice."""

    def __init__(self, text):
        super().__init__()
        self.open, self.elements, self.texts, self.script = [], [], [], {}
        self.feed(text)
        assert not self.open
        names = [attributes["id"] for _, attributes in self.elements if "id" in attributes]
        assert len(names) == len(set(names))

    def handle_starttag(self, name, attributes):
        assert len(attributes) == len(dict(attributes))
        self.elements.append((name, dict(attributes)))
        if name not in VOID:
            self.open.append((name, dict(attributes).get("id")))

    def handle_endtag(self, name):
        assert self.open.pop()[0] == name

    def handle_data(self, data):
        if self.open and self.open[-1][0] == "script":
            self.script[self.open[-1][1]] = data
        elif self.open and self.open[-1][0] != "style":
            self.texts.append(data)

    @property
    def text(self):
        return " ".join("".join(self.texts).split())

    @property
    def data(self):
        return json.loads(self.script["report-data"])

    def all(self, name):
        return [attributes for each, attributes in self.elements if each == name]


def page_of(*folders):
    return Page(write_report(folders, folders[0].parent / "page.html").read_text())


@pytest.fixture(scope="module")
def one(tmp_path_factory):
    published = PublishedConfig(top1_error=4.5, protocol="one crop", source="a paper")
    return write_run(tmp_path_factory.mktemp("runs") / "one", published=published)


def test_a_page_has_all_parts_and_asks_for_nothing(one):
    page = page_of(one)
    parts = [each["id"] for each in page.all("section")]
    expected = ["results", "curves", "classes", "confusion", "mistakes", "filters", "samples", "config", "made-with"]
    assert parts == expected
    assert {each["href"] for each in page.all("a")} == {"#main", *(f"#{part}" for part in parts)}
    addresses = [each[name] for _, each in page.elements for name in ("src", "href", "action", "data") if name in each]
    assert all(address.startswith(("#", "data:")) for address in addresses)
    (policy,) = (each["content"] for each in page.all("meta") if "content" in each and "http-equiv" in each)
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert "connect-src 'none'" in policy
    assert not any(name.startswith("on") or name == "style" for _, each in page.elements for name in each)
    for attributes in page.all("img"):
        assert attributes["alt"]
    charts = ["loss", "top1", "top5", "rate", "speed", "wait", "bad"]
    assert [each["data-chart"] for each in page.all("figure") if "data-chart" in each] == charts


def test_the_numbers_on_it_are_those_of_the_run(one):
    page = page_of(one)
    assert "5.00 % 95 % interval 4.13 to 6.04, 2,000 images" in page.text
    assert "top-1 error 4.5 % (one crop; a paper)" in page.text
    assert "16.0 s" in page.text  # 4,000 images at 250 a second
    assert "9.8.7" in page.text
    (run,) = page.data["runs"]
    assert run["train"]["loss"] == [None if step == 15 else float(f"{2 / step:.6g}") for step in range(5, 41, 5)]
    assert run["evaluation"]["hours"] == pytest.approx([4 / 3600, 8 / 3600, 12 / 3600, 16 / 3600], rel=1e-4)
    confusion = read_details(one / DETAILS_FOLDER).confusion
    cells = re.findall(r'<td class="(?:right\d|wrong\d|none)">(\d+)</td>', (one.parent / "page.html").read_text())
    np.testing.assert_array_equal(np.reshape([int(cell) for cell in cells], (10, 10)), confusion)


def test_names_that_look_like_a_page_stay_names(one):
    page = page_of(one)
    for name in HOSTILE[:2]:
        assert name in page.text
    assert "\u202e" not in page.text
    assert "\\u202e" in page.text
    assert len(page.all("script")) == 2
    assert not [each for each in page.all("img") if "onerror" in each]


def test_many_classes_become_a_picture_pairs_and_a_choice(tmp_path):
    page = page_of(write_run(tmp_path / "many", classes=300))
    (matrix,) = (each for each in page.all("img") if each.get("class") == "matrix")
    assert "150 by 150 cells" in matrix["alt"]
    assert len(page.all("option")) == 300
    found = page.data["confused"]["0"]
    assert tuple(found["names"]) == names_of(300)
    confusion = read_details(tmp_path / "many" / DETAILS_FOLDER).confusion
    assert sum(times for *_, times in found["pairs"]) == confusion.sum() - np.trace(confusion)
    label, answer, times = found["pairs"][0]
    assert confusion[label, answer] == times


def test_several_runs_begin_with_what_their_configs_differ_in(one, tmp_path):
    other = write_run(tmp_path / "one", steps=20, ema=EMAConfig(decay=0.5))
    page = page_of(one, other)
    assert next(iter(page.all("section")))["id"] == "differences"
    labels = [run["label"] for run in page.data["runs"]]
    assert labels == [f"{one.parent.name}/one", f"{tmp_path.name}/one"]
    beginning = page.text[: page.text.index("Results state")] if "Results state" in page.text else page.text[:900]
    assert "ema.decay" in beginning
    assert "optimizer.momentum" not in beginning
    assert "at step 20 of 40" in page.text
    assert len([each for each in page.all("input") if each["name"] == "run"]) == 2


def test_a_run_that_has_logged_nothing_has_a_page(tmp_path):
    folder = write_run(tmp_path / "begun")
    (folder / "metrics.jsonl").unlink()
    page = page_of(folder)
    assert "begun, and nothing is logged yet" in page.text
    assert "The run holds no checkpoint yet." in page.text
    assert "The images are not to be had here" in page.text


def test_what_is_no_run_is_refused(one, tmp_path, capsys):
    assert main(["report", str(tmp_path)]) == 2
    assert "is not a run folder: it has no config.json" in capsys.readouterr().err
    with pytest.raises(UserError, match="is given twice"):
        read_runs([one, one / ".." / "one"])
    with pytest.raises(UserError, match="no run is given"):
        read_runs([])
    assert main(["report", str(one), "--out", str(tmp_path / "no" / "x.html")]) == 2
    assert "cannot be written: No such file or directory: choose another --out" in capsys.readouterr().err
    assert main(["report", str(one), "--watch", "--out", "x"]) == 2
    assert main(["report", str(one), "--watch", "--port", "70000"]) == 2


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left"), KeyError("x\ny"), KeyboardInterrupt()], ids=["disk", "bug", "key"]
)
def test_a_report_that_fails_fails_no_training(error, monkeypatch, tmp_path, capsys):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(pages, "write_report", fail)
    train_command.write_report_of(tmp_path, measure=True)
    said = capsys.readouterr().err
    assert said.startswith("the report of the run, which is whole, is not written: ")
    assert said.count("\n") == 1


def test_the_page_of_a_training_follows_it(one, tmp_path):
    folder = write_run(tmp_path / "going", steps=20)
    with server_of(Followed([folder]).text, 0) as server:
        assert server.server_address[0] == "127.0.0.1"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            status, before = asked(server, "/")
            assert status == 200
            assert "at step 20 of 40" in Page(before).text
            assert "connect-src &#x27;self&#x27;" in before
            assert asked(server, "/")[1] == before
            with (folder / "metrics.jsonl").open("a") as log:
                log.write(
                    '{"kind": "evaluation", "step": 30, "epoch": 3.0, "loss": 0.1, "top1_error": 1.0, "images": 9}\n'
                )
            assert "at step 30 of 40" in Page(asked(server, "/")[1]).text
            assert asked(server, "/etc/passwd")[0] == 404
            assert asked(server, "/", host="evil.example:80")[0] == 403
        finally:
            server.shutdown()
            thread.join()


def asked(server, path, host=None):
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port)
    connection.request("GET", path, headers={} if host is None else {"Host": host})
    answer = connection.getresponse()
    found = answer.status, answer.read().decode()
    connection.close()
    return found


@settings(max_examples=30)
@given(st.text(), st.text())
def test_no_text_leaves_its_place(text, attribute):
    page = Page(f"<p>{tag('b', text, title=attribute)}{script_data('report-data', [text])}</p>")
    assert [name for name, _ in page.elements] == ["p", "b", "script"]
    assert page.data == [text]


def test_markup_is_not_escaped_twice():
    assert joined(tag("i", "a&b"), "<") == "<i>a&amp;b</i>&lt;"


def test_thinned_lines_keep_sums_and_means():
    rng = np.random.RandomState(0)
    names = ("loss", "top1_error", "data_wait_share", "images_per_second")
    lines = [
        {
            "kind": "train",
            "step": step,
            "images": int(rng.randint(1, 9)),
            "bad_steps": 1,
            **{n: rng.rand() + 1 for n in names},
        }
        for step in range(1, 48)
    ]
    found = thinned(lines, 10)
    assert len(found) <= 10
    assert found[-1]["step"] == 47
    assert sum(line["bad_steps"] for line in found) == 47

    def total(lines, name):
        return math.fsum(line[name] * line["images"] for line in lines)

    assert total(found, "loss") == pytest.approx(total(lines, "loss"))
    times = [math.fsum(line["images"] / line["images_per_second"] for line in each) for each in (lines, found)]
    assert times[0] == pytest.approx(times[1])
    assert thinned(lines, 47) == lines


def test_filters_are_drawn_around_grey():
    kernel = np.zeros((3, 3, 1, 2), np.float32)
    kernel[0, 0, 0, 0], kernel[2, 2, 0, 0] = -2, 1
    picture = drawn(kernel)
    assert picture.shape == (48, 100, 4)
    assert picture[0, 0].tolist() == [0, 0, 0, 255]
    assert picture[47, 47].tolist() == [191, 191, 191, 255]
    assert picture[0, 47].tolist() == [128, 128, 128, 255]
    assert picture[0, 49, 3] == 0  # between two filters


def test_the_most_frequent_confusions_come_first():
    assert mistakes_of(np.array([[9, 1, 0], [4, 0, 2], [0, 0, 0]])) == [[1, 0, 4], [1, 2, 2], [0, 1, 1]]


def test_the_most_certain_mistakes_come_first(one):
    details = read_details(one / DETAILS_FOLDER)
    rows = details.confident_mistakes(5)
    wrong = details.top[:, 0] != details.label
    assert wrong[rows].all()
    assert details.probability[rows, 0].tolist() == sorted(details.probability[wrong, 0].tolist(), reverse=True)[:5]
    assert dataclasses.replace(details, label=details.top[:, 0]).confident_mistakes(5).size == 0
