"""Networks. Every one is called as `model(images, train=False)` and returns logits.

`MODELS` is the table of what experiment.json and the command line may name. To add a network,
write a file beside these with one module in it and add its line here.
"""

from jaxcv.models.cnn import CNN
from jaxcv.models.intermediates import intermediates
from jaxcv.models.mlp import MLP
from jaxcv.models.softmax import Softmax

MODELS = {
    "CNN": CNN,
    "MLP": MLP,
    "Softmax": Softmax,
}

__all__ = ["CNN", "MLP", "MODELS", "Softmax", "intermediates"]
