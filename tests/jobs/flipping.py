"""``flipping.py SPEC arguments...``: the command line, but a rank flips bits while it computes a leaf.

SPEC (JSON): "rank"; "what": images, activations or weights; "step", "shard" and "role" (owner, auditor) of the leaf,
null for any; "times": how many leaves to spoil, null for all; "seed". A flip that changes no bit of the leaf is tried
again.
"""

import json
import random
import sys

import numpy as np

from distlenet.cli import main
from distlenet.data.leaves import Leaves
from distlenet.nn import Net
from distlenet.parallel.connect import launched_rank

spec = json.loads(sys.argv[1])
chance, left = random.Random(spec["seed"]), spec["times"]
leaf = {"step": None, "shard": None, "role": None}
load, load_any, compute = Leaves.load, Leaves.load_any, Net.loss_and_grad


def note_own(leaves, epoch, step, shard):
    leaf.update(step=step, shard=shard, role="owner")
    return load(leaves, epoch, step, shard)


def note_any(leaves, epoch, step, shard, verify=False):
    found = load_any(leaves, epoch, step, shard, verify)
    leaf.update(step=step, shard=shard, role="auditor")
    return found


def flip(array):
    place = np.unravel_index(chance.randrange(array.size), array.shape)
    array[place] = (np.float32(array[place]).view(np.uint32) ^ np.uint32(1 << chance.randrange(32))).view(np.float32)


def spoiled(net, x, labels, gradient):
    if spec["what"] == "images":
        flip(x)
    if spec["what"] == "activations":
        target, run = chance.choice(net.layers), net.run

        def run_and_flip(layer, direction, values):
            out = run(layer, direction, values)
            if layer is target and direction == "forward":
                flip(out)
            return out

        net.run = run_and_flip
        try:
            return compute(net, x, labels, gradient)
        finally:
            net.run = run
    before = net.theta.copy()
    if spec["what"] == "weights":
        flip(net.theta)
    try:
        return compute(net, x, labels, gradient)
    finally:
        net.theta[:] = before


def compute_and_flip(net, x, labels, gradient):
    global left  # noqa: PLW0603
    here = launched_rank() == spec["rank"] and all(spec[name] in (None, leaf[name]) for name in leaf)
    if not here or left == 0 or leaf["step"] is None:
        return compute(net, x, labels, gradient)
    right = compute(net, x.copy(), labels, gradient), gradient.tobytes()
    while True:
        wrong = spoiled(net, x.copy(), labels, gradient)
        if (wrong, gradient.tobytes()) != right:
            left = None if left is None else left - 1
            return wrong


Leaves.load, Leaves.load_any, Net.loss_and_grad = note_own, note_any, compute_and_flip
sys.exit(main(sys.argv[2:]))
