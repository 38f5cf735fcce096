"""What went wrong? The place of the first NaN or infinity; figures of the last steps of a run that diverged, in words.

The recorder keeps the figures of every step. This costs almost nothing: ten dot products per step.
"""

from collections import deque
from statistics import median
from typing import Any

import numpy as np

from distlenet.data.leaves import Leaves
from distlenet.errors import NonFiniteError
from distlenet.nn import Net
from distlenet.nn.inspection import first_non_finite, norms, number, portray
from distlenet.parallel import Communicator
from distlenet.parallel.agreement import in_agreement
from distlenet.training.state import TrainState

Report = dict[str, Any]
STEPS = 200  # steps that are remembered
IMAGES = 64  # least number of images to examine, if the shard has that many


class Recorder:
    """Remembers the last steps of this process; a resumed run starts with an empty recorder."""

    def __init__(self) -> None:
        # steps taken before this one, loss, gradient norms
        self.steps: deque[tuple[int, float, dict[str, float]]] = deque(maxlen=STEPS)
        self.keep_gradient = False  # whether to keep the latest step's gradient for a listener
        self._gradient: np.ndarray | None = None  # (parameters,)

    def note(self, state: TrainState, loss: float, gradient: np.ndarray) -> None:
        """Remember the step that is about to be taken: its ``loss`` and mean ``gradient`` (parameters,)."""
        self.steps.append((state.progress.steps, loss, norms(state.net, gradient)))
        if self.keep_gradient:
            if self._gradient is None:
                self._gradient = np.empty_like(gradient)
            np.copyto(self._gradient, gradient)  # the optimizer may overwrite the original

    def latest_gradient(self, net: Net) -> dict[str, np.ndarray]:
        """Return the mean gradient of the latest step by parameter; empty if it was not kept."""
        return {} if self._gradient is None else net.views(self._gradient)

    def clear(self) -> None:
        """Forget everything: the run has gone back."""
        self.steps.clear()


def examine(state: TrainState, leaves: Leaves, recorder: Recorder) -> Report:
    """Return figures (JSON) of the last steps and of the network, both now and in its good state.

    They are measured by one rank, on images of its first shard.
    """
    x = sample_images(leaves, state.progress.epoch)
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
    # The outputs of a dead network are equal for all images, to the last bit. Those of a dying one differ by a seventh
    # of the initial spread. A network that only learns slowly keeps its spread.
    # If the good state gave no finite answers, for instance when the first step fails, there is nothing to compare.
    spread = report["good"]["spread"]
    report["blind"] = spread is not None and (report["now"]["spread"] or 0) <= 0.5 * spread
    report["findings"] = findings(report)
    return report


def sample_images(leaves: Leaves, epoch: int) -> np.ndarray:
    """Return the first leaves of the rank's first shard in ``epoch``, (1, rows, columns, n)."""
    found: list[np.ndarray] = []
    for step in range(leaves.plan.steps_per_epoch):
        found.append(leaves.load(epoch, step, leaves.shards[0])[0].copy())
        if sum(x.shape[-1] for x in found) >= IMAGES:
            break
    return np.concatenate(found, axis=-1)


def findings(report: Report) -> list[str]:
    """Return the conclusions from a report's figures as sentences, the most important first."""
    good, now, images = report["good"], report["now"], report["images"]
    found = []
    if report["blind"]:
        found.append(
            f"the network has gone blind: its outputs for {images} images differ by {short(now['spread'])}; "
            f"in the good state after {good['steps']} steps they differed by {short(good['spread'])}"
        )
    for before, layer in zip(good["layers"], now["layers"], strict=True):
        if layer["name"].endswith(".activation"):
            if layer["dead"] >= layer["units"] / 2 and layer["dead"] > before["dead"]:
                found.append(
                    f"{layer['name']}: {layer['dead']} of {layer['units']} units are dead, zero for every image "
                    f"({before['dead']} in the good state)"
                )
            if layer["largest"] is not None and (layer["saturated"] or 0) > 0.5 and layer["largest"] <= 1:
                found.append(
                    f"{layer['name']}: {100 * layer['saturated']:.0f} % of its values are saturated (above 0.99)"
                )
    exploded = []
    for name, values in report["gradient_norms"].items():
        known = [norm for norm in values if norm is not None]
        usual, most = median(known or [0]), max(known, default=0)
        if len(known) < len(values) or most > 100 * usual > 0:
            exploded.append(
                f"{name} up to {'infinity' if len(known) < len(values) else f'{most:.2g}'} (usually {usual:.2g})"
            )
    if exploded:
        found.append(f"gradients exploded; their norms: {', '.join(exploded)}")
    latest = {name: values[-10:] for name, values in report["gradient_norms"].items()}
    idle = [name for name, values in latest.items() if values and all(norm == 0 for norm in values)]
    if idle:
        found.append(f"no gradient reaches {', '.join(idle)}: these parameters can no longer change")
    before_and_now = {name: (good["weight_norms"][name], norm) for name, norm in now["weight_norms"].items()}
    grown = [
        f"{name} from {short(before)} to {short(norm)}"
        for name, (before, norm) in before_and_now.items()
        if name.endswith("/W") and before is not None and (norm is None or norm > 3 * before > 0)
    ]
    if grown:
        found.append(f"weights grew; their norms: {', '.join(grown)}")
    if good["spread"] is None:
        found.append(
            f"the outputs were not finite even in the good state, after {good['steps']} steps: the initial weights or "
            "the pixels are too large; try a smaller --sigma or another --init before a lower --lr"
        )
    elif good["spread"] < 1e-2:
        found.append(
            f"even in the good state, after {good['steps']} steps, the outputs differed by only {good['spread']:.1g} "
            "between images: the weights are too small; try another --init before a lower --lr"
        )
    return found or ["all figures are normal"]


def short(value: float | None) -> str:
    """Return a figure as text: three digits, or "infinite" for None."""
    return "infinite" if value is None else f"{value:.3g}"


def explain_non_finite(
    state: TrainState,
    leaves: Leaves,
    comm: Communicator,
    otherwise: str = "only in the sum over the shards, whose parts are finite",
) -> NonFiniteError:
    """Return the error to raise, the same on every rank, before the update.

    Computes every leaf of the step again, layer by layer. If all leaves are finite, the error says ``otherwise``.
    Raises on every rank: DataError if any rank cannot read its images, OwnCodeError if it cannot augment them.
    """
    findings = []
    with in_agreement(comm):
        for shard in leaves.shards:
            x, labels = leaves.load(state.progress.epoch, state.progress.step, shard)
            place = first_non_finite(state.net, x, labels) if len(labels) else None
            if place:
                findings.append(f"on rank {comm.rank}, shard {shard}, first in {place}")
    found = [text for texts in comm.allgather(findings) for text in texts]
    where = found[0] if found else otherwise
    if len(found) > 1:
        where += f" (and in {len(found) - 1} other shards)"
    started = state.progress.steps > 0
    advice = "lower --lr" if started else "before the first update no --lr helps, choose another --init or --sigma"
    step = state.progress.upcoming(leaves.plan.steps_per_epoch)
    return NonFiniteError(
        f"{step}: NaN or infinity {where}; the update was skipped and the last checkpoint is untouched; {advice}, or "
        "look for the cause with --debug"
    )


def explain_spoiled(state: TrainState) -> NonFiniteError:
    """Return the error to raise if finite gradients led to parameters or optimizer vectors that are not finite.

    It is the same on every rank whose state is the same.
    """
    vectors = {f"the parameter {name}": parameter.value for name, parameter in state.net.parameters.items()}
    vectors |= {f"the optimizer's {name}": vector for name, vector in state.optimizer.state.items()}
    where = next(name for name, vector in vectors.items() if not np.isfinite(vector).all())
    return NonFiniteError(
        f"after {state.progress.position}: NaN or infinity in {where}, caused by the update; this state was not saved "
        "and the last checkpoint is untouched; lower --lr, or raise --epsilon if it is near 0"
    )
