"""TransformerLens' names for places in a model.

`resid_post` of layer i, the residual stream after block i, is hook point `blocks.i.hook_out` in
TransformerLens 4; in transformers it is the output of decoder block i, which
`output_hidden_states` lists at index i + 1 (and, for the last block, only after the final norm).
"""


def resid_post(layer: int) -> str:
    """The hook point of the residual stream after `layer`, 0-based.

    Raises:
        ValueError: `layer` is negative.
    """
    if layer < 0:
        raise ValueError(f"layers are counted from 0; got {layer}")
    return f"blocks.{layer}.hook_out"


def two_thirds_layer(n_layers: int) -> int:
    """The default steering layer: about two-thirds of the way through.

    Source: arXiv 2604.07729, methods: "about two-thirds through the model".
    """
    return round(2 * (n_layers - 1) / 3)
