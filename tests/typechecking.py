"""What checks annotations while the tests run: see conftest.py, which installs it."""

import pydantic
from beartype import BeartypeConf, FrozenDict, beartype

checked = beartype(
    conf=BeartypeConf(
        # As for a static checker, an int is good where a float is asked for.
        is_pep484_tower=True,
        # A protocol that instances cannot be checked against.
        hint_overrides=FrozenDict({pydantic.ValidationInfo: object}),
    )
)
