"""Fits the combiner of an item's features; scikit-learn is imported only when it is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from pipelines.calibration.combiner import Combiner, Term
from pipelines.calibration.features import MISSING

# scikit-learn's C: half the squared length of the weights, which are per standard deviation, is added to the log loss.
_INVERSE_PENALTY = 1.0


def fit_combiner(rows: Sequence[Mapping[str, float]], is_acceptable: np.ndarray, *, weights: np.ndarray) -> Combiner:
    """L2-penalised logistic regression on standardised features.

    A feature that a row lacks counts as its mean, beside its ``missing_`` column, which is 1. Columns that never change
    tell nothing and are left out.

    Args:
        rows: what ``features`` gave for each item.
        is_acceptable: (n,) bool, both kinds occur.
        weights: (n,) > 0, whose sum is the effective number of items.
    """
    from sklearn.linear_model import LogisticRegression

    terms, columns = dict[str, Term](), list[np.ndarray]()
    for name in dict.fromkeys(name for row in rows for name in row):
        values = np.array([row.get(name, 0.0 if name.startswith(MISSING) else np.nan) for row in rows])
        term = _unweighted(values, weights)
        if term.scale > 0.0:
            terms[name] = term
            columns.append(np.nan_to_num((values - term.mean) / term.scale))
    if not terms:
        share = float(np.average(is_acceptable, weights=weights))
        return Combiner(intercept=float(np.log(share / (1.0 - share))), terms={})
    model = LogisticRegression(C=_INVERSE_PENALTY, solver="newton-cholesky", tol=1e-8)
    model.fit(np.column_stack(columns), is_acceptable, sample_weight=weights)  # (n, features)
    return Combiner(
        intercept=float(np.ravel(model.intercept_)[0]),
        terms={
            name: _weighted(term, by) for (name, term), by in zip(terms.items(), np.ravel(model.coef_), strict=True)
        },
    )


def _unweighted(values: np.ndarray, weights: np.ndarray) -> Term:
    is_known = ~np.isnan(values)
    known, of_known = values[is_known], weights[is_known]
    mean = float(np.average(known, weights=of_known))
    spread = float(np.sqrt(np.average(np.square(known - mean), weights=of_known)))
    low, high = float(known.min()), float(known.max())
    return Term(weight=0.0, mean=mean, scale=spread if low < high else 0.0, low=low, high=high)


def _weighted(term: Term, weight: float) -> Term:
    return Term(weight=float(weight), mean=term.mean, scale=term.scale, low=term.low, high=term.high)
