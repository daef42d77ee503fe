"""Every path that an option or an argument takes may begin with ``~``."""

from pathlib import Path

import pytest
import tyro

from jaxcnn import loading
from jaxcnn.cli.main import run_command
from jaxcnn.config import DataConfig, ModelConfig, TrainConfig
from jaxcnn.config.options import with_absolute_paths
from jaxcnn.data.folders import data_root
from jaxcnn.data.images import given
from jaxcnn.data.sources import absolute_name, split_names
from jaxcnn.errors import UserError
from jaxcnn.networks import make_model
from jaxcnn.paths import absolute, expanded
from jaxcnn.recipes import load_config
from jaxcnn.run_changes import with_whole_paths
from jaxcnn.supervision import named_workdir
from jaxcnn.training.checkpoint import Checkpoints
from jaxcnn.weights.load import load_pretrained


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home folder, and an empty working directory."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(here)
    return home


def test_home_is_expanded_and_nothing_else(home):
    assert expanded("~/x") == expanded(Path("~/x")) == home / "x"
    assert expanded("~") == home
    assert expanded("~root") == Path("/root")
    for other in ("x", "./~", "a/~/b", "/a~"):
        assert expanded(other) == Path(other)
    assert absolute("x/../y") == Path.cwd() / "x/../y"


def test_paths_that_are_none():
    with pytest.raises(UserError, match="a path is empty: write"):
        expanded("")
    with pytest.raises(UserError, match="~nobody_here/x begins in the home folder of an unknown user"):
        expanded("~nobody_here/x")


def test_every_path_of_a_command_is_expanded(home, capsys):
    """The one mechanism for all commands: the type of the argument."""

    def command(files: tyro.conf.Positional[tuple[Path, ...]], /, out: Path | None = None, other: Path = Path("d")):
        print(*files, out, other)
        return 0

    def main(arguments):
        return tyro.cli(command, args=arguments)

    assert run_command(main, ["~/a", "~/b", "c", "--out=~/o"]) == 0
    assert capsys.readouterr().out == f"{home}/a {home}/b c {home}/o d\n"
    assert run_command(main, ["./~", "--out", "~/o", "--other=~"]) == 0
    assert capsys.readouterr().out == f"~ {home}/o {home}\n"


def test_so_is_every_text_that_may_be_a_path(home, monkeypatch):
    (home / "r.py").write_text("from jaxcnn.config import TrainConfig\nconfig = TrainConfig(name='mine')\n")
    assert load_config("~/r.py").name == "mine"
    (home / "pics" / "train").mkdir(parents=True)
    assert split_names("folder:~/pics") == ("train",)
    assert absolute_name("folder:~/pics") == f"folder:{home}/pics"
    assert data_root("~/tfds") == home / "tfds"
    monkeypatch.setenv("TFDS_DATA_DIR", "~/other")
    assert data_root(None) == home / "other"
    for command in (["train", "--workdir=~/run"], ["train", "--workdir", "~/run"]):
        assert named_workdir(command) == home / "run"
    for refused in (
        lambda: load_pretrained("lenet", "~/no.pth"),
        lambda: loading.initial_variables(TrainConfig(init_from="~/no.pth", model=ModelConfig(num_classes=10))),
        lambda: loading.load("lenet", "~/no.pth"),
        lambda: make_model(ModelConfig(lowering="~/no.pth"), 10),
    ):
        with pytest.raises(UserError, match=f"{home}/no.pth|~/no.pth"):
            refused()
    assert [image.content for image in given(["~/x.png", Path("~/y.png")], upright=True)] == [
        home / "x.png",
        home / "y.png",
    ]
    with Checkpoints("~/saved") as checkpoints:
        checkpoints.save(1, {"a": 1.0 * jnp_one()})
    assert (home / "saved" / "1").is_dir()


def jnp_one():
    import jax.numpy as jnp

    return jnp.ones(())


def test_a_config_keeps_whole_paths(home):
    here = Path.cwd()
    config = TrainConfig(
        init_from="w.pth",
        data=DataConfig(name="folder:pics", data_dir="~/tfds"),
        model=ModelConfig(lowering="tuned.json"),
    )
    whole = with_whole_paths(config)
    assert whole.init_from == f"{here}/w.pth"
    assert whole.data.name == f"folder:{here}/pics"
    assert whole.data.data_dir == f"{home}/tfds"
    assert whole.model.lowering == f"{here}/tuned.json"
    assert with_whole_paths(whole) == whole
    for name, start in (("tfds:mnist:3.0.1", "torchvision/IMAGENET1K_V1"), ("digits", None)):
        plain = TrainConfig(init_from=start, data=DataConfig(name=name))
        assert with_whole_paths(plain) == plain
    (here / "torchvision").mkdir()
    assert with_whole_paths(TrainConfig(init_from="torchvision")).init_from == "torchvision"
    (here / "torchvision" / "config.json").touch()  # a run comes before published weights of its name
    assert with_whole_paths(TrainConfig(init_from="torchvision")).init_from == f"{here}/torchvision"


def test_a_path_is_marked_where_it_is_declared():
    """An option of a recipe's own can be a path too, alone, in a tuple or in a group."""
    from typing import Annotated

    from jaxcnn.config.options import IS_PATH, option_group

    @option_group
    class Inner:
        file: Annotated[str, IS_PATH] = "a"
        text: str = "b"

    @option_group
    class Outer:
        inner: Inner = Inner()
        several: tuple[Inner, ...] = (Inner(), Inner(file="/c"))
        files: Annotated[tuple[str, ...], IS_PATH] = ("d",)

    here = str(Path.cwd())
    found = with_absolute_paths(Outer())
    assert found.inner == Inner(file=f"{here}/a")
    assert found.several == (Inner(file=f"{here}/a"), Inner(file="/c"))
    assert found.files == (f"{here}/d",)
