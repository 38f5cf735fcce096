import numpy as np

from distlenet.nn import Conv2d, Dense, Flatten, Layer, MaxPool2d, Sequential


class Swish(Layer):
    """x * sigmoid(x)."""

    def forward(self, x):  # (channels, rows, columns, samples), or (features, samples)
        self.x, self.gate = x, 1 / (1 + np.exp(-x))
        return x * self.gate

    def backward(self, dy):  # the gradient of the loss, of the shape that forward returned
        return dy * self.gate * (1 + self.x * (1 - self.gate))


def build(input_shape, classes):  # (1, rows, columns) and the number of classes of the dataset
    return Sequential(input_shape, Conv2d(8, 5), Swish(), MaxPool2d(2), Flatten(), Dense(32), Swish(), Dense(classes))
