"""Traced programs evaluated in NumPy float64: no compiler has a part in what they give."""

from jaxcv.verification.float64.evaluation import evaluate, summed_terms

__all__ = ["evaluate", "summed_terms"]
