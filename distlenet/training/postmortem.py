"""What a run that diverged looked like from within: figures of its last steps, and what they say.

The recorder keeps what a post-mortem needs of every step, at next to no cost: ten dot products.
"""

from collections import deque
from statistics import median
from typing import Any

import numpy as np

from distlenet.data.leaves import Leaves
from distlenet.nn import Net
from distlenet.nn.inspection import norms, number, portray
from distlenet.training.state import TrainState

Report = dict[str, Any]
STEPS = 200  # that are remembered
IMAGES = 64  # at least, where the shard has as many


class Recorder:
    """Remembers the last steps of this process; a resumed run starts with an empty one."""

    def __init__(self) -> None:
        # steps before, loss, gradient norms
        self.steps: deque[tuple[int, float, dict[str, float]]] = deque(maxlen=STEPS)
        self.keep_gradient = False  # of the latest step: somebody wants to see it
        self._gradient: np.ndarray | None = None  # (parameters,)

    def note(self, state: TrainState, loss: float, gradient: np.ndarray) -> None:
        """Remember the step that is about to be taken: its ``loss`` and mean ``gradient`` (parameters,)."""
        self.steps.append((state.progress.steps, loss, norms(state.net, gradient)))
        if self.keep_gradient:
            if self._gradient is None:
                self._gradient = np.empty_like(gradient)
            np.copyto(self._gradient, gradient)  # the optimizer may write over it

    def latest_gradient(self, net: Net) -> dict[str, np.ndarray]:
        """Return the mean gradient of the latest step by parameter; nothing if it was not kept."""
        return {} if self._gradient is None else net.views(self._gradient)

    def clear(self) -> None:
        """Forget everything: the run has gone back."""
        self.steps.clear()


def examine(state: TrainState, leaves: Leaves, recorder: Recorder) -> Report:
    """Return the figures, for JSON: of the last steps, and of the network now and when it was last good.

    Seen by one rank, through the images of its first shard.
    """
    x = some_images(leaves, state.progress.epoch)
    report: Report = {
        "images": x.shape[-1],
        "steps": [steps for steps, _, _ in recorder.steps],
        "loss": [number(loss) for _, loss, _ in recorder.steps],
        "gradient_norms": {
            name: [number(found[name]) for _, _, found in recorder.steps] for name in state.net.parameters
        },
        "good": {"steps": state.good.progress.steps, **portray(state.net, state.good.vectors["theta"], x)},
        "now": {"steps": state.progress.steps, **portray(state.net, state.net.theta, x)},
    }
    # Dead networks are found dead for good, all answers alike to the last bit, or on the way there, at a seventh
    # of the spread of their initial weights. One that merely learns slowly has kept what spread it had.
    # Where the good state gave no finite answers, as before a first step that fails, there is nothing to compare.
    spread = report["good"]["spread"]
    report["blind"] = spread is not None and (report["now"]["spread"] or 0) <= 0.5 * spread
    report["findings"] = findings(report)
    return report


def some_images(leaves: Leaves, epoch: int) -> np.ndarray:
    """Return x (1, rows, columns, n): the first leaves of the rank's first shard in ``epoch``."""
    found: list[np.ndarray] = []
    for step in range(leaves.plan.steps_per_epoch):
        found.append(leaves.load(epoch, step, leaves.shards[0])[0].copy())
        if sum(x.shape[-1] for x in found) >= IMAGES:
            break
    return np.concatenate(found, axis=-1)


def findings(report: Report) -> list[str]:
    """Return what the figures of a report say, the most telling first."""
    good, now, images = report["good"], report["now"], report["images"]
    found = []
    if report["blind"]:
        found.append(
            f"the network has gone blind: its answers to {images} images differ by {short(now['spread'])}, "
            f"by {short(good['spread'])} when the run was last good, after {good['steps']} steps"
        )
    for before, layer in zip(good["layers"], now["layers"], strict=True):
        if layer["name"].endswith(".activation"):
            if layer["dead"] >= layer["units"] / 2 and layer["dead"] > before["dead"]:
                found.append(
                    f"{layer['name']}: {layer['dead']} of {layer['units']} units are dead, zero for every image "
                    f"({before['dead']} before)"
                )
            if layer["largest"] is not None and (layer["saturated"] or 0) > 0.5 and layer["largest"] <= 1:
                found.append(
                    f"{layer['name']}: {100 * layer['saturated']:.0f} % of its values are saturated, beyond 0.99"
                )
    exploded = []
    for name, values in report["gradient_norms"].items():
        known = [norm for norm in values if norm is not None]
        usual, most = median(known or [0]), max(known, default=0)
        if len(known) < len(values) or most > 100 * usual > 0:
            exploded.append(
                f"{name} up to {'infinity' if len(known) < len(values) else f'{most:.2g}'} ({usual:.2g} usually)"
            )
    if exploded:
        found.append(f"gradients exploded, norms: {', '.join(exploded)}")
    latest = {name: values[-10:] for name, values in report["gradient_norms"].items()}
    idle = [name for name, values in latest.items() if values and all(norm == 0 for norm in values)]
    if idle:
        found.append(f"no gradient reaches {', '.join(idle)}: nothing there will ever change")
    before_and_now = {name: (good["weight_norms"][name], norm) for name, norm in now["weight_norms"].items()}
    grown = [
        f"{name} from {short(before)} to {short(norm)}"
        for name, (before, norm) in before_and_now.items()
        if name.endswith("/W") and before is not None and (norm is None or norm > 3 * before > 0)
    ]
    if grown:
        found.append(f"weights grew, norms: {', '.join(grown)}")
    if good["spread"] is None:
        found.append(
            f"already after {good['steps']} steps, where it was last good, the outputs were not finite: the initial "
            "weights or the pixels are too large; a smaller --sigma or another --init may do better than a lower rate"
        )
    elif good["spread"] < 1e-2:
        found.append(
            f"already when it was last good, after {good['steps']} steps, the outputs differed by {good['spread']:.1g} "
            "from image to image: too small weights; another --init may do better than a lower rate"
        )
    return found or ["none of the figures is unusual"]


def short(value: float | None) -> str:
    """Return a figure to read."""
    return "infinite" if value is None else f"{value:.3g}"
