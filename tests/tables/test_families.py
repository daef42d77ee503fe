"""The pages of docs/families: their tables, and that each network has its place on one."""

import importlib
import itertools
import re
import shlex
from pathlib import Path

import pytest

from jaxcnn.cli.main import COMMANDS, main
from jaxcnn.errors import EXIT_USER_ERROR, UserError
from jaxcnn.models.registry import get_variant, list_models, options_of
from jaxcnn.models.resnet import ResNet
from jaxcnn.recipes import load_config
from jaxcnn.tables.families import COMMAND, INDEX, errors_table, our_families, page_tables, write_pages
from jaxcnn.tables.networks import counted
from jaxcnn.tables.options import documentation, options_table, shared_options_table
from jaxcnn.tables.stored import with_table, write_tables
from jaxcnn.weights.published import find_published, is_published

FOLDER = Path(__file__).parents[2] / "docs" / "families"
HEADINGS = (
    "Networks",
    "Use",
    "Recipes",
    "Options",
    "Paper and implementations",
    "How to cite",
    "Published errors and weights",
)


@pytest.fixture(scope="module")
def tables_of_pages():
    """The tables of each page, by the page and by name."""
    return page_tables()


def pages():
    """The text of the page of each family, by the family."""
    return {family: (FOLDER / f"{family}.md").read_text() for family in our_families()}


def test_pages_are_up_to_date(tables_of_pages):
    """If one is not: jaxcnn models --pages docs/families."""
    for name, tables in tables_of_pages.items():
        written = document = (FOLDER / f"{name}.md").read_text()
        for each, table in tables.items():
            written = with_table(written, each, table, COMMAND)
        assert written == document, f"{name}.md is out of date"


def test_every_network_is_on_the_page_of_its_family_and_on_the_index():
    found, index = pages(), (FOLDER / f"{INDEX}.md").read_text()
    assert {path.stem for path in FOLDER.glob("*.md")} == {INDEX, *found}
    assert {variant.name for variants in our_families().values() for variant in variants} == set(counted())
    for name in counted():
        family = get_variant(name).family
        assert f"\n| `{name}` |" in found[family], f"{name} is not on the page of {family}"
        assert re.search(rf"^\| `{name}` \|.*\({family}\.md\) \|$", index, re.MULTILINE), f"{name} is not on the index"
    by_hand = index.partition("<!--")[0]
    assert {family for family in found if f"]({family}.md)" in by_hand} == set(found)


def test_every_page_has_the_same_parts():
    for family, page in pages().items():
        assert tuple(re.findall(r"^## (.*)$", page, re.MULTILINE)) == HEADINGS, family
        assert len(re.findall(r"^# ", page, re.MULTILINE)) == 1, family


def test_every_page_says_how_to_cite():
    for family, page in pages().items():
        (bibtex,) = re.findall(r"^```bibtex\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
        entries = re.split(r"\n\n(?=@)", bibtex.strip())
        assert len({re.match(r"@\w+{(\w+),", entry)[1] for entry in entries}) == len(entries)
        for entry in entries:
            assert entry.count("{") == entry.count("}"), family
            assert {"author", "title", "year"} <= set(re.findall(r"^  (\w+)\s+= {", entry, re.MULTILINE)), family
        # A number that is mistyped is not one of those in the family's code.
        module = importlib.import_module(our_families()[family][0].module.__module__)
        known = set(re.findall(r"\d{4}\.\d{5}|\d{4}\.\d{4}", Path(module.__file__).read_text()))
        of_page = page.rpartition("## How to cite")[2].partition("## Published")[0]
        assert set(re.findall(r"arXiv:(\d+\.\d+)", of_page)) <= known, family


def commands():
    """The commands on the pages, each as a list of words."""
    for page in pages().values():
        for block in re.findall(r"^```\n(.*?)^```$", page, re.MULTILINE | re.DOTALL):
            yield from (shlex.split(line, comments=True) for line in block.splitlines())


def test_commands_name_what_there_is():
    found = list(commands())
    assert len(found) >= 3 * len(pages())
    for program, command, *rest in found:
        assert (program, command in COMMANDS) == ("jaxcnn", True)
        given = dict(itertools.pairwise(rest))
        network = given.get("--model", rest[0] if rest else None)
        if command in ("evaluate", "features", "finetune", "predict") and not network.startswith("runs/"):
            assert network in list_models()
            if is_published(source := given["--weights"]):
                assert find_published(network, source)
        if command == "train" and rest:
            network = given.get("--model.name", load_config(rest[0]).model.name)
            if option := given.get("--model.options"):
                assert option in options_of(get_variant(network))
        assert given.get("--model.name", "lenet") in list_models()


def test_every_option_says_what_it_is():
    tables = [shared_options_table(), *map(options_table, our_families().values())]
    rows = [row.split(" | ") for table in tables for row in table.splitlines()[2:]]
    assert len(rows) > 40
    for name, values, _, text in rows:
        assert values
        assert re.match(r"[A-Z]", text), f"{name} has no docstring"


def test_options_have_their_values_defaults_and_networks():
    vgg = our_families()["vgg"]
    assert "| `dropout_rate` | a number from 0, below 1 | `0.5` |" in options_table(vgg)
    nasnet = options_table(our_families()["nasnet"])
    assert "| `0.0` (`nasnet_a_mobile`); `0.3` (`nasnet_a_large`); `0.4` (`nasnet_a_cifar`) |" in nasnet
    efficientnet = options_table(our_families()["efficientnet"])
    assert "`symmetric` (`efficientnet_b0` to `efficientnet_b7`); `same` (`efficientnet_lite0` to" in efficientnet
    assert options_table(our_families()["lenet"]).splitlines()[-1].endswith(" Only `lenet` has it. |")
    assert "| `num_classes` | a whole number from 1 | `1000` |" in shared_options_table()
    assert options_table([get_variant("lenet5")]) == ""


def test_attributes_are_documented_with_what_they_inherit():
    found = documentation(ResNet)
    assert found["groups"] == "The number of groups of a bottleneck's 3x3 convolution; ResNeXt's cardinality."
    assert found["num_classes"] == "The number of classes, each of which has a logit."


def test_figures_that_are_not_published():
    assert errors_table([get_variant("lenet")]) == "No errors are published of these networks.\n"
    lite = errors_table([get_variant("efficientnet_lite0")])
    assert "| `efficientnet_lite0` | the authors' README, float32 | 24.9 | ? | centre crop 224 |" in lite
    assert "| `efficientnet_lite0` | `lite0/authors` | none | none |  |" in lite
    assert "their errors are from timm 1.0.31. |" in " ".join(lite.split())


def test_errors_are_told_with_their_images_options_and_labels():
    found = errors_table([get_variant(name) for name in ("alexnet_2012", "nasnet_a_large", "regnet_x_400mf", "lenet5")])
    assert "| Krizhevsky et al. 2012, table 2 | 40.7 | 18.2 | 10-crop |" in found
    assert "| Krizhevsky et al. 2012, table 1 | 37.5 | 17.0 | 10-crop, ILSVRC-2010 test |" in found
    assert "| `timm/tf_in1k`, the authors' weights; count_padding=True | 17.362 | 3.934 | centre crop 331 of" in found
    assert "| `torchvision/IMAGENET1K_V1`; widths='torchvision' | 27.166 | 9.05 | centre crop 224 of 256 |" in found
    assert "| `lenet5` | LeCun et al. 1998, figure 9 | 0.95 | ? | MNIST test set, no distortions |" in found
    assert "their errors are from timm 1.0.31 and torchvision 0.28. |" in " ".join(found.split())
    assert "Weights" not in errors_table([get_variant("lenet5")])


def test_pages_are_written_or_refused(tables_of_pages, tmp_path, capsys):
    with pytest.raises(UserError, match=r"index\.md cannot be read and written: No such file"):
        write_pages(tmp_path)
    for name, tables in tables_of_pages.items():
        places = [f"<!-- {each}: {COMMAND} writes from here -->\n<!-- {each}: to here -->\n" for each in tables]
        (tmp_path / f"{name}.md").write_text("\n".join(places))
    assert main(["models", "--pages", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[0] == str(tmp_path / "index.md")
    assert tables_of_pages["vgg"]["errors"] in (tmp_path / "vgg.md").read_text()
    assert main(["models", "resnet*", "--pages", str(tmp_path)]) == EXIT_USER_ERROR
    assert "--pages writes the tables of all networks: leave out the pattern and --plot" in capsys.readouterr().err
    with pytest.raises(UserError, match=r"vgg\.md has no place for the table of errors"):
        write_tables(tmp_path / "vgg.md", {"errors": ""}, "jaxcnn --other")
