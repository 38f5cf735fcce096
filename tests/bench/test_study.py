"""A scaling study's figures: laws with known answers, the prediction, same bits, tables; and its directory."""

import csv
import io
import json
from pathlib import Path

import pytest

from distlenet.bench import study as module
from distlenet.bench.scaling import Plan, computing
from distlenet.bench.study import RESULTS, Heard, Study, read_study
from distlenet.bench.study_results import HEAD, as_csv, fit, make_rows, remarks, speedup, summarize
from distlenet.config import Config
from distlenet.errors import RunDirectoryError

FACTS = {
    **{"mode": "strong", "model": "lenet5", "dataset": "MNIST", "batch_size": 256, "shards": 8},
    **{"steps": 20, "warm_up": 5, "cpu": "a CPU", "kernel": "Haswell"},
}


def figures(rate, **more):
    """Return the figures of a job of ``rate`` images/s on two cores."""
    found = {"images_per_second": rate, "reduce_share": 0.02, "memory": 3 * 2**20, "memory_kind": "PSS", "hosts": 1}
    return found | {"theta_sha256": "a", "parameters": 61_706, "start_seconds": 1.0, "cores": 2} | more


@pytest.mark.parametrize("weak", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.04, 0.5, 1.0])
def test_a_law_is_recovered_from_its_own_numbers(share, weak):
    law = {"law": "Gustafson" if weak else "Amdahl", "serial_share": share}
    found = fit({ranks: 1000 * speedup(law, ranks) for ranks in (1, 2, 3, 8)}, weak)
    assert found["law"] == law["law"] and found["numbers_of_ranks"] == 4
    assert found["serial_share"] == pytest.approx(share, abs=1e-9)


def test_the_laws_by_hand():
    assert speedup({"law": "Amdahl", "serial_share": 0.1}, 4) == pytest.approx(1 / (0.1 + 0.9 / 4))
    assert speedup({"law": "Gustafson", "serial_share": 0.1}, 4) == pytest.approx(0.1 + 0.9 * 4)
    assert speedup({"law": "Amdahl", "serial_share": 0.1}, 2, base=2) == 2  # the least number counts as itself
    assert fit({1: 5.0}, False) is None
    assert fit({1: 100.0, 2: 230.0, 4: 470.0}, False)["serial_share"] == 0  # more than ideal, from larger caches


def test_a_row_is_the_median_of_its_rounds():
    jobs = {(1, 1): figures(100.0), (1, 2): figures(90.0), (1, 3): figures(120.0), (2, 1): figures(150.0)}
    first, second = summarize(FACTS, jobs)["rows"]
    assert (first["images_per_second"], first["least"], first["most"], first["rounds"]) == (100, 90, 120, 3)
    assert (second["speedup"], second["efficiency"]) == (1.5, 0.75)
    assert first["same_bits"] is second["same_bits"] is True
    assert first["memory_mib"] == 3


def test_more_ranks_than_cores_are_marked_and_left_out_of_the_fit():
    jobs = {(ranks, 1): figures(rate) for ranks, rate in ((1, 100.0), (2, 160.0), (4, 100.0))}
    results = summarize(FACTS, jobs)
    assert [row["oversubscribed"] for row in results["rows"]] == [False, False, True]
    assert results["fit"]["serial_share"] == pytest.approx(0.25)
    assert results["rows"][2]["fitted"] == pytest.approx(1 / (0.25 + 0.75 / 4))
    assert make_rows(results)[3][0] == "4 *"
    assert any("take turns" in text for text in remarks(results))


def test_other_bits_are_reported():
    jobs = {(1, 1): figures(100.0), (2, 1): figures(150.0, theta_sha256="b")}
    results = summarize(FACTS, jobs)
    assert [row["same_bits"] for row in results["rows"]] == [True, False]
    assert [row[-1] for row in make_rows(results)] == ["same bits", "yes", "NO"]
    assert "THE BITS DIFFER" in remarks(results)[-1]
    weak = summarize(FACTS | {"mode": "weak"}, jobs)
    assert [row["same_bits"] for row in weak["rows"]] == [None, None]  # other batches: nothing to compare
    weak = summarize(FACTS | {"mode": "weak"}, jobs | {(2, 2): figures(150.0, theta_sha256="c")})
    assert weak["rows"][1]["same_bits"] is False


def test_a_prediction_divides_the_step_as_the_leaves_are():
    plan = Plan(1, 8, 256)
    jobs = {(1, 1): figures(256 / computing(plan))}
    jobs |= {(ranks, 1): figures(1.0, cores=8) for ranks in (2, 3, 4)}
    predicted = [row["predicted"] for row in summarize(FACTS, jobs)["rows"]]
    assert predicted[0] == pytest.approx(1)
    assert 1.8 < predicted[1] < 2 < predicted[2] < 8 / 3  # 3 ranks have 2 or 3 leaves of 8
    assert 3.2 < predicted[3] < 4
    weak = summarize(FACTS | {"mode": "weak"}, jobs)["rows"]
    assert 2.8 < weak[2]["predicted"] < 3  # each rank has its own 8
    shared = summarize(FACTS, {**jobs, (4, 1): figures(1.0, cores=2)})["rows"]
    assert shared[3]["predicted"] < 2


def test_a_failure_leaves_the_other_rows():
    failed = {"failure": "no room", "exit_code": 7, "cores": 2}
    results = summarize(FACTS, {(1, 1): figures(100.0), (2, 1): failed})
    assert make_rows(results) == [list(HEAD), make_rows(results)[1], ["2", "failed", *["-"] * 7]]
    assert "2 ranks failed: no room" in remarks(results)
    only = summarize(FACTS, {(2, 1): failed})
    assert only["fit"] is None and make_rows(only)[1][1] == "failed"


def test_csv_has_every_row():
    failed = {"failure": "no room", "exit_code": 7, "cores": 2}
    results = summarize(FACTS, {(1, 1): figures(100.0), (2, 1): failed})
    first, second = csv.DictReader(io.StringIO(as_csv(results)))
    assert float(first["images_per_second"]) == 100 and first["theta_sha256"] == "a" and first["failure"] == ""
    assert second["images_per_second"] == "" and second["failure"] == "no room"


def make_study(path: Path, **more) -> Study:
    fixed = {"steps": 4, "warm_up": 1, "weak": False, "cores": 2, "dataset": "d", "fingerprint": "f", "code": {}}
    return Study(path, "d.h5", Config(), **{"counts": (1, 2), "rounds": 2, **fixed, **more})


@pytest.fixture
def jobs(monkeypatch):
    """The numbers of ranks of the jobs that studies run; 3 ranks fail, and 9 are interrupted."""
    found: list[int] = []

    def run_job(self, ranks):
        found.append(ranks)
        codes = {3: 7, 9: 130}
        if ranks in codes:
            return {"failure": "no room", "exit_code": codes[ranks], "cores": 2}
        return figures(100.0 * ranks)

    monkeypatch.setattr(Study, "run_job", run_job)
    return found


def test_numbers_of_ranks_take_turns_and_a_failed_one_is_not_tried_again(tmp_path, jobs):
    told = []
    code, results = make_study(tmp_path / "s", counts=(1, 2, 3)).run(lambda *row: told.append((*row[:2], row[3])))
    assert jobs == [1, 2, 3, 1, 2]
    assert code == 7
    assert [row["failure"] for row in results["rows"]] == [None, None, "no room"]
    assert told == [(1, 1, False), (1, 2, False), (1, 3, False), (2, 1, False), (2, 2, False)]


def test_an_interrupted_study_is_resumed_and_a_finished_one_extended(tmp_path, jobs):
    assert make_study(tmp_path / "s", counts=(1, 9)).run(lambda *row: None)[0] == 130
    kept = []
    make_study(tmp_path / "s").run(lambda *row: kept.append(row[3]))
    make_study(tmp_path / "s", rounds=3).run(lambda *row: None)
    assert jobs == [1, 9, 2, 1, 2, 1, 2]
    assert kept == [True, False, False, False]
    assert {path.name for path in (tmp_path / "s").iterdir()} == {"scaling.json", "scaling.csv", "scaling.md"}


def test_a_failed_number_is_tried_again_by_the_next_start(tmp_path, jobs):
    for _ in range(2):
        assert make_study(tmp_path / "s", counts=(1, 3), rounds=1).run(lambda *row: None)[0] == 7
    assert jobs == [1, 3, 3]


def test_a_study_of_something_else_is_refused(tmp_path, jobs):
    make_study(tmp_path / "s").run(lambda *row: None)
    with pytest.raises(RunDirectoryError, match=r"a study with steps 4, now 5"):
        make_study(tmp_path / "s", steps=5).run(lambda *row: None)
    with pytest.raises(RunDirectoryError, match=r"code \{\}, now \{'net.py:build': 'x'\}"):
        make_study(tmp_path / "s", code={"net.py:build": "x"}).read()


def test_another_directory_is_refused(tmp_path):
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RunDirectoryError, match="not the directory of a scaling study: it has 'thesis.tex'"):
        make_study(tmp_path).read()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"facts": {}, "jobs": [{"ranks": 1, "round": 1}]}', '{"facts": 3, "jobs": [3]}']
)
def test_damaged_results_are_one_sentence(tmp_path, text):
    (tmp_path / RESULTS).write_text(text)
    with pytest.raises(RunDirectoryError, match=r"scaling\.json is not that of a scaling study"):
        read_study(tmp_path)


def test_a_job_is_heard():
    heard = Heard()
    heard.listen("distlenet launch: mpirun -n 2\n")
    heard.listen('{"own": 3}\n')
    assert not heard.found
    heard.listen(json.dumps({module.KEY: {"started": True}}))
    assert heard.first_step >= heard.started
    heard.listen("There are not enough slots available\n")
    heard.listen("-----\n")
    assert heard.reason(1) == "the job ended with exit code 1: There are not enough slots available"
    heard.listen("[rank 1/2] distlenet: error: no such file\n")
    assert heard.reason(4) == "no such file"
