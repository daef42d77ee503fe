"""Convolution and pooling by loops, in float64: slow and plainly right."""

import itertools

import numpy as np


def pad(images, padding, value=0.0):
    return np.pad(images, ((0, 0), *padding, (0, 0)), constant_values=value)


def conv2d(images, kernel, strides, padding, dilation, groups):
    images = pad(images, padding)
    kernel_height, kernel_width, group_channels, features = kernel.shape
    height = max((images.shape[1] - (kernel_height - 1) * dilation[0] - 1) // strides[0] + 1, 0)
    width = max((images.shape[2] - (kernel_width - 1) * dilation[1] - 1) // strides[1] + 1, 0)
    outputs = np.zeros((images.shape[0], height, width, features))
    for y, x, i, j, f in itertools.product(*map(range, (height, width, kernel_height, kernel_width, features))):
        first = f // (features // groups) * group_channels
        pixel = images[:, y * strides[0] + i * dilation[0], x * strides[1] + j * dilation[1]]
        outputs[:, y, x, f] += pixel[:, first : first + group_channels] @ kernel[i, j, :, f]
    return outputs


def pool(images, window, strides, padding, ceil_mode, reduce):
    """``reduce(values, inside)`` of each window: values (batch, pixels, channels), inside says which are no padding."""
    sizes = []
    for axis in (0, 1):
        span = images.shape[1 + axis] + sum(padding[axis]) - window[axis]
        count = span // strides[axis] + 1
        if ceil_mode:
            count = -(-span // strides[axis]) + 1
            if (count - 1) * strides[axis] >= images.shape[1 + axis] + padding[axis][0]:
                count -= 1
        sizes.append(count)
    rows = []
    for y, x in itertools.product(*map(range, sizes)):
        values, kinds = [], []
        for i, j in itertools.product(*map(range, window)):
            top = y * strides[0] + i - padding[0][0]
            left = x * strides[1] + j - padding[1][0]
            inside = 0 <= top < images.shape[1] and 0 <= left < images.shape[2]
            padded = inside or (top < images.shape[1] + padding[0][1] and left < images.shape[2] + padding[1][1])
            values.append(images[:, top, left] if inside else np.zeros_like(images[:, 0, 0]))
            kinds.append("pixel" if inside else "padding" if padded else "beyond")
        rows.append(reduce(np.stack(values, 1), kinds))
    return np.stack(rows, 1).reshape(images.shape[0], *sizes, images.shape[3])


def adaptive_bins(length, bins):
    """(bins, length) of 1 where a pixel is in a bin: those whose interval [p, p + 1) meets [i L / n, (i + 1) L / n)."""
    return np.array(
        [[(p + 1) * bins > i * length and p * bins < (i + 1) * length for p in range(length)] for i in range(bins)]
    )


def adaptive_average_pool(images, size):
    outputs = np.zeros((images.shape[0], *size, images.shape[3]))
    rows, columns = (adaptive_bins(images.shape[1 + axis], size[axis]) for axis in (0, 1))
    for y, x in itertools.product(*map(range, size)):
        inside = rows[y][:, None] & columns[x][None]
        outputs[:, y, x] = images[:, inside].mean(1)
    return outputs


def adaptive_average_pool_gradient(cotangent, size):
    """Each bin's cotangent, divided among its pixels; ``size`` is the image's."""
    gradient = np.zeros((cotangent.shape[0], *size, cotangent.shape[3]))
    rows, columns = (adaptive_bins(size[axis], cotangent.shape[1 + axis]) for axis in (0, 1))
    for y, x in itertools.product(*map(range, cotangent.shape[1:3])):
        inside = rows[y][:, None] & columns[x][None]
        gradient[:, inside] += cotangent[:, y, x][:, None] / inside.sum()
    return gradient
