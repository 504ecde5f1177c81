"""`python -m jaxcv` is the `jaxcv` program."""

from jaxcv.cli import entry

entry()
