"""Timm's and Cadene's names of NASNet-A, which are the same.

Both count normal cells by sixes, so that in the mobile network, which has four a stage, numbers are left out.
"""

from jaxcnn.weights.rules.rule import Rule

CELLS = {
    "cell_stem_0": "stem_cell0",
    "cell_stem_1": "stem_cell1",
    "reduction_cell_0": "stage2_reduction",
    "reduction_cell_1": "stage3_reduction",
    **{f"cell_{number}": f"stage{number // 6 + 1}_cell{number % 6}" for number in range(18)},
}

RULES = (
    Rule(r"conv0\.conv", "stem_conv"),
    Rule(r"conv0\.bn", "stem_norm"),
    *(
        Rule(rf"{theirs}\.{module}", f"{ours}/{place}")
        for theirs, ours in CELLS.items()
        for module, place in (
            (r"conv_1x1\.conv", "current_conv"),
            (r"conv_1x1\.bn", "current_norm"),
            (r"conv_prev_1x1\.conv", "previous_conv"),
            (r"conv_prev_1x1\.bn", "previous_norm"),
            (r"path_1\.conv", "previous_even_conv"),
            (r"path_2\.conv", "previous_odd_conv"),
            (r"final_path_bn", "previous_norm"),
            (
                r"comb_iter_(\d)_(left|right)\.separable_(\d)\.(depthwise|pointwise)_conv2d",
                r"combination\1_\2/\4_conv\3",
            ),
            (r"comb_iter_(\d)_(left|right)\.bn_sep_(\d)", r"combination\1_\2/norm\3"),
        )
    ),
    Rule(r"last_linear", "classifier/dense"),
)
