"""A case of the random search: a run and the faults that strike it, all drawn from one integer."""

import random
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fuzz.settings import draw_options, draw_settings
from fuzz.small import Small

ALONE = "alone"
MPIRUN = ("openmpi", "mpich")
LAUNCH = ("launch", "launch-mpich")
WAYS = (ALONE, *MPIRUN, *LAUNCH)
INSIDE = (ALONE, "threads", "mortals")  # pretend ranks in the process of the search: fast, and repeatable exactly
CALLS = 12
STALL_AFTER = 4  # seconds until `launch` drops a stopped rank
# where a fault strikes: the names of hook/sitecustomize.py, by how often a run passes there
ONCE = ("start", "share", "test", "summary")
EVERY_STEP = ("step", "sum", "update")
EVERY_EPOCH = ("replicas", "evaluation", "checkpoint", "replace", "fsync", "write")  # or a few times
HEALING = "examine"  # only if it diverges
PLACES = (*ONCE, *EVERY_STEP, *EVERY_EPOCH, HEALING)
ROOT_ONLY = ("checkpoint", "replace", "fsync", "write")
STOPS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGXCPU", "SIGUSR2")
GOES_ON = ("SIGUSR1", "pause")
# signals by target; "pause": stopped and soon continued, "hang": stopped permanently
OF_RANKS = {
    ALONE: ("SIGKILL", *STOPS, *GOES_ON),
    "openmpi": ("SIGKILL", *STOPS, *GOES_ON),
    "mpich": ("SIGKILL", *STOPS, *GOES_ON),
    "launch": (*["SIGKILL"] * 6, "hang", "hang", *GOES_ON, "SIGTERM"),
    "launch-mpich": ("SIGKILL", *GOES_ON),
}
OF_MPIRUN = {
    **dict.fromkeys(MPIRUN, ("SIGKILL", "SIGINT", "SIGTERM", "SIGUSR1")),
    **dict.fromkeys(LAUNCH, ("SIGKILL",)),
}
OF_LAUNCH = (*STOPS, "SIGUSR1", "SIGKILL")
TAMPERED = ("cut journal", "damaged last.h5", "no last.h5", "no journal", "no best.h5", "no config.toml")


@dataclass(frozen=True)
class Fault:
    """A signal that a rank sends when it calls a place for the ``count``-th time, before or after the call."""

    place: str
    count: int  # from 1
    after: bool
    rank: int
    signal: str  # of OF_RANKS
    target: str = "self"  # "self", "mpirun", "launch"
    delay: float = 0.0  # seconds; 0: at once
    pause: float = 0.0  # seconds until a paused process is continued; for "full", the number of failing writes


@dataclass(frozen=True)
class Leg:
    """One start of the run: how it is started, and its faults."""

    way: str
    ranks: int
    faults: tuple[Fault, ...] = ()
    tampered: str = ""  # a change to the run directory before the start
    elsewhere: bool = False  # resumes by --resume PATH, into another directory

    @property
    def survives(self) -> bool:
        """Whether `distlenet launch` must complete the run without help."""
        ending = [
            fault
            for fault in self.faults
            if fault.signal in STOPS or (fault.target == "launch" and fault.signal != "SIGUSR1")
        ]
        return self.way in LAUNCH and not ending


@dataclass(frozen=True)
class Phase:
    """A run, or its continuation with other settings: the settings and the starts it needs."""

    settings: tuple[tuple[str, Any], ...]
    overridden: tuple[str, ...] = ()  # settings of an earlier phase that change
    legs: tuple[Leg, ...] = ()


@dataclass(frozen=True)
class Case:
    """A run of one or two phases on a small dataset."""

    seed: int
    small: Small
    inside: bool  # starts no processes; true for even seeds
    options: tuple[tuple[str, Any], ...]  # of `train`, not settings
    repeats_settings: bool  # a resume names the settings again
    phases: tuple[Phase, ...]

    @classmethod
    def draw(cls, seed: int) -> "Case":
        """Return the case number ``seed``."""
        chance = random.Random(f"distlenet {seed}")
        small, settings = draw_settings(chance)
        inside = seed % 2 == 0
        phases = [Phase(tuple(settings.items()), (), _legs(chance, small, settings, inside))]
        if chance.random() < 0.15:
            settings, overridden = _go_further(chance, settings)
            phases.append(Phase(tuple(settings.items()), overridden, _legs(chance, small, settings, inside)))
        return cls(seed, small, inside, tuple(draw_options(chance).items()), chance.random() < 0.5, tuple(phases))

    def words(self, phase: Phase, data: Path, run: Path, resume: str = "", knows_settings: bool = False) -> list[str]:
        """Return the arguments of distlenet that train ``phase`` in the directory ``run``.

        ``knows_settings``: a checkpoint holds the settings, so that a resume need not name them.
        """
        words = ["train", "--data", str(data), "--run", str(run), "--display", "plain"]
        words += [word for name, value in self.options for word in (f"--{name}", str(value))]
        given = dict(phase.settings)
        if resume and knows_settings and not self.repeats_settings and not phase.overridden:
            given = {name: value for name, value in given.items() if name == "model" and ":" in value}
        for name, value in given.items():
            flag = f"--{name.replace('_', '-')}"
            words += [flag] * value if isinstance(value, bool) else [flag, str(value)]
        if resume or phase.overridden:
            words += ["--resume", resume or "auto"]
        if phase.overridden:
            words += ["--override", ",".join(phase.overridden)]
        return words

    def description(self) -> str:
        """Return the case as text: the commands, and the faults with their places."""
        lines = [f"seed {self.seed}: {self.small}"]
        for phase in self.phases:
            lines.append(f"  distlenet {shlex.join(self.words(phase, Path('DATA'), Path('RUN')))}")
            for leg in phase.legs:
                how = f"  {leg.way}, {leg.ranks} ranks" if leg.way != ALONE else "  alone"
                lines.append(f"  {how}{', from ' * bool(leg.tampered)}{leg.tampered}{', elsewhere' * leg.elsewhere}")
                lines += [f"      {fault}" for fault in leg.faults]
        return "\n".join(lines)


def _go_further(chance: random.Random, settings: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Return the settings of a run that is resumed with others, and which of them change."""
    changes = {"epochs": settings["epochs"] + 1}
    if chance.random() < 0.5:
        changes["lr"] = settings["lr"] * chance.choice([0.1, 0.5, 30])
    if chance.random() < 0.3:
        changes["rotate"] = 5.0
    return settings | changes, tuple(changes)


def _legs(chance: random.Random, small: Small, settings: dict[str, Any], inside: bool) -> tuple[Leg, ...]:
    legs, steps = [], settings["epochs"] * (1 + small.train // settings["batch_size"])
    for number in range(chance.choice([1, 1, 2, 2, 3])):
        way = chance.choices(*((INSIDE, (1, 1, 3)) if inside else (WAYS, (3, 3, 2, 5, 1))))[0]
        ranks = 1 if way == ALONE else min(settings["shards"], chance.choice([2, 2, 3, 3, 4, 5]))
        if way in ("launch", "mortals") and ranks > 1 and settings["shards"] > 2:
            ranks = max(3, min(4, ranks))
        count = chance.choice([0, 1, 1, 1, 2, 3] if way in ("launch", "mortals") else [0, 1, 1, 1])
        draw = _inner_fault if inside else _fault
        faults = tuple(draw(chance, settings, steps, way, ranks) for _ in range(count))
        tampered = chance.choice(TAMPERED) if number and chance.random() < 0.2 else ""
        elsewhere = bool(number) and not tampered and chance.random() < 0.1
        legs.append(Leg(way, ranks, faults, tampered, elsewhere))
    return tuple(legs)


def _inner_fault(chance: random.Random, settings: dict[str, Any], steps: int, way: str, ranks: int) -> Fault:
    step, rank = 1 + int(steps * chance.random() ** 1.5), chance.randrange(ranks)
    if chance.random() < 0.15:  # the disk is full for a while
        return Fault("fsync", chance.randint(1, 20), False, 0, "full", pause=chance.choice((1, 2, 3, 10, 10**6)))
    if way == "mortals" and chance.random() < 0.8:  # dies in an MPI call; a step has about CALLS of them
        return Fault("call", 1 + int((steps + 20) * CALLS * chance.random() ** 1.5), False, rank, "death")
    return Fault("step", step, True, rank, chance.choice((*STOPS, "SIGUSR1")))


def _fault(chance: random.Random, settings: dict[str, Any], steps: int, way: str, ranks: int) -> Fault:
    epochs = settings["epochs"]
    places = (
        *((place, 10, 1 + int(steps * chance.random() ** 1.5)) for place in EVERY_STEP),
        *((place, 4, chance.randint(1, 4 * epochs)) for place in EVERY_EPOCH),
        *((place, 2, 1) for place in ONCE),
        (HEALING, 4, chance.randint(1, 2)),
    )
    place, _, count = chance.choices(places, [weight for _, weight, _ in places])[0]
    target, signals = "self", OF_RANKS[way]
    if way != ALONE and chance.random() < 0.25:
        target, signals = "mpirun", OF_MPIRUN[way]
        if way in LAUNCH and chance.random() < 0.6:
            target, signals = "launch", OF_LAUNCH
    return Fault(
        place,
        count,
        after=chance.random() < 0.5,
        rank=0 if place in ROOT_ONLY else chance.randrange(ranks),
        signal=chance.choice([signal for signal in signals if signal != "hang" or ranks > 1]),  # who would notice?
        target=target,
        delay=chance.choice([0.0, 0.0, chance.uniform(0, 0.05)]),
        pause=chance.uniform(0.05, 1.0),
    )
