"""The contestants' programs: plain files, run by path in environments that hold no jaxcv."""
