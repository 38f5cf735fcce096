"""The serial communicator, and the common properties of both communicators."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

from distlenet.errors import ConfigError, DataError
from distlenet.parallel import Communicator, Serial
from distlenet.parallel.agreement import all_or_nothing, in_agreement

METHODS = [name for name, value in vars(Communicator).items() if inspect.isfunction(value) and name[0] != "_"]
COLLECTIVES = set(METHODS) - {"abort", "drop", "leave", "recover", "split"}


def test_has_exactly_the_methods_of_the_protocol():
    own = {name for name, value in vars(Serial).items() if inspect.isfunction(value) and name[0] != "_"}
    assert own == set(METHODS) - {"is_root"}
    for name in own:
        expected = list(inspect.signature(getattr(Communicator, name)).parameters)
        assert list(inspect.signature(getattr(Serial, name)).parameters) == expected


def test_lost_ranks_are_reported_by_every_collective():
    """One that is not wrapped would raise an error of MPI, from which no run recovers."""
    file = Path(inspect.getfile(Communicator)).with_name("mpi_recovery.py")  # read, not imported: it loads MPI
    wrapped = re.findall(r"^    (\w+) = _reported\(MPICommunicator\.(\w+)\)$", file.read_text(), re.MULTILINE)
    assert all(name == method for name, method in wrapped)
    assert {name for name, _ in wrapped} == COLLECTIVES, "wrap each in _reported(...) in mpi_recovery.py"


def test_every_collective_is_tried_on_real_ranks():
    tried = Path(__file__).parents[1] / "jobs/collectives.py"
    assert set(re.findall(r"comm\.(\w+)\(", tried.read_text())) >= COLLECTIVES


def test_no_collective_of_mpi_itself_is_used():
    """Open MPI drops the messages of one that a lost rank interrupts: the survivors would wait forever."""
    folder = Path(inspect.getfile(Communicator)).parent
    used = {name for file in folder.glob("mpi*.py") for name in re.findall(r"_comm\.([A-Z]\w+)\(", file.read_text())}
    handled = {"Abort", "Get_errhandler", "Set_errhandler", "Revoke", "Shrink", "Split", "Dup"}
    assert used <= {"Send_init", "Ssend_init", "Recv_init", *handled}


def test_one_process():
    comm = Serial()
    assert (comm.rank, comm.size, comm.is_root) == (0, 1, True)
    assert comm.description == "one process"
    assert comm.broadcast({"a": [1, None]}) == {"a": [1, None]}
    assert comm.allgather("x") == ["x"]
    values = np.arange(3.0)
    comm.allreduce(values)
    comm.broadcast_array(values)
    assert values.tolist() == [0, 1, 2]
    assert comm.exchange_seconds == 0


def test_reduce_adds_all_leaves():
    comm, leaves = Serial(), np.arange(15, dtype=np.float32).reshape(5, 3)
    assert comm.allreduce_leaves(leaves.copy(), 5).tolist() == leaves.sum(axis=0).tolist()
    assert comm.allreduce_leaves(leaves[:1].copy(), 1).tolist() == [0, 1, 2]


def test_agreement_in_one_process():
    with in_agreement(Serial()):
        pass
    with pytest.raises(DataError, match="torn") as caught, in_agreement(Serial()):
        raise DataError("torn")
    assert caught.value.agreed


def test_bugs_are_not_agreed_errors():
    with pytest.raises(ZeroDivisionError), in_agreement(Serial()):
        _ = 1 / 0


@pytest.mark.parametrize("error", [ValueError("x"), ConfigError("x"), SystemExit(3), KeyboardInterrupt()])
def test_in_one_process_every_error_passes_unchanged(error, capfd):
    with pytest.raises(type(error)) as caught, all_or_nothing(Serial()):
        raise error
    assert caught.value is error
    assert capfd.readouterr() == ("", "")
