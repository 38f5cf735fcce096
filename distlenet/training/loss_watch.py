"""Has a run stopped learning, or unlearned? Judged by the losses and accuracies of its steps alone.

They are reduced numbers, the same bits on every rank: all ranks come to the same verdict at the same
step, without a word. The watch is part of the state, so a resumed run comes to it at that step as well.
"""

from dataclasses import dataclass
from math import exp

MEMORY = 50  # steps after which the running mean has forgotten two thirds
SPIKE_STEPS = 50  # of a high loss; a single wild step is forgotten, and so are a dozen
DEAD_STEPS = 300  # of guessing; runs were seen to escape from a plateau of 220


@dataclass
class LossWatch:
    """Running figures of the loss; ``guessing`` is what it costs to answer the same for every image, ln(classes).

    The criterion of LeCun et al. 1998, equation 9, may be far above that while the network learns well: few images
    that it is wrong about cost much. So a run is idle only where its accuracy is that of guessing too.
    """

    guessing: float
    mean: float | None = None  # fading mean of the loss, None before the first step
    level: float | None = None  # the lowest mean so far
    right: float = 0.0  # fading mean of the accuracy
    idle: int = 0  # steps in a row whose means were those of guessing, or hardly better
    high: int = 0  # steps above the ceiling, less those below it, never negative

    def add(self, loss: float, accuracy: float = 0.0) -> None:
        """Take note of a step's mean ``loss``, a finite number, and of its ``accuracy``, 0 to 1."""
        mean, level = (loss if self.mean is None else self.mean), (loss if self.level is None else self.level)
        # one wild loss, of 1e20 say, must not be all that the mean knows for thousands of steps
        self.mean = mean + (min(loss, 2 * mean + self.guessing) - mean) / MEMORY
        ceiling = max(1.5 * level, level + self.guessing / 2)  # far above the level
        self.high = self.high + 1 if loss > ceiling else max(0, self.high - 1)
        self.right += (accuracy - self.right) / MEMORY
        guesses = self.mean > 0.955 * self.guessing and self.right < 1.5 * exp(-self.guessing)
        self.idle = (self.idle + 1 or 1) if guesses else 0  # never 0 while it guesses
        self.level = min(level, self.mean)

    @property
    def calm(self) -> bool:
        """Whether nothing speaks against going back to this moment."""
        return self.high == self.idle == 0

    @property
    def verdict(self) -> str | None:
        """ "spike": unlearned; "dead": no better than guessing, for long; None: all is well, or may become so."""
        if self.high >= SPIKE_STEPS:
            return "spike"
        return "dead" if self.idle >= DEAD_STEPS else None

    @property
    def wild(self) -> bool:
        """Whether the loss is worse than that of guessing, and has been better."""
        return self.mean is not None and self.mean > 1.2 * max(self.level or 0.0, self.guessing)

    def be_patient(self) -> None:
        """Let a run that guesses, but is alive, continue: look again after twice as many steps."""
        self.idle = -DEAD_STEPS - 1
