"""The results of a scaling study: speed-up, efficiency, the fit of a law, the cost model's prediction, same bits."""

import csv
import io
from collections.abc import Mapping
from statistics import median
from typing import Any

import numpy as np

from distlenet.bench.costfit import positive
from distlenet.bench.scaling import COMPUTE, FLOATS, Plan, exchanging, nodes, wire
from distlenet.series.table import Rows
from distlenet.streams import clean

HEAD = ("ranks", "images/s", "least - most", "speed-up", "efficiency", "exchange", "MiB/rank", "start, s", "same bits")
COLUMNS = (
    *("ranks", "rounds", "images_per_second", "least", "most", "speedup", "efficiency", "fitted", "predicted"),
    *("reduce_share", "memory_mib", "start_seconds", "oversubscribed", "same_bits", "theta_sha256", "failure"),
)
NETWORK = "10 Gbit/s"  # that the prediction assumes between hosts


def summarize(facts: dict[str, Any], jobs: Mapping[tuple[int, int], dict[str, Any]]) -> dict[str, Any]:
    """Return title, one row for each number of ranks, and the fit, as JSON values.

    ``jobs``: the figures by ranks and round, see study.py. Speed-up is that of images/s compared with the least number
    of ranks, which counts as itself. Efficiency is speed-up divided by ranks.
    """
    by_ranks: dict[int, list[dict[str, Any]]] = {}
    for (ranks, _), job in sorted(jobs.items()):
        by_ranks.setdefault(ranks, []).append(job)
    rows = [_row(ranks, found) for ranks, found in by_ranks.items()]
    measured = [row for row in rows if row["images_per_second"]]
    whole: dict[str, Any] = {"title": title(facts), "mode": facts["mode"], "rows": rows, "fit": None}
    if not measured:
        return whole
    base, kind = measured[0], next(job["memory_kind"] for job in by_ranks[measured[0]["ranks"]] if "memory_kind" in job)
    whole["memory_kind"] = kind
    inside = {row["ranks"]: row["images_per_second"] for row in measured if not row["oversubscribed"]}
    hashes = {n: [job["theta_sha256"] for job in found if "theta_sha256" in job] for n, found in by_ranks.items()}
    whole["fit"] = law = fit(inside, facts["mode"] == "weak")
    for row in measured:
        ranks = row["ranks"]
        row["speedup"] = base["ranks"] * row["images_per_second"] / base["images_per_second"]
        row["efficiency"] = row["speedup"] / ranks
        row["fitted"] = None if law is None else speedup(law, ranks, base["ranks"])
        job = next(job for job in by_ranks[ranks] if "parameters" in job)
        rate = predict(facts, base, ranks, job)
        row["predicted"] = base["ranks"] * rate / base["images_per_second"]
        row["same_bits"] = same_bits(facts, hashes, ranks)
    return whole


def same_bits(facts: dict[str, Any], hashes: Mapping[int, list[str]], ranks: int) -> bool | None:
    """Return whether the jobs on ``ranks`` ranks ended with the right parameters; None if there is nothing to compare.

    ``hashes``: ranks -> ``theta_sha256`` of each round. With strong scaling all must be equal. With weak scaling each
    number of ranks has its own batches, so only rounds are compared.
    """
    others = [each for found in hashes.values() for each in found] if facts["mode"] == "strong" else hashes[ranks]
    return set(hashes[ranks]) == {others[0]} if len(others) > 1 else None


def _row(ranks: int, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the row of ``ranks`` ranks, as far as it depends on their own jobs alone."""
    good = [job for job in found if "failure" not in job]
    row: dict[str, Any] = dict.fromkeys(COLUMNS)
    row |= {"ranks": ranks, "rounds": len(good), "oversubscribed": any(ranks > job["cores"] for job in found)}
    row["failure"] = next((str(job["failure"]) for job in found if "failure" in job), None)
    if good:
        rates = [float(job["images_per_second"]) for job in good]
        row |= {"images_per_second": median(rates), "least": min(rates), "most": max(rates)}
        row |= {name: median(float(job[name]) for job in good) for name in ("reduce_share", "start_seconds")}
        row["memory_mib"] = round(max(job["memory"] for job in good) / 2**20, 1)
        row["theta_sha256"] = str(good[0]["theta_sha256"])
    return row


def title(facts: dict[str, Any]) -> str:
    """Return the title: the training and the machine."""
    each = " on each rank" if facts["mode"] == "weak" else ""
    return clean(
        f"{facts['model']} on {facts['dataset']}, {facts['mode']} scaling: batch {facts['batch_size']} in "
        f"{facts['shards']} shards{each}, {facts['steps']} steps after {facts['warm_up']} to warm up; {facts['cpu']}, "
        f"{facts['kernel']} kernel"
    )


def fit(rates: Mapping[int, float], weak: bool) -> dict[str, Any] | None:
    """Return the serial share of a step, by least squares of relative errors; None for fewer than two numbers of ranks.

    ``rates``: ranks -> images/s. Strong scaling: Amdahl's law, the time of an image is serial + parallel / ranks. Weak
    scaling: Gustafson's law, images/s are serial + parallel * ranks.
    """
    if len(rates) < 2:
        return None
    ranks, values = np.array(list(rates), float), np.array(list(rates.values()))
    targets, grown = (values, ranks) if weak else (1 / values, 1 / ranks)
    serial, parallel = positive(np.stack([1 / targets, grown / targets], axis=1), np.ones(len(ranks)))
    law = "Gustafson" if weak else "Amdahl"
    return {"law": law, "serial_share": serial / (serial + parallel), "numbers_of_ranks": len(rates)}


def speedup(law: dict[str, Any], ranks: float, base: int = 1) -> float:
    """Return the speed-up on ``ranks`` ranks by the fitted ``law``; ``base`` ranks have a speed-up of ``base``."""
    share = law["serial_share"]

    def of_one(count: float) -> float:
        return share + (1 - share) * count if law["law"] == "Gustafson" else 1 / (share + (1 - share) / count)

    return base * of_one(ranks) / of_one(base)


def predict(facts: dict[str, Any], base: dict[str, Any], ranks: int, job: dict[str, Any]) -> float:
    """Return the images/s on ``ranks`` ranks by the cost model, from those measured on the least number, ``base``.

    A step without its exchange is divided as the leaves are; additions, update and exchange are those of the model,
    in proportion to the number of parameters. Ranks that share cores take turns.
    """
    floats = job["parameters"] + FLOATS % 100  # about the tail of the bus
    size = floats / FLOATS

    def model(count: int, leaf: float) -> tuple[Plan, float]:
        """Return the plan on ``count`` ranks, and the seconds of a step whose leaves take ``leaf`` seconds each."""
        times = count if facts["mode"] == "weak" else 1
        hosts = job["hosts"] if count == ranks else 1
        plan = Plan(count, times * facts["shards"], times * facts["batch_size"], -(-count // hosts))
        additions = plan.leaves - nodes(range(plan.leaves), plan.shards)
        own = size * (COMPUTE.fixed + additions * COMPUTE.addition) + plan.leaves * leaf
        return plan, max(1.0, count / job["cores"]) * (own + exchanging(plan, wire(NETWORK), floats=floats))

    first, rest = model(base["ranks"], 0.0)
    leaf = max(0.0, (first.batch / base["images_per_second"] - rest) / first.leaves)
    plan, seconds = model(ranks, leaf)
    return plan.batch / seconds


def make_rows(results: dict[str, Any]) -> Rows:
    """Return the table as text, the head first."""
    rows = [list(HEAD)]
    for row in results["rows"]:
        ranks = f"{row['ranks']}{' *' * row['oversubscribed']}"
        if not row["images_per_second"]:
            rows.append([ranks, "failed", *["-"] * (len(HEAD) - 2)])
            continue
        rows.append(
            [
                ranks,
                f"{row['images_per_second']:,.0f}",
                f"{row['least']:,.0f} - {row['most']:,.0f}",
                f"{row['speedup']:.2f}",
                f"{100 * row['efficiency']:.0f} %",
                f"{100 * row['reduce_share']:.1f} %",
                f"{row['memory_mib']:.0f}",
                f"{row['start_seconds']:.1f}",
                {True: "yes", False: "NO", None: "-"}[row["same_bits"]],
            ]
        )
    return rows


def remarks(results: dict[str, Any]) -> list[str]:
    """Return the sentences below the table."""
    rows, law = results["rows"], results["fit"]
    found = [f"{row['ranks']} ranks failed: {clean(row['failure'])}" for row in rows if row["failure"]]
    if any(row["oversubscribed"] for row in rows):
        found.append("* more ranks than cores: they take turns, and are left out of the fit")
    if law:
        share, count = law["serial_share"], law["numbers_of_ranks"]
        limit = f", so at most {1 / share:,.0f} times as fast" if law["law"] == "Amdahl" and share > 1e-4 else ""
        exact = " (two determine the law: more would test it)" if count == 2 else ""
        found.append(f"{law['law']}'s law from {count} numbers of ranks{exact}: {100 * share:.1f} % serial{limit}")
    if results.get("memory_kind") == "peak RSS":
        found.append("memory is the peak of RSS, which counts shared pages in every rank: there is no PSS here")
    unlike = [str(row["ranks"]) for row in rows if row["same_bits"] is False]
    if unlike:
        found.append(f"THE BITS DIFFER after the same steps, on {', '.join(unlike)} ranks")
    return found


def as_csv(results: dict[str, Any]) -> str:
    """Return the rows as CSV, with a head; an unknown value is empty."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(results["rows"])
    return text.getvalue()
