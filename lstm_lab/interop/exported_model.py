"""What the exports to Keras, Flax and Equinox have in common: settings, and words for a reader.

In: a portable model. Out: the settings of a written module as JSON, and the text for its inputs.
Read flax_models.py next.
"""

from __future__ import annotations

from lstm_lab.interop.fused_step import step_weights
from lstm_lab.interop.portable import PortableLayer, PortableModel
from lstm_lab.utils.types import JSON


def shared_settings(model: PortableModel) -> dict[str, JSON]:
    """Returns the settings that the modules of Flax and Equinox share, as model.json has them.

    Args:
      model: the model.

    Example:
      shared_settings(portable_model(run.trained))["vocabulary"]  # 65
    """
    return {
        "outputs": model.bias_C.size,
        "vocabulary": model.vocabulary,
        "embedding": None if model.embedding_VE is None else model.embedding_VE.shape[1],
        "merge": model.merge,
        "residual": model.residual,
        "every_step": model.every_step,
        "subtract_last": model.subtract_last,
    }


def cell_settings(layer: PortableLayer) -> dict[str, JSON]:
    """Returns the settings of a cell that is written from its equations.

    Args:
      layer: the layer.

    Example:
      cell_settings(layer)  # {"shapes": {"W": [3, 16], ...}, "state_sizes": [4, 4]}
    """
    shapes = {name: list(array.shape) for name, array in step_weights(layer).items()}
    return {"shapes": shapes, "state_sizes": list(layer.state_sizes.values())}


def inputs_text(model: PortableModel) -> str:
    """Returns what the inputs `x` of a model are.

    Args:
      model: the model.

    Example:
      inputs_text(portable_model(run.trained))  # "tokens [B,T]"
    """
    return "tokens [B,T]" if model.vocabulary is not None else f"vectors [B,T,{model.features}]"
