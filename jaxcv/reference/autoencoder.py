"""The sparse autoencoder of EEE443/543's third assignment (2019)."""

from jaxcv.reference.activations import sigmoid, sigmoid_backward
from jaxcv.reference.arrays import Real, Values, as_float64, require_shape
from jaxcv.reference.dense import dense, dense_backward
from jaxcv.reference.parameters import Gradients, Layer, Params, read_layers
from jaxcv.reference.penalties import (
    kl_sparsity_from_logits,
    kl_sparsity_from_logits_backward,
    l2_penalty,
    l2_penalty_backward,
)


def autoencoder_cost(
    params: Params, data: Values, decay: Real, sparsity_weight: Real, sparsity: Real
) -> tuple[float, Gradients]:
    """Cost and gradients of a sigmoid encoder and decoder.

        J = 1/(2N) Σ ‖x - x̂‖² + decay/2 (Σ W₁² + Σ W₂²) + sparsity_weight Σ KL(sparsity, mean)

    where the mean is each hidden unit's mean activation over the batch. The gradient of the decay
    is decay * W, not divided by N. However far the activations saturate, everything stays finite:
    the divergence is computed from logarithms (`kl_sparsity_from_logits`).

    Args:
        params: {"encoder": {"kernel", "bias"}, "decoder": {...}}, or two layers whose names sort
            in order ("Dense_0", "Dense_1"): kernels (features, hidden) and (hidden, features).
        data: (batch, features).
        decay: lambda; not negative.
        sparsity_weight: beta; not negative.
        sparsity: rho, strictly between 0 and 1.

    Returns:
        (J, gradients of the structure of params).

    Raises:
        ValueError: Shapes that do not fit, an empty batch, or a number out of range.
    """
    encoder, decoder = _read_layers(params)
    data = as_float64(data, "data", "batch features")
    batch = data.shape[0]
    if not sparsity_weight >= 0.0:
        raise ValueError(f"sparsity_weight must not be negative, got {sparsity_weight}")

    hidden_logits = dense(data, encoder.kernel, encoder.bias)
    hidden = sigmoid(hidden_logits)
    output_logits = dense(hidden, decoder.kernel, decoder.bias)
    require_shape(output_logits, "the reconstruction", data.shape)
    error = sigmoid(output_logits) - data
    cost = float(0.5 * (error**2).sum() / batch)
    cost += l2_penalty(encoder.kernel, decay) + l2_penalty(decoder.kernel, decay)
    cost += float(sparsity_weight) * kl_sparsity_from_logits(hidden_logits, sparsity)

    doutput_logits = sigmoid_backward(error / batch, output_logits)
    dhidden, ddecoder, ddecoder_bias = dense_backward(doutput_logits, hidden, decoder.kernel)
    dhidden_logits = sigmoid_backward(dhidden, hidden_logits)
    dhidden_logits += kl_sparsity_from_logits_backward(sparsity_weight, hidden_logits, sparsity)
    _, dencoder, dencoder_bias = dense_backward(dhidden_logits, data, encoder.kernel)
    dencoder += l2_penalty_backward(1.0, encoder.kernel, decay)
    ddecoder += l2_penalty_backward(1.0, decoder.kernel, decay)
    return cost, {
        encoder.name: {"kernel": dencoder, "bias": dencoder_bias},
        decoder.name: {"kernel": ddecoder, "bias": ddecoder_bias},
    }


def _read_layers(params: Params) -> list[Layer]:
    layers = read_layers(params, convolutions=0, denses=2)
    if {layer.name for layer in layers} == {"encoder", "decoder"}:
        # Alphabetically the decoder would come first.
        layers.reverse()
    return layers
