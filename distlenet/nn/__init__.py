"""The network: layers, loss, optimizers, schedules. Pure numpy, one process, no files, no terminal.

Conventions:

* Activations are (channels, rows, columns, samples), samples LAST. Elementwise operations, the copies of a
  convolution and the flattening before dense layers then run over long contiguous rows, and nothing is
  transposed between layers.
* Between spatial layers a picture may be stored *split by phase* (see ``split.py``):
  (row phases, column phases, channels, rows / row phases, columns / column phases, samples).
  With one phase each way this is the plain order with two leading axes of length one. User-defined layers get
  plain pictures, see ``layer.py``.
* Gradients are named ``d`` + the variable, and are SUMS over the samples, never means: the sums of parts of a
  batch can be added, the means of unequal parts cannot.
* All parameters of a network are in one flat vector ``theta``; layers hold views of it.
* Buffers are allocated once per micro-batch size and reused: the result of ``forward`` or ``backward`` is valid
  until the same layer runs again.
"""

from distlenet.nn.activations import ELU, LeakyReLU, ReLU, ScaledTanh, Sigmoid, Tanh
from distlenet.nn.convolution import Conv2d, PartialConv2d
from distlenet.nn.dense import Dense, Flatten
from distlenet.nn.inspection import list_layers, outline
from distlenet.nn.layer import Layer, Parameter
from distlenet.nn.losses import MAPLoss, SoftmaxCrossEntropy
from distlenet.nn.models import MODELS, build_net, input_statistics, lenet5
from distlenet.nn.net import Net, Sequential
from distlenet.nn.optimizers import OPTIMIZERS, SGD, Adam, LevenbergMarquardt, Momentum, Nesterov, Optimizer, RMSProp
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
