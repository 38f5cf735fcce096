"""Ranks agree on a failure, and one of them is lost meanwhile."""

import mortal
import pretend
import pytest

from distlenet.errors import DataError, RanksLost
from distlenet.parallel.agreement import in_agreement


@pytest.mark.parametrize("dies_at", [1, 2, 3])  # of the calls of rank 2 in the block
def test_a_rank_lost_inside_the_block_leaves_no_rank_waiting(dies_at):
    made = mortal.Job(3, {})

    def work(comm):
        before = made.calls[2]
        with in_agreement(comm):
            comm.broadcast("a" if comm.is_root else None)
        return before

    before = mortal.outcomes(made, work)[2]
    found = mortal.outcomes(mortal.Job(3, {2: before + dies_at}), work)
    assert type(found[2]) is mortal.Killed
    # the rank that notices it first raises RanksLost and ends the job, so that no rank keeps waiting
    assert RanksLost in map(type, found)
    assert pretend.Broken not in map(type, found), found


def test_an_error_of_one_rank_is_raised_on_all():
    def work(comm):
        with in_agreement(comm):
            if comm.rank == 1:
                raise DataError("torn")

    found = mortal.outcomes(mortal.Job(3, {}), work)
    assert [(type(error), error.agreed) for error in found] == [(DataError, True)] * 3
