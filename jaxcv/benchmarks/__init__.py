"""How fast training is here, beside Keras, PyTorch and plain Flax: `jaxcv bench`.

Each contestant is a worker process in a virtual environment of its own (`workers/`, run as plain
files, since those environments hold no jaxcv). The measuring process loads no framework: it tells
one worker at a time to run an epoch, a step or a forward pass.
"""
