"""What the README and the pages in docs/ name exists: commands, options, files and headings."""

import os
import re

import pytest

from docs.builder import commands, reference
from docs.builder.markdown import anchors, links
from jaxcnn.cli.main import COMMANDS
from tests.docs.pages import PAGES, ROOT, help_of, invocations, python_blocks, wrong


def test_every_command_has_help_of_its_own():
    for name in COMMANDS:
        printed = help_of(name)
        assert printed[name].startswith(f"usage: jaxcnn {name} ")
        assert not any("scripts/" in text for text in printed.values())


def test_every_command_and_option_on_a_page_exists():
    faults = [
        f"{page.relative_to(ROOT)}: jaxcnn {words}: {fault}"
        for page in PAGES
        for words in invocations(page.read_text())
        if (fault := wrong(words))
    ]
    assert faults == []
    assert sum(len(invocations(page.read_text())) for page in PAGES) > 200


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ("trian lenet_digits", "there is no command 'trian'"),
        ("train lenet_digits --epoch 2", "train has no option --epoch"),
        ("train lenet_digits --optimizer.kind adamw --optimizer.beta2 0.9", None),
        ("train lenet_digits --optimizer.beta3 0.9", "train has no option --optimizer.beta3"),
        ("train --data.OPTION VALUE --augmentations.0.probability=0.3", None),
        ("train --dat.OPTION VALUE", "train has no options --dat"),
        ("evaluate runs/x --data.name digits views:ten-crop --views.size 227", None),
        ("supervise --max-failures 3 -- train RECIPE --workdir x", None),
        ("supervise -- train RECIPE --workfolder x", "train has no option --workfolder"),
        ("interrupt lenet_digits --kills 2 -- --epochs 2", None),
        ("interrupt lenet_digits -- --epoch 2", "train has no option --epoch"),
        ("data check NAME --short-side 3", "data has no option --short-side"),
        ("data pack NAME --short-side 3", None),
    ],
)
def test_what_does_not_exist_is_found(words, fault):
    assert wrong(words) == fault


def test_command_lines_are_found():
    text = "Use `jaxcnn x --a`:\n\n```\n$ srun jaxcnn train \\\n  --b 1  # c\njaxcnn y && jaxcnn z | less\n```\n"
    assert invocations(text) == ["x --a", "train    --b 1", "y", "z"]
    assert invocations("```python\njaxcnn.load\n```\n") == []


def test_every_link_to_a_file_or_a_heading_leads_there():
    faults = []
    for page in [*PAGES, ROOT / "CHANGELOG.md"]:
        for link in links(page.read_text()):
            if re.match(r"https?://|mailto:", link):
                continue
            name, _, fragment = link.partition("#")
            path = page if not name else page.parent / name
            if not os.path.lexists(path):
                faults.append(f"{page.relative_to(ROOT)}: {link} leads to no file")
            elif fragment and path.suffix == ".md" and fragment not in anchors(path.read_text()):
                faults.append(f"{page.relative_to(ROOT)}: {link} leads to no heading")
            elif fragment and path.suffix == ".py" and not _defines(path, fragment):
                faults.append(f"{page.relative_to(ROOT)}: {link} leads to no name")
    assert faults == []


def _defines(path, name):
    first, text = re.escape(name.split(".")[0]), path.read_text()
    return re.search(rf'^(?:(?:def|class) {first}\b|{first}\b.* = |    "{first}",$)', text, re.MULTILINE)


def test_the_page_of_commands_names_each_in_their_order():
    text = commands.PAGE.read_text()
    sections = dict(re.findall(r"^## jaxcnn (.+)\n\n(.+)\n", text, re.MULTILINE))
    assert sections == {name: f"{what[0].upper()}{what[1:]}." for name, what in COMMANDS.items()}
    assert list(sections) == list(COMMANDS)


def test_every_module_is_on_a_page_of_the_api():
    pages = {module: reference.page_of(module) for module in reference.modules()}
    assert {"jaxcnn": "jaxcnn", "jaxcnn.ops.conv": "ops", "jaxcnn.runs": "training_runs"}.items() <= pages.items()
    shown = {path for link in links((ROOT / "docs" / "api.md").read_text()) if (path := link.removeprefix("../jaxcnn"))}
    named = {page for page in pages.values() if page not in ("jaxcnn", *reference.TOGETHER)}
    assert {f"/{page}" for page in named} <= shown


def test_a_module_on_no_page_is_refused():
    with pytest.raises(reference.NoPageError, match=r"^jaxcnn\.stray stands on no page of the API: name"):
        reference.page_of("jaxcnn.stray")


def test_blocks_that_are_not_run_say_why(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n\n```python\n1\n```\n\n<!-- not run: needs a GPU -->\n```python\n2\n```\n")
    assert [(block.code, block.line, block.not_run) for block in python_blocks(page)] == [
        ("1\n", 4, None),
        ("2\n", 9, "needs a GPU"),
    ]
