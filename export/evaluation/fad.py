"""The Fréchet distance between two clouds of embeddings, each taken for a Gaussian.

Kilgour et al. 2019 (arXiv 1812.08466) for audio. In float64, and by eigenvalues of symmetric
matrices only: the square root of a product of two covariances need not be real in rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Gaussian:
    """Mean (d,) and covariance (d, d), float64."""

    mean: np.ndarray
    covariance: np.ndarray

    @classmethod
    def of(cls, embeddings: np.ndarray) -> Gaussian:
        """Fit to (n, d) embeddings. Raises ValueError for fewer than two, or NaN."""
        points = np.asarray(embeddings, np.float64)
        if len(points) < 2 or not np.isfinite(points).all():
            raise ValueError("a Gaussian needs two finite embeddings or more")
        return cls(points.mean(0), np.cov(points, rowvar=False).reshape(2 * points.shape[1:]))


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric square root of a positive semidefinite matrix."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(values.clip(min=0))) @ vectors.T


def frechet(a: Gaussian, b: Gaussian) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), never below 0."""
    root = _root(a.covariance)
    shared = np.linalg.eigvalsh(root @ b.covariance @ root).clip(min=0)
    spread = np.trace(a.covariance) + np.trace(b.covariance) - 2 * np.sqrt(shared).sum()
    return float(max(0.0, ((a.mean - b.mean) ** 2).sum() + spread))


def fad(a: np.ndarray, b: np.ndarray) -> float:
    """Fréchet audio distance between two sets of embeddings, (n, d) and (m, d)."""
    return frechet(Gaussian.of(a), Gaussian.of(b))
