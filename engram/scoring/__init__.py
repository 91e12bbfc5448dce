"""What verdicts are worth: whether a miner keeps what it says, and the weight that follows. Pure."""

from engram.scoring._ratio_test import Decision, RatioTest, detection
from engram.scoring._standing import (
    ERASED_A_WINDOW,
    ERASED_OF_ALL,
    LEAST_RATE,
    WINDOW_EPOCHS,
    Standing,
    Verdict,
    condemn,
    fold,
)

__all__ = [
    "ERASED_A_WINDOW",
    "ERASED_OF_ALL",
    "LEAST_RATE",
    "WINDOW_EPOCHS",
    "Decision",
    "RatioTest",
    "Standing",
    "Verdict",
    "condemn",
    "detection",
    "fold",
]
