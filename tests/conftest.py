"""Every test runs strict, and sees eight devices."""

import os

# Eight devices, so that sharding is tested; little optimization, because tests spend their time in the compiler.
FLAGS = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {FLAGS}"
os.environ["JAX_PLATFORMS"] = "cpu"

import jax  # noqa: E402
import jaxtyping  # noqa: E402
import pytest  # noqa: E402

from tests import typechecking  # noqa: E402

# Shapes and dtypes are checked wherever these are called, as their annotations have them. What is imported later is
# decorated, so nothing of jaxcnn may be imported before.
CHECKED = ("jaxcnn.ops", "jaxcnn.layers", "jaxcnn.augment", "jaxcnn.evaluation")
jaxtyping.install_import_hook(CHECKED, f"{typechecking.__name__}.checked")

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True)
def _warnings_are_errors(recwarn):
    """Fails a test in which our own code warned."""
    yield
    ours = [warning for warning in recwarn if "jaxcnn" in str(warning.filename)]
    assert not ours, [str(warning.message) for warning in ours]


@pytest.fixture
def unchecked_annotations():
    """Lets wrong arguments through to the refusals of the functions themselves, where users meet them."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def one_device():
    """A mesh of one device, as most users have."""
    from jaxcnn.devices.parallel import DataParallel

    return DataParallel.over(jax.devices()[:1])
