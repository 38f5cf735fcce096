"""The network: layers, loss, optimizers, schedules. Pure numpy, one process, no files, no terminal.

Conventions:

* Arrays are (channels, rows, columns, samples) or (features, samples).
* Gradients are named ``d`` + the variable, and are SUMS over the samples, never means.
* All parameters of a network are in one flat vector ``theta``; layers hold views of it.
* In memory the rows of a picture come first, see ``convolution.py``. This order affects only the speed.
* Buffers are allocated once per number of samples and reused: the result of ``forward`` or ``backward`` is valid until
  the same layer runs again. User-defined layers get contiguous copies.

README.md in this folder gives the reasons.
"""

from distlenet.nn.activations import ELU, LeakyReLU, ReLU, ScaledTanh, Sigmoid, Tanh
from distlenet.nn.convolution import Conv2d
from distlenet.nn.dense import Dense, Flatten
from distlenet.nn.inspection import list_layers, outline
from distlenet.nn.layer import Layer, Parameter
from distlenet.nn.losses import MAPLoss, SoftmaxCrossEntropy
from distlenet.nn.models import MODELS, build_net, input_statistics, lenet5
from distlenet.nn.net import Net, Sequential
from distlenet.nn.optimizers import (
    OPTIMIZERS,
    SGD,
    Adam,
    LevenbergMarquardt,
    Momentum,
    Muon,
    Nesterov,
    Optimizer,
    RMSProp,
)
from distlenet.nn.partial_convolution import PartialConv2d
from distlenet.nn.pooling import AveragePool2d, MaxPool2d, Pad2d, TrainablePool2d
from distlenet.nn.rbf import RBF
from distlenet.nn.rules import build_optimizer, build_schedule
from distlenet.nn.schedules import (
    SCHEDULES,
    Schedule,
    constant,
    cosine,
    inverse_time,
    one_cycle,
    published,
    step_decay,
)

__all__ = [
    "ELU",
    "MODELS",
    "OPTIMIZERS",
    "RBF",
    "SCHEDULES",
    "SGD",
    "Adam",
    "AveragePool2d",
    "Conv2d",
    "Dense",
    "Flatten",
    "Layer",
    "LeakyReLU",
    "LevenbergMarquardt",
    "MAPLoss",
    "MaxPool2d",
    "Momentum",
    "Muon",
    "Nesterov",
    "Net",
    "Optimizer",
    "Pad2d",
    "Parameter",
    "PartialConv2d",
    "RMSProp",
    "ReLU",
    "ScaledTanh",
    "Schedule",
    "Sequential",
    "Sigmoid",
    "SoftmaxCrossEntropy",
    "Tanh",
    "TrainablePool2d",
    "build_net",
    "build_optimizer",
    "build_schedule",
    "constant",
    "cosine",
    "input_statistics",
    "inverse_time",
    "lenet5",
    "list_layers",
    "one_cycle",
    "outline",
    "published",
    "step_decay",
]
