"""The target `stablehlo`: a run as compiled programs, which JAX alone can call.

In: a finished run. Out: the whole model, and one step of it for a stream, each as `NAME.jax_export`
for JAX and as `NAME.mlirbc` (StableHLO) for other programs. Weights are constants of the program;
the numbers of rows and steps are free. JAX traces the model itself, so every cell works, also a
user's own. The programs have no gradients; to continue training, export `safetensors`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import export

from lstm_lab.cells.cell import Spec
from lstm_lab.config.run_spec import RunSpec
from lstm_lab.inference.load import Trained
from lstm_lab.interop.portable import portable_model
from lstm_lab.models.build import build_model
from lstm_lab.models.recurrent import States
from lstm_lab.tasks import SourceTokens, Tokens
from lstm_lab.training.state import zero_states
from lstm_lab.utils.errors import UserError

if TYPE_CHECKING:
    from lstm_lab.interop.targets import ExportOptions, Form

PLATFORMS = ("cpu", "cuda", "tpu")

Shape = jax.ShapeDtypeStruct
NamedStates = dict[str, jax.Array]


class TypedFunction(NamedTuple):
    """A function to export.

    Attributes:
      function: from arrays to arrays. Its arguments and results are arrays, tuples and dicts, so
        that a program without this package can call it.
      arguments: the shapes of its arguments, with symbols for rows `b` and steps `t`.
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def form(spec: Spec) -> Form:
    """Returns "program": JAX traces any cell.

    Example:
      form(GRUSpec())  # "program"
    """
    del spec
    return "program"


def write(trained: Trained, folder: Path, options: ExportOptions) -> str:
    """Writes the programs of a run.

    Args:
      trained: the run, with the backend `scan`. A translation has no program for a stream, nor has
        a model that needs the end of a sequence.
      folder: an empty folder.
      options: not used.

    Returns:
      How to call the programs, as Markdown.

    Example:
      write(load_run(Path("runs/adding")), Path("adding_programs"), ExportOptions())
    """
    del options
    if trained.spec.task.source_vocabulary is not None:
        _write_program(translation_program(trained), folder / "model")
        return f"{_TRANSLATION}\n{_OTHERS}"
    _write_program(model_program(trained), folder / "model")
    problem = portable_model(trained).streaming_problem
    if problem is None:
        _write_program(step_program(trained), folder / "streaming")
    stream = _STREAMING if problem is None else f"There is no program for one step: {problem}.\n"
    return f"{_model_usage(trained.spec)}\n{stream}\n{_OTHERS}"


def model_program(trained: Trained) -> TypedFunction:
    """Returns the program of a model with one stack.

        (x, lengths, states, is_start) -> (outputs, states)

    Args:
      trained: the run, with the backend `scan`.

    Returns:
      A program with x: tokens [b,t] or vectors [b,t,D]; lengths [b], int32; states: arrays [b,n] by
      name, such as `layer_0.h`, which `is_start`, a bool, replaces by the zero state. The outputs
      are float32 logits or values, [b,t,C] at every step or [b,C] at the last real one; the new
      states are those after the last real step of each row.

    Raises:
      UserError: for a translation.

    Example:
      outputs, states = model_program(trained).function(x, lengths, states, True)
    """
    apply, names, like = _model_of(trained)

    def forward(
        x: jax.Array, lengths: jax.Array, states: NamedStates, is_start: jax.Array
    ) -> tuple[jax.Array, NamedStates]:
        outputs, final = apply(x, lengths, None, _by_layer(states, names, like), is_start)
        return outputs, _by_name(final, names)

    b, t = export.symbolic_shape("b, t")
    shapes = (_inputs(trained.spec, (b, t)), Shape((b,), jnp.int32), _state_shapes(names, like, b))
    return TypedFunction(forward, (*shapes, _FLAG))


def step_program(trained: Trained) -> TypedFunction:
    """Returns the program of one time step of a model.

        (x, states, is_start) -> (outputs, states)

    Args:
      trained: the run, with the backend `scan`; its model needs no later steps.

    Returns:
      A program with x: tokens [b] or vectors [b,D], and the other arguments of `model_program`. The
      outputs are [b,C].

    Example:
      for x in steps:
          outputs, states = step_program(trained).function(x, states, False)
    """
    apply, names, like = _model_of(trained)

    def step(
        x: jax.Array, states: NamedStates, is_start: jax.Array
    ) -> tuple[jax.Array, NamedStates]:
        outputs, final = apply(x[:, None], None, None, _by_layer(states, names, like), is_start)
        every_step = trained.spec.task.target.every_step
        return outputs[:, 0] if every_step else outputs, _by_name(final, names)

    (b,) = export.symbolic_shape("b")
    shapes = (_inputs(trained.spec, (b,)), _state_shapes(names, like, b))
    return TypedFunction(step, (*shapes, _FLAG))


def translation_program(trained: Trained) -> TypedFunction:
    """Returns the program of a translation, with the symbols before each one given.

        (x, source, source_lengths) -> logits

    Args:
      trained: the run of a translation, with the backend `scan`.

    Returns:
      A program with x: target tokens [b,t], the first one is the start token; source: tokens
      [b,s]; source_lengths [b]; all int32. The float32 logits [b,t,C] belong to the target
      token after each position.

    Example:
      logits = translation_program(trained).function(x, source, source_lengths)
    """
    apply = _apply_of(trained)

    def forward(x: jax.Array, source: jax.Array, source_lengths: jax.Array) -> jax.Array:
        logits, _ = apply(x, source=SourceTokens(source, source_lengths))
        return logits

    b, t, s = export.symbolic_shape("b, t, s")
    shapes = ((b, t), (b, s), (b,))
    return TypedFunction(forward, tuple(Shape(shape, jnp.int32) for shape in shapes))


def _apply_of(trained: Trained) -> Callable[..., Any]:
    """Returns `logits_and_states` of a model with its weights."""
    apply = build_model(trained.spec).apply
    return partial(apply, {"params": trained.params}, method="logits_and_states")


def _model_of(trained: Trained) -> tuple[Callable[..., Any], tuple[str, ...], States]:
    """Returns the function of a model, the names of its states, and zero states of one row."""
    names = portable_model(trained).state_names
    return _apply_of(trained), names, zero_states(trained.spec, trained.params, rows=1)


def export_program(program: TypedFunction, platforms: tuple[str, ...]) -> export.Exported:
    """Exports a program.

    Args:
      program: the function and its arguments.
      platforms: the platforms that can run it. Several of them make the number of the platform the
        first argument in StableHLO; JAX supplies it.

    Example:
      export_program(model_program(trained), ("cpu",)).call(x, lengths, states, True)
    """
    # By default a GPU rounds the factors of a product to TF32, a TPU to bfloat16; then the outputs
    # would differ from those of this package by more than 1e-5 of the largest.
    with jax.default_matmul_precision("highest"), _without_source_locations():
        return export.export(jax.jit(program.function), platforms=platforms)(*program.arguments)


def _write_program(program: TypedFunction, path: Path) -> None:
    """Writes PATH.jax_export and PATH.mlirbc."""
    # Without derivatives (`vjp_order` is 0): they would need a second program as large as this one.
    try:
        content = export_program(program, PLATFORMS).serialize()
    except ImportError:  # JAX imports flatbuffers here, and does not require it
        raise UserError(
            "--to=stablehlo needs flatbuffers: pip install 'lstm-lab[interop]'"
        ) from None
    path.with_suffix(".jax_export").write_bytes(content)
    # One platform, so that its arguments are those of the function alone. The operations of a
    # float32 network are the same on all platforms.
    portable = export_program(program, ("cpu",)).mlir_module_serialized
    path.with_suffix(".mlirbc").write_bytes(portable)


@contextmanager
def _without_source_locations() -> Iterator[None]:
    """Keeps the paths of source files out of programs: other people need not see them."""
    name = "jax_traceback_in_locations_limit"
    before = jax.config.values[name]
    jax.config.update(name, 0)
    try:
        yield
    finally:
        jax.config.update(name, before)


_FLAG = Shape((), jnp.bool_)


def _inputs(spec: RunSpec, rows_and_steps: tuple[Any, ...]) -> Shape:
    inputs = spec.task.inputs
    if isinstance(inputs, Tokens):
        return Shape(rows_and_steps, jnp.int32)
    return Shape((*rows_and_steps, inputs.features), jnp.float32)


def _state_shapes(names: Sequence[str], like: States, rows: Any) -> dict[str, Shape]:
    named = _by_name(like, names)
    return {name: Shape((rows, *array.shape[1:]), array.dtype) for name, array in named.items()}


def _by_name(states: States, names: Sequence[str]) -> NamedStates:
    """Returns states by layer and direction as a dict, which needs no class of this package."""
    return dict(zip(names, jax.tree.leaves(states), strict=True))


def _by_layer(named: NamedStates, names: Sequence[str], like: States) -> States:
    return jax.tree.unflatten(jax.tree.structure(like), [named[name] for name in names])


def _model_usage(spec: RunSpec) -> str:
    inputs = spec.task.inputs
    if isinstance(inputs, Tokens):
        example, kind = "np.zeros((2, 10), np.int32)", f"tokens [b,t] below {inputs.vocabulary}"
    else:
        example = f"np.zeros((2, 10, {inputs.features}), np.float32)"
        kind = f"vectors [b,t,{inputs.features}]"
    shape = (
        f"[b,t,{spec.task.target.size}]"
        if spec.task.target.every_step
        else (f"[b,{spec.task.target.size}]")
    )
    return _MODEL.format(example=example, kind=kind, shape=shape)


_MODEL = """\
JAX runs the programs on CPU, CUDA or TPU. You do not need lstm_lab to run them.

```python
from pathlib import Path

import jax
import numpy as np
from jax import export

model = export.deserialize(bytearray(Path("model.jax_export").read_bytes()))
(_, _, shapes, _), _ = jax.tree.unflatten(model.in_tree, model.in_avals)
states = {{name: np.zeros((2, *a.shape[1:]), a.dtype) for name, a in shapes.items()}}
x = {example}  # {kind}
lengths = np.array([10, 7], np.int32)  # the real steps of each row
outputs, states = model.call(x, lengths, states, True)  # outputs {shape}
```

`True` begins a sequence: the given states are ignored. `False` continues from them.
"""

_STREAMING = """\
`streaming.jax_export` computes one time step, for streaming input:

```python
streaming = export.deserialize(bytearray(Path("streaming.jax_export").read_bytes()))
step = jax.jit(streaming.call)  # compiled at its first call
outputs, states = step(x[:, 0], states, False)
```
"""

_TRANSLATION = """\
JAX runs the program on CPU, CUDA or TPU. You do not need lstm_lab to run it.

```python
from pathlib import Path

import numpy as np
from jax import export

model = export.deserialize(bytearray(Path("model.jax_export").read_bytes()))
x = np.zeros((2, 10), np.int32)  # the target, shifted by one symbol
source = np.zeros((2, 12), np.int32)
source_lengths = np.array([12, 9], np.int32)
logits = model.call(x, source, source_lengths)  # of the next symbol at each position
```

A translation is decoded symbol by symbol: append the most probable one to `x`, and call again.
"""

_OTHERS = """\
The `.mlirbc` files are the same programs as StableHLO (portable bytecode), for other compilers; the
arguments are in the order above, states sorted by name. JAX reads a `.jax_export` file for at least
six months (docs.jax.dev, "Exporting and serializing": compatibility guarantees); export again then.
"""
