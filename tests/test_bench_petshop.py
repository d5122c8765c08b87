"""The bench of blame over PetShop's layout, with an issue that a test wrote."""

import csv
import gzip
import io
import json

import numpy as np

from bench import petshop
from bench.petshop_data import read_folder

NODES = ("Site", "Search", "Pay", "Pay_remote")
METRICS = (("latency", "Average"), ("requests", "Sum"), ("availability", "Average"))


def table(rows, first_s, slow=()):
    rng = np.random.default_rng(rows)
    columns = [(n, *m) for m in METRICS for n in NODES]
    out = [["", *(c[i] for c in columns)] for i in range(3)]
    out.append(["unix_timestamp", *[""] * len(columns)])
    for t in range(rows):
        usual = {"latency": 0.05, "requests": 900.0, "availability": 100.0}
        noise = np.exp(rng.normal(0.0, 0.05, len(columns)))
        values = [
            min(usual[m] * e, 100.0 if m == "availability" else 1e9)
            for (_, m, _), e in zip(columns, noise, strict=True)
        ]
        for k, (node, metric, _) in enumerate(columns):
            if metric == "latency" and t in slow and node in ("Site", "Search"):
                values[k] *= 3.0 if node == "Site" else 6.0
        out.append([first_s + 300 * t, *values])
    text = io.StringIO()
    csv.writer(text).writerows(out)
    return text.getvalue()


def test_issues_are_ranked_by_scenario_and_kind(tmp_path, capsys):
    with gzip.open(tmp_path / "calm_noissue_metrics_5min.csv.gz", "wt", newline="") as file:
        file.write(table(120, 0))
    issue = tmp_path / "train" / "calm" / "issue_0"
    issue.mkdir(parents=True)
    (issue / "metrics.csv").write_text(table(5, 900_000, slow=(1, 2, 3)))
    target = {"target": {"node": "Site", "metric": "latency", "timestamp": 900_400}, "root_cause": {"node": "Search"}}
    (issue / "target.json").write_text(json.dumps(target))
    (mine,) = read_folder(tmp_path)
    assert mine.began - mine.base == 1
    assert mine.cause == "Search"
    assert petshop.main(["--data", str(tmp_path)]) == 0
    recall = json.loads(capsys.readouterr().out)["detail"]["recall"]
    assert recall["blame"]["calm, latency"] == {"recall@1": 1.0, "recall@3": 1.0, "recall@5": 1.0, "issues": 1}
    assert 0.2 < recall["random"]["all"]["recall@1"] < 0.5


def test_a_folder_without_issues_is_said(tmp_path, capsys):
    assert petshop.main(["--data", str(tmp_path)]) == 1
    assert "target.json" in capsys.readouterr().err
