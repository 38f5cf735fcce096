"""The table of growth: small sets, a few steps; measured values are not judged."""

from distlenet.bench import growth
from distlenet.bench import timing as jobs


def test_a_table_of_sizes_and_limits(tmp_path, capsys):
    arguments = ["--sizes", "600", "1200", "--memory-limits", "0", "1", "--ranks", "1", "--steps", "4", "--rounds", "1"]
    assert jobs.as_program(growth.configure, growth.run, None, [*arguments, "--cold", "--folder", str(tmp_path)]) == 0
    head, _, *rows = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    assert [row[:3] for row in rows] == [
        ["600", "0", "streamed"],
        ["600", "1", "in memory"],
        ["1,200", "0", "streamed"],
        ["1,200", "1", "in memory"],
    ]
    for row in rows:
        assert len(row) == len(head) and all(float(figure) > 0 for figure in row[3:])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["growth-1200.h5", "growth-600.h5"]
