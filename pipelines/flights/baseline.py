"""Score a logistic regression on the rows and the features that the network gets."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow.parquet as pq
import sklearn
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder
from threadpoolctl import threadpool_limits

from pipelines.flights.record import Baseline, write_baseline
from pipelines.flights.transforms import CATEGORIES, LABEL, Features

if TYPE_CHECKING:
    from collections.abc import Sequence

logger = logging.getLogger(__name__)

FILE = "baseline.json"
# As in jobs/flights.yaml.
MIN_COUNT = 100
# The strength of the penalty hardly matters with so many rows: trained on January to July and
# checked on August and September, C from 0.1 to 10 gives the same area to three digits.
C = 1.0
# Far more than it takes: not to have converged is an error.
MAX_ITERATIONS = 5000


def make_baseline(data: Path) -> Baseline:
    """Fit on `data`/train, score on `data`/validation.

    Raises:
        RuntimeError: the fit did not converge.
    """
    train, validation = read_columns(data / "train"), read_columns(data / "validation")
    features = Features(min_count=MIN_COUNT)
    features.load(features.fit([features.measure(train)]))
    model = make_model()
    # On rows this sparse more threads mostly wait for each other: far longer where cores are busy.
    with threadpool_limits(1):
        model.fit(side_by_side(features(train)), train[LABEL])
    iterations = int(model[-1].n_iter_[0])
    if iterations >= MAX_ITERATIONS:
        raise RuntimeError(f"the logistic regression did not converge in {iterations} iterations")
    late = validation[LABEL]
    chances = model.predict_proba(side_by_side(features(validation)))[:, 1]
    return Baseline(
        auc=float(roc_auc_score(late, chances)),
        log_loss=float(log_loss(late, chances)),
        base_rate=float(late.mean()),
        rows=len(late),
        late=int(late.sum()),
        settings={
            "model": "LogisticRegression",
            "scikit-learn": sklearn.__version__,
            "C": C,
            "iterations": iterations,
            "min_count": MIN_COUNT,
            "train_rows": len(train[LABEL]),
            "train_base_rate": float(train[LABEL].mean()),
        },
    )


def read_columns(folder: Path) -> dict[str, np.ndarray]:
    """All rows of a split, as the transforms get them."""
    table = pq.read_table(folder)
    return {name: np.asarray(table[name].to_numpy()) for name in table.column_names}


def make_model() -> Pipeline:
    """The numbers as they are, and a column of its own for each code of each category."""
    codes = slice(-len(CATEGORIES), None)
    columns = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), codes), remainder="passthrough"
    )
    return make_pipeline(columns, LogisticRegression(C=C, tol=1e-5, max_iter=MAX_ITERATIONS))


def side_by_side(batch: dict[str, np.ndarray]) -> np.ndarray:
    """Numbers and codes in one array, the codes last."""
    return np.concatenate([batch["numbers"], batch["codes"]], axis=1, dtype=np.float64)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line, score the baseline, say how it did."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.flights.baseline", description=__doc__
    )
    parser.add_argument("--data", type=Path, default=Path("data/flights"), help="prepared folder")
    data: Path = parser.parse_args(argv).data
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    baseline = make_baseline(data)
    write_baseline(baseline, data / FILE)
    logger.info(
        "flights: a logistic regression reaches an area of %.4f on %s rows, %.1f%% of them late",
        baseline.auc,
        f"{baseline.rows:,}",
        100 * baseline.base_rate,
    )


if __name__ == "__main__":
    main()
