"""`jaxcv verify` shows whether this backend computes what the reference computes.

`verify.verify` computes rows, `command.run` prints them, `quick.ensure_verified` is what happens
by itself before the first training on a backend. Faults are found by computing: no version is
looked at.
"""
