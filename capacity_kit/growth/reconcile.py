"""Forecasts of the parts and of the whole made to agree.

Tenants and an unattributed rest add up to the system, and so must their forecasts. Each is moved in proportion to how
uncertain it is: weighted least squares with a diagonal covariance, which for two levels has a closed form [1]_.

References
----------
.. [1] Wickramasuriya, Athanasopoulos, Hyndman (2019), Optimal forecast reconciliation for hierarchical and grouped time
   series through trace minimization, JASA 114.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def reconcile(
    parts: Floats, whole: Floats, parts_variance: Floats, whole_variance: Floats
) -> tuple[Floats, Floats]:
    """Parts that add up to the whole, as near to both as their variances ask for, and none below zero.

    Minimises sum (x_i - parts_i)^2 / v_i + (sum x_i - whole)^2 / v_0, whose answer is
    x_i = parts_i + (whole - sum parts) v_i / (v_0 + sum v_i).

    Parameters
    ----------
    parts : ndarray, shape (parts, ...)
        In one unit with the whole: points, quantiles' medians, or sample paths.
    whole : ndarray, shape (...)
    parts_variance : ndarray, shape (parts, ...) or broadcast to it
        0 is certain: such a part stays as it is.
    whole_variance : ndarray, shape (...) or broadcast to it
        0 makes the parts follow the whole, infinity the whole the parts.

    Returns
    -------
    parts : ndarray, shape (parts, ...)
    whole : ndarray, shape (...)
        Their sum.
    """
    total = np.asarray(parts_variance).sum(axis=0) + whole_variance
    gap = whole - parts.sum(axis=0)
    share = np.divide(
        parts_variance, total, out=np.zeros(np.broadcast(parts_variance, total).shape), where=total > 0
    )
    agreed = np.maximum(parts + gap * share, 0)
    return agreed, agreed.sum(axis=0)
