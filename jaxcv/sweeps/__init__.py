"""Many trials through one compiled program: axes, lanes, the study, executors, the results."""
