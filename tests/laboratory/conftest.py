import jax
import pytest


@pytest.fixture
def quick_compilation():
    """Compiles as docs/recipes.md says: without what takes long and has no part in how programs are split."""
    level = jax.config.jax_optimization_level
    jax.config.update("jax_optimization_level", "O0")
    yield
    jax.config.update("jax_optimization_level", level)
