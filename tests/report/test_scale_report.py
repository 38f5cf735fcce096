"""The page of a scaling study, with its figures."""

import re

import pytest

from distlenet.bench.study_results import make_rows, remarks, summarize
from distlenet.report.scale import write_study_report
from distlenet.runs.ours import is_report

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")
FACTS = {
    **{"mode": "strong", "model": "net_$x$.py:<b>", "dataset": "MNIST", "batch_size": 256, "shards": 8},
    **{"steps": 20, "warm_up": 5, "cpu": "a CPU", "kernel": "Haswell"},
}
JOB = {
    **{"reduce_share": 0.02, "memory": 3 * 2**20, "memory_kind": "PSS", "hosts": 1, "theta_sha256": "a"},
    **{"parameters": 61_706, "start_seconds": 1.0, "cores": 2},
}


def write(out, jobs):
    results = summarize(FACTS, jobs)
    return write_study_report(out, results, make_rows(results), remarks(results))


def test_page_and_figures(tmp_path):
    jobs = {(ranks, turn): JOB | {"images_per_second": 90.0 * ranks + turn} for ranks in (1, 2, 4) for turn in (1, 2)}
    written = write(tmp_path, jobs | {(8, 1): {"failure": "no <room>", "exit_code": 7, "cores": 2}})
    page = written.page.read_text()
    assert {path.name for path in tmp_path.iterdir()} == {
        *("report.html", "speedup.svg", "efficiency.svg", "scaling.png")
    }
    assert all(is_report(path) for path in tmp_path.iterdir())
    assert "8 ranks failed: no &lt;room&gt;" in page and "<b>" not in page
    assert all(word in page for word in ("ideal", "measured", "cost model", "Amdahl", "4 *"))
    assert len(re.findall("<svg", page)) == 2
    write(tmp_path, jobs)  # replaces its own files


def test_a_study_without_a_figure(tmp_path):
    page = write(tmp_path, {(2, 1): {"failure": "no room", "exit_code": 7, "cores": 2}}).page.read_text()
    assert "2 ranks failed: no room" in page and "<svg" not in page
