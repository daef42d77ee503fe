"""Every test runs strict, sees eight devices, and shares what it compiles with the others."""

import gc
import importlib.metadata
import importlib.util
import os
from pathlib import Path

# Eight devices, so that sharding is tested; little optimization, because tests spend their time in the compiler.
FLAGS = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
if importlib.metadata.version("jax").startswith("0.10.") and importlib.util.find_spec("libtpu") is None:
    # Programs compile in a third of the time. Later versions have no such choice, and end at a flag they do not know;
    # so does libtpu, which reads the same flags.
    FLAGS += " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import jaxtyping  # noqa: E402
import pytest  # noqa: E402

from tests import typechecking  # noqa: E402

# Shapes and dtypes are checked wherever these are called, as their annotations have them. What is imported later is
# decorated, so nothing of jaxcnn may be imported before.
CHECKED = ("jaxcnn.ops", "jaxcnn.layers", "jaxcnn.augment", "jaxcnn.evaluation", "jaxcnn.classical")
jaxtyping.install_import_hook(CHECKED, f"{typechecking.__name__}.checked")

from jaxcnn.devices.compilation import processor  # noqa: E402

# Tracing makes millions of objects, and Python looks for garbage every 700: a tenth of the time of the tests.
gc.set_threshold(100_000, 20, 50)

COMPILED = Path(__file__).parent.parent / ".pytest_cache" / "compiled" / processor()
# What somebody has tuned on this machine chooses no lowering in tests.
os.environ["JAXCNN_CACHE"] = str(COMPILED.parent.parent / "cache")
# What tests start in processes of their own keeps its programs there too, and not among those of whoever runs them.
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(COMPILED)


jax.config.update("jax_numpy_rank_promotion", "raise")
# It has no limit of size, because JAX would look through all of it whenever something is added: 30 s in a run. Nothing
# is locked then; a worker that reads what another has half written warns and compiles (see pyproject.toml).
jax.config.update("jax_compilation_cache_dir", str(COMPILED))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)


@pytest.fixture(scope="module", autouse=True)
def annotations_are_checked_in_their_rooms(request):
    """Checks annotations in the tests of the rooms that have them; elsewhere it would make tracing a third slower."""
    rooms = {name.removeprefix("jaxcnn.") for name in CHECKED} | {"test_typechecking"}
    jaxtyping.config.update("jaxtyping_disable", not rooms & {request.path.stem, request.path.parent.name})


@pytest.fixture
def unchecked_annotations():
    """Lets wrong arguments through to the refusals of the functions themselves, where users meet them."""
    before = jaxtyping.config.jaxtyping_disable
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", before)


@pytest.fixture
def one_device():
    """A mesh of one device, as most users have."""
    from jaxcnn.devices.parallel import DataParallel

    return DataParallel.over(jax.devices()[:1])
