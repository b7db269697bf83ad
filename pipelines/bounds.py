"""Bounds an error rate from counted errors, exactly and one-sided."""

from __future__ import annotations

import math
import operator
from typing import overload

import numpy as np

from pipelines.errors import InvalidRequestError

_STEPS = 60  # of a bisection of [0, 1]: to the last digit of a float


def upper_bound(errors: int, n: int, *, delta: float) -> float:
    """The error rate that these counts rule out with probability 1 - delta: the truth is at most this.

    Clopper and Pearson (1934), one-sided: the rate at which so few errors have probability delta.

    Args:
        errors: 0 … n, counted among n independent items.
        n: 0 or more; from no items nothing is known, and the bound is 1.
        delta: in (0, 1).

    Raises:
        InvalidRequestError: the counts or delta are impossible.
    """
    from scipy.stats import beta

    errors, n = _counts(errors, n)
    require_probability("delta", delta)
    return 1.0 if errors == n else float(beta.ppf(1.0 - delta, errors + 1, n - errors))


def lower_bound(errors: int, n: int, *, delta: float) -> float:
    """The truth is at least this with probability 1 - delta. Arguments and errors as for ``upper_bound``."""
    from scipy.stats import beta

    errors, n = _counts(errors, n)
    require_probability("delta", delta)
    return 0.0 if errors == 0 else float(beta.ppf(delta, errors, n - errors + 1))


@overload
def p_value(errors: int, n: int, *, alpha: float) -> float: ...
@overload
def p_value(errors: np.ndarray, n: np.ndarray | int, *, alpha: float) -> np.ndarray: ...
def p_value(errors: int | np.ndarray, n: int | np.ndarray, *, alpha: float) -> float | np.ndarray:
    """The probability of so few errors if the error rate were alpha; small speaks for a rate below alpha.

    P(Bin(n, alpha) ≤ errors), from the counts themselves: a count that went through a ratio comes back off by one
    for many pairs. At most delta where ``upper_bound`` is at most alpha.

    Args:
        errors: integers 0 … n, of any shape.
        n: integers of the same shape, or one for all.
        alpha: in (0, 1).

    Raises:
        InvalidRequestError: the counts are no integers or impossible, or alpha is.
    """
    from scipy.stats import binom

    require_probability("alpha", alpha)
    if isinstance(errors, np.ndarray):
        if errors.dtype.kind not in "iu":
            raise InvalidRequestError("invalid_argument", f"errors must be integers, for exact p; got {errors.dtype}")
        _check_arrays(errors, n)
        return binom.cdf(errors, n, alpha)
    return float(binom.cdf(*_counts(errors, n), alpha))  # refuses an array of n beside one count


@overload
def hoeffding_bentkus_p(total_loss: float, n: int, *, alpha: float) -> float: ...
@overload
def hoeffding_bentkus_p(total_loss: np.ndarray, n: np.ndarray | int, *, alpha: float) -> np.ndarray: ...
def hoeffding_bentkus_p(total_loss: float | np.ndarray, n: int | np.ndarray, *, alpha: float) -> float | np.ndarray:
    """A p-value for graded losses in [0, 1]; small speaks for a mean below alpha. Never below ``p_value``'s.

    min(exp(-n·h(min(r, alpha), alpha)), e·P(Bin(n, alpha) ≤ ⌈total_loss⌉)) with r = total_loss / n and h the relative
    entropy: Bates et al., Distribution-free, risk-controlling prediction sets (2021), section 3.1. For losses that are
    0 or 1 alone the factor e is not needed: use ``p_value``.

    Args:
        total_loss: the sum of n independent losses, 0 … n, of any shape.
        n: integers of the same shape, or one for all; from no items nothing is known, and p is 1.
        alpha: in (0, 1).

    Raises:
        InvalidRequestError: a total lies outside 0 … n, or alpha is impossible.
    """
    from scipy.stats import binom

    require_probability("alpha", alpha)
    totals, counts = np.broadcast_arrays(np.asarray(total_loss, dtype=float), np.asarray(n))
    _check_arrays(totals, counts)
    rates = np.divide(totals, counts, out=np.ones_like(totals), where=counts > 0)
    hoeffding = np.exp(-counts * _relative_entropy(np.minimum(rates, alpha), alpha))
    bentkus = math.e * binom.cdf(np.ceil(totals), counts, alpha)
    p = np.minimum(1.0, np.minimum(hoeffding, bentkus))
    return p if isinstance(total_loss, np.ndarray) else float(p)


def hoeffding_bentkus_upper_bound(total_loss: float, n: int, *, delta: float) -> float:
    """The mean loss is at most this with probability 1 - delta: where ``hoeffding_bentkus_p`` falls to delta.

    Raises:
        InvalidRequestError: the total lies outside 0 … n, or delta is impossible.
    """
    require_probability("delta", delta)
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if hoeffding_bentkus_p(total_loss, n, alpha=middle) <= delta:
            high = middle
        else:
            low = middle
    return high


def zero_error_n(alpha: float, delta: float) -> int:
    """How many items without an error show that the error rate is at most alpha: the fewest that ever can.

    Args:
        alpha: in (0, 1), the error rate.
        delta: in (0, 1), the probability of being wrong about it.

    Raises:
        InvalidRequestError: alpha or delta is impossible.
    """
    require_probability("alpha", alpha)
    require_probability("delta", delta)
    n = max(1, math.ceil(math.log(delta) / math.log1p(-alpha)) - 1)  # the quotient may be off in its last digit
    while p_value(0, n, alpha=alpha) > delta:
        n += 1
    return n


def require_probability(name: str, value: float) -> None:
    """Refuse what is no probability strictly between 0 and 1."""
    if not 0.0 < value < 1.0:
        raise InvalidRequestError("invalid_argument", f"{name} must be between 0 and 1, both excluded; got {value}")


def _counts(errors: object, n: object) -> tuple[int, int]:
    try:
        wrong, items = operator.index(errors), operator.index(n)  # type: ignore[arg-type]
    except TypeError as err:
        raise InvalidRequestError(
            "invalid_argument", f"errors and n must be integers, for exact bounds; got {errors!r} and {n!r}"
        ) from err
    if not 0 <= wrong <= items:
        raise InvalidRequestError("invalid_argument", f"errors must be from 0 to n; got {errors} of n = {n}")
    return wrong, items


def _check_arrays(totals: np.ndarray, n: np.ndarray | int) -> None:
    counts = np.asarray(n)
    if counts.dtype.kind not in "iu":
        raise InvalidRequestError("invalid_argument", f"n must be integers; got {counts.dtype}")
    if not np.all((totals >= 0) & (totals <= counts)):
        raise InvalidRequestError("invalid_argument", "errors must be from 0 to n; at least one is not")


def _relative_entropy(rate: np.ndarray, alpha: float) -> np.ndarray:
    """KL divergence of Bernoulli(rate) from Bernoulli(alpha)."""
    from scipy.special import xlogy

    return xlogy(rate, rate / alpha) + xlogy(1.0 - rate, (1.0 - rate) / (1.0 - alpha))
