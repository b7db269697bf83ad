"""Proves from human labels which scores may be accepted without review; ``certify`` is the way in."""

from pipelines.certificate.certificate import REVIEW_ALL, Certificate, Method, Mode
from pipelines.certificate.certify import certify, delta_of_round, per_slice

__all__ = ["REVIEW_ALL", "Certificate", "Method", "Mode", "certify", "delta_of_round", "per_slice"]
