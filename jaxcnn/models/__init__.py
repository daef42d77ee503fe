"""The networks, a file a family: its modules, its variants, its weight rules and its published errors."""
