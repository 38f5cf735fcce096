"""Has a run stopped learning, or unlearned? Judged only by the losses and accuracies of its steps.

They come from the reduction, with the same bits on every rank, so all ranks reach the same verdict at the same step
without a message. The watch is part of the state, so a resumed run reaches it at that step too.
"""

from dataclasses import dataclass
from math import exp

MEMORY = 50  # steps after which the running mean has forgotten two thirds
SPIKE_STEPS = 50  # steps with a high loss; a dozen wild steps are forgotten
DEAD_STEPS = 300  # steps of guessing; some runs escaped from a plateau of 220


@dataclass
class LossWatch:
    """Running figures of the loss. ``guessing`` is the loss of giving the same answer for every image, ln(classes).

    The loss of LeCun et al. 1998, equation 9, may be far above it while the network learns well, because a few wrong
    images cost much. So a run counts as idle only if its accuracy is that of guessing too.
    """

    guessing: float
    mean: float | None = None  # fading mean of the loss, None before the first step
    level: float | None = None  # the lowest mean so far
    right: float = 0.0  # fading mean of the accuracy
    idle: int = 0  # consecutive steps whose fading means were hardly better than guessing
    high: int = 0  # steps above the ceiling minus steps below it, never negative

    def add(self, loss: float, accuracy: float = 0.0) -> None:
        """Add a step's mean ``loss``, a finite number, and its ``accuracy``, 0 to 1."""
        mean, level = (loss if self.mean is None else self.mean), (loss if self.level is None else self.level)
        # one wild loss, say 1e20, must not dominate the mean for thousands of steps
        self.mean = mean + (min(loss, 2 * mean + self.guessing) - mean) / MEMORY
        ceiling = max(1.5 * level, level + self.guessing / 2)  # far above the level
        self.high = self.high + 1 if loss > ceiling else max(0, self.high - 1)
        self.right += (accuracy - self.right) / MEMORY
        classes = round(exp(self.guessing))  # rounded, because the last bit of exp differs between machines
        guesses = self.mean > 0.955 * self.guessing and self.right < 1.5 / classes
        self.idle = (self.idle + 1 or 1) if guesses else 0  # counting up from be_patient's start skips 0
        self.level = min(level, self.mean)

    @property
    def calm(self) -> bool:
        """Whether the run learns normally here, so that it may go back to this state."""
        return self.high == self.idle == 0

    @property
    def verdict(self) -> str | None:
        """ "spike": it unlearned; "dead": no better than guessing for a long time; None: no reason to intervene."""
        if self.high >= SPIKE_STEPS:
            return "spike"
        return "dead" if self.idle >= DEAD_STEPS else None

    @property
    def wild(self) -> bool:
        """Whether the loss is worse than that of guessing, and was better before."""
        return self.mean is not None and self.mean > 1.2 * max(self.level or 0.0, self.guessing)

    def be_patient(self) -> None:
        """Let a run that guesses, but is alive, continue; judge it again after twice as many steps."""
        self.idle = -DEAD_STEPS - 1
