"""Networks: a file for each family holds its variants, its modules, its weight rules and its published errors."""
