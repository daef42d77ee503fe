import pytest

from jaxcnn.laboratory.op_names import layer_of, phase_of

PATHS = {
    "jit(step)/jvp(ResNet)/stage1_block0/conv1/conv_general_dilated": ("forward", "stage1_block0/conv1"),
    "jit(step)/transpose(jvp(ResNet))/stage1_block0/conv1/transpose()/conv_general_dilated": (
        "backward",
        "stage1_block0/conv1",
    ),
    "jit(step)/jvp(ResNet)/stage2_block0/stage2_block0._shortcut/shortcut_norm/mul": (
        "forward",
        "stage2_block0/shortcut_norm",
    ),
    "jit(step)/jvp(ResNet)/stage1_block0/jit(relu)/max": ("forward", "stage1_block0"),
    "jit(step)/jvp(ResNet)/max": ("forward", ""),
    "jit(step)/transpose(jvp(checkpoint))/rematted_computation/ResNet/stage1_block0/norm1/mul": (
        "backward",
        "stage1_block0/norm1",
    ),
    "jit(step)/while/body/closed_call/jvp(ResNet)/norm1/mul": ("forward", "norm1"),
    "jit(step)/transpose(jvp(ResNet))/ResNet.blocks/ResNet.loop/while/body/closed_call/stage1_block1-2/BasicBlock_0/"
    "conv1/transpose()/transpose": ("backward", "stage1_block1-2/conv1"),
    "jit(step)/jvp(ResNet)/ResNet.blocks/ResNet.loop/while/body/closed_call/stage1_block1-2/BasicBlock_0/norm1/mul": (
        "forward",
        "stage1_block1-2/norm1",
    ),
    "jit(step)/(transpose(jvp(LeNet))/conv1/reduce_sum:transpose(jvp(LeNet))/dense3/dot_general)": ("backward", ""),
    "jit(step)/jit(shmap_body)/transpose(jvp(ResNet))/norm1/psum": ("backward", "norm1"),
    "jit(step)/augmentation/vmap(jit(_shuffle))/threefry2x32": ("augmentation", ""),
    "jit(step)/jvp(loss)/reduce_max": ("loss", ""),
    "jit(step)/transpose(jvp(loss))/mul": ("loss", ""),
    "jit(step)/optimizer/mul;jit(step)": ("optimizer", ""),
    "jit(step)/optimizer/jit(_where)/select_n": ("optimizer", ""),
    "jit(step)/statistics/is_finite": ("statistics", ""),
    "jit(apply)/ResNet/stage1_block0/conv1/conv_general_dilated": ("forward", "stage1_block0/conv1"),
    "jit(step)/jit(_threefry_fold_in)/threefry2x32": ("other", ""),
    "state.params['conv1']['kernel']": ("other", ""),
    "reduce_sum": ("other", ""),
    "": ("other", ""),
}


@pytest.mark.parametrize("path", PATHS)
def test_phase_and_layer_of_a_path(path):
    assert (phase_of(path), layer_of(path)) == PATHS[path]
