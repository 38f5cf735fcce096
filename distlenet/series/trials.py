"""Many runs, one after the other: the engine of ``repeat`` and ``compare``.

Each run has its own directory and could also be resumed by ``distlenet train``. The same command resumes an interrupted
series: finished runs are kept, and an unfinished run resumes from its checkpoint.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from distlenet.config import Config, changes
from distlenet.data.file.dataset_file import open_digit_file
from distlenet.errors import DistlenetError, NonFiniteError, RunDirectoryError
from distlenet.parallel import Communicator
from distlenet.parallel.agreement import in_agreement, on_root
from distlenet.recipes import build_config
from distlenet.runs.directory import RunDirectory
from distlenet.runs.experiment import RunOptions
from distlenet.runs.rank_comparison import Fact, compare_ranks, of_dataset, of_package, of_settings
from distlenet.runs.record import read_summary
from distlenet.runs.session import Session
from distlenet.series.outcome import Outcome, is_over, read_outcome
from distlenet.training.events import Listener
from distlenet.training.signals import Signals
from distlenet.trust import source_sha256


@dataclass(frozen=True)
class Trial:
    """One run of the series."""

    setting: str  # its row in the table
    seed: int
    options: RunOptions

    @property
    def config(self) -> Config:
        """The settings; raises ConfigError."""
        return build_config(self.options.recipe, self.options.config_file, self.options.flags)


def run_series(
    trials: Sequence[Trial],
    comm: Communicator,
    signals: Signals,
    make_listeners: Callable[[Trial], list[Listener]],
    tell: Callable[[Outcome, bool], None],
) -> int:
    """Train ``trials`` in order with all ranks; return the exit code, which is not 0 if a signal ended the series.

    ``make_listeners`` returns the root's listeners for a trial. ``tell`` is called on the root for each finished run,
    with its outcome and whether it was finished before. A run with non-finite numbers counts as finished; any other
    failure ends the series.
    """
    with in_agreement(comm):  # refuse bad settings before the first run
        plans = [plan(trial) for trial in trials]
    for trial, todo in zip(trials, comm.broadcast(plans), strict=True):
        if todo != "keep":
            resume = "auto" if todo == "resume" else None
            options = replace(trial.options, resume=resume)
            try:
                code = Session(options, comm, signals, partial(make_listeners, trial)).run()
            except NonFiniteError as error:
                if not error.agreed:
                    raise
                code = 0
            if code:
                return code
        on_root(comm, partial(tell_of, trial, todo == "keep", tell))
    return 0


def tell_of(trial: Trial, kept: bool, tell: Callable[[Outcome, bool], None]) -> None:
    """Call ``tell`` with the outcome of ``trial``."""
    if outcome := read_outcome(trial.setting, trial.seed, trial.options.run_directory):
        tell(outcome, kept)


def run_in_teams(
    trials: Sequence[Trial],
    teams: int,
    comm: Communicator,
    signals: Signals,
    make_listeners: Callable[[Trial], list[Listener]],
    tell: Callable[[Outcome, bool], None],
) -> int:
    """Like run_series, but the ranks form ``teams`` (1 to the number of ranks) groups that train different trials.

    The bits of a run do not depend on the number of ranks, so the results are the same.
    """
    compare_trials(trials, teams, comm)
    if teams == 1:
        return run_series(trials, comm, signals, make_listeners, tell)
    team, own = comm.split(teams)
    code, failure = 0, None
    try:
        code = run_series(trials[team::teams], own, signals, make_listeners, tell)
    except DistlenetError as error:
        if not error.agreed:  # the other ranks of the team do not know about it: end the job
            raise
        failure = error
    with in_agreement(comm):  # waits for the other teams to finish their trials
        if failure:
            raise failure
    return max(comm.allgather(code))


def compare_trials(trials: Sequence[Trial], teams: int, comm: Communicator) -> None:
    """Raise an error if the ranks differ, including ranks of different teams.

    Each run compares its ranks again, and then its network's code too.
    """
    if comm.size == 1:
        return
    with in_agreement(comm):
        configs = [trial.config for trial in trials]
        with open_digit_file(trials[0].options.data) as digits:
            data = of_dataset(digits)
    runs = [Fact("runs", [[trial.setting, trial.seed, trial.options.run_directory] for trial in trials])]
    for trial, config in zip(trials, configs, strict=True):
        settings = {fact.what: fact.value for fact in of_settings(config)}
        runs.append(Fact(f"{trial.setting} of seed {trial.seed} with the", settings))
    compare_ranks(comm, lambda: [*of_package(), Fact("option side-by-side", teams), *runs, *data])


def plan(trial: Trial) -> str:
    """Return how to proceed with a run: "keep", "resume" or "start".

    Raises RunDirectoryError if it is finished, but had other settings than ``trial``; ConfigError.
    """
    options, config = trial.options, trial.config
    directory = Path(options.run_directory)
    summary = read_summary(directory / "summary.json", [])
    if not is_over(summary):
        return "resume" if RunDirectory(directory).holds_run() else "start"
    before = build_config(file=directory / "config.toml")
    differ = [f"{name} = {old!r}, now {new!r}" for name, old, new, decisive in changes(before, config) if decisive]
    if summary.get("fingerprint") != open_digit_file(options.data).fingerprint:
        differ.append(f"another dataset than {options.data}")
    own = summary.get("own_code")
    codes = {"model": summary.get("code_sha256")} | (own if isinstance(own, dict) else {})
    for setting, name in config.code.items():
        code = codes.get(setting)
        if code and code != source_sha256(name):
            differ.append(f"an older version of the code in {name}")
    if differ:
        raise RunDirectoryError(
            f"{directory} holds a run with {'; '.join(differ)}: choose another --run, or remove that directory"
        )
    return "keep"


def read_outcomes(trials: Sequence[Trial]) -> list[Outcome]:
    """Return the outcomes of the finished ``trials``."""
    outcomes = [read_outcome(trial.setting, trial.seed, trial.options.run_directory) for trial in trials]
    return [outcome for outcome in outcomes if outcome is not None]
