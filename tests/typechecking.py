"""What checks annotations while the tests run: see conftest.py, which installs it."""

from beartype import BeartypeConf, beartype

# As for a static checker, an int is good where a float is asked for.
checked = beartype(conf=BeartypeConf(is_pep484_tower=True))
