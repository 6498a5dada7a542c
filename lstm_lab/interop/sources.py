"""The frameworks whose weights can be imported, and the function that reads them.

In: a file of weights of another framework, and a config. Out: arrays by our names, such as
`lstm/layer_0/wx`. A framework is a file or a folder of this package with a function
`import_weights(path, spec, mapping)`, imported at its first use. Pickled files are never read,
because they run code. Read safetensors_file.py next, which writes what was read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from lstm_lab.utils.errors import UserError, unknown

if TYPE_CHECKING:
    import numpy as np

    from lstm_lab.config.load import ConfigLike
    from lstm_lab.config.run_spec import RunSpec

    Reader = Callable[[Path, RunSpec, Mapping[str, str]], dict[str, np.ndarray]]

SOURCES = ("torch", "keras", "flax")

OWN_FILES = (
    "got 'safetensors', but weights under our own names need no import; train with "
    "--config.model.init_from=FILE"
)


def find_reader(framework: str) -> Reader:
    """Returns the function that reads the weights of a framework.

    Args:
      framework: one of `SOURCES`.

    Raises:
      UserError: for another name.

    Example:
      find_reader("torch")(Path("lstm.safetensors"), spec, {})
    """
    match framework:
        case "torch":
            from lstm_lab.interop import pytorch

            return pytorch.import_weights
        case "keras":
            from lstm_lab.interop import keras_weights

            return keras_weights.import_weights
        case "flax":
            from lstm_lab.interop import flax_weights

            return flax_weights.import_weights
        case "safetensors":
            raise UserError(f"--from: {OWN_FILES}")
        case _:
            raise unknown("--from", framework, SOURCES)


def import_weights(
    path: str | Path,
    framework: str,
    config: ConfigLike,
    mapping: Mapping[str, str] | None = None,
) -> dict[str, np.ndarray]:
    """Reads weights of another framework for the model of a config.

    Args:
      path: the file.
      framework: one of `SOURCES`.
      config: the config of the model, as in `ll.train`.
      mapping: names of the file by parts of our model; each tells lstm_lab where a part is, if it
        cannot find it: `{"head": "classifier"}`. An empty name leaves a part out; `ignore` has
        tensors and modules of the file that are not read. Nothing else is left out.

    Returns:
      Arrays by our names, with the shapes of the model. Parts that are left out are missing.

    Raises:
      UserError: for a file that cannot be read, that holds another model, or whose numbers are not
        finite in float32.

    Example:
      ll.interop.import_weights("lstm.safetensors", "torch", "adding:lstm")["lstm/layer_0/wx"]
    """
    from lstm_lab.config.load import load_spec
    from lstm_lab.interop.import_hints import check_no_pickle
    from lstm_lab.models.weights import check_finite

    read = find_reader(framework)
    place = Path(path)
    if not place.is_file():
        raise UserError(f"import: {place} does not exist, or is not a file")
    check_no_pickle(framework, place)
    weights = read(place, load_spec(config).for_tracing(), mapping or {})
    if not weights:
        raise UserError(f"import: --map leaves out every part of the model, so {place} is not read")
    # The sum of two biases may be too large for float32.
    for name, array in weights.items():
        check_finite(name, array, f"import: {place}")
    return weights


def missing_weights(weights: Mapping[str, np.ndarray], spec: RunSpec) -> list[str]:
    """Returns the names of the weights of a model that were not read.

    Args:
      weights: arrays by our names.
      spec: the spec of the model.

    Example:
      missing_weights({}, load_spec("adding:lstm"))[0]  # "head/bias"
    """
    from lstm_lab.interop.imported import shapes_by_name

    return [name for name in shapes_by_name(spec.for_tracing()) if name not in weights]
