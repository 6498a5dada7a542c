"""The same work with nn.LSTM of PyTorch: cuDNN on a GPU, or oneDNN with the best thread count.

In: a contender and a case. Out: a function that does the work once. `workloads.py` calls `build`;
`jax_work.py` holds the same work in JAX.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from lstm_lab.bench.cases import Case
from lstm_lab.bench.contenders import numbers

CLIP = 5.0  # as in ours.py, which imports JAX
SGD_RATE, ADAM_RATE = 0.1, 1e-3


def build(name: str, case: Case) -> Callable[[], None]:
    """Returns a function that does the work of a case once and waits for the result.

    Args:
      name: a contender of PyTorch, with an optional number format.
      case: a case with the cell "lstm".
    """
    import torch

    torch.manual_seed(0)
    dtype, exact = numbers(name)
    torch.set_default_dtype(getattr(torch, dtype))
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = not exact
    on_gpu = torch.cuda.is_available()
    works = {"forward": _forward, "gradient": _gradient, "population": _population}
    # Only while arrays are made: a default device costs time at every call of an operation.
    with torch.device("cuda" if on_gpu else "cpu"):
        run: Callable[[], Any] = works.get(case.work, training)(torch, case)

    def run_and_wait() -> None:
        run()
        if on_gpu:
            torch.cuda.synchronize()

    return run_and_wait


def use_best_threads(run: Callable[[], None]) -> None:
    """Sets the number of threads with which `run` is fastest; on a GPU it changes nothing.

    Args:
      run: what `build` returned.
    """
    import torch

    if torch.cuda.is_available():
        return
    cores = int(os.environ.get("LSTM_LAB_BENCH_THREADS") or os.cpu_count() or 1)

    # More threads are not always faster: at a small shape, they may cost more than they save.
    def timed(threads: int) -> float:
        torch.set_num_threads(threads)
        run()  # not timed: the first run with a number of threads starts them
        started = time.perf_counter()
        for _ in range(3):
            run()
        return time.perf_counter() - started

    torch.set_num_threads(min(range(1, cores + 1), key=timed))


def _lstm(torch: Any, case: Case) -> Any:
    return torch.nn.LSTM(
        case.D, case.H, num_layers=case.layers, bidirectional=case.bidirectional, batch_first=True
    )


def _layers(torch: Any, case: Case, lstm: Any) -> Callable[[Any], tuple[Any, Any]]:
    """Returns a function of inputs [B,T,D] with the outputs [B,T,H] and the final states."""
    if case.lengths is None:

        def apply(x: Any) -> tuple[Any, Any]:
            h, (final, _) = lstm(x)
            return h, final

        return apply
    packing, lengths = torch.nn.utils.rnn, torch.tensor(case.lengths, device="cpu")

    def apply_packed(x: Any) -> tuple[Any, Any]:
        packed = packing.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        h, (final, _) = lstm(packed)
        h, _ = packing.pad_packed_sequence(h, batch_first=True, total_length=case.T)
        return h, final

    return apply_packed


def _forward(torch: Any, case: Case) -> Callable[[], None]:
    apply, x = _layers(torch, case, _lstm(torch, case)), torch.randn(case.B, case.T, case.D)

    def run() -> None:
        with torch.no_grad():
            apply(x)

    return run


def _gradient(torch: Any, case: Case) -> Callable[[], None]:
    lstm, x = _lstm(torch, case), torch.randn(case.B, case.T, case.D, requires_grad=True)
    weights, apply = torch.randn(case.B, case.T, case.features), _layers(torch, case, lstm)

    def run() -> None:
        # Otherwise PyTorch would add this gradient to the last one, which is more work.
        lstm.zero_grad()
        x.grad = None
        (apply(x)[0] * weights).sum().backward()

    return run


def training(torch: Any, case: Case) -> Callable[[], Any]:
    """Returns an optimizer step of a whole model, which returns the loss.

    Args:
      torch: the module.
      case: a case whose work is that of a model.
    """
    embed = torch.nn.Embedding(case.vocabulary, case.D) if case.reads_words else None
    lstm, head = _lstm(torch, case), torch.nn.Linear(case.features, case.outputs)
    parts = torch.nn.ModuleList([part for part in (embed, lstm, head) if part is not None])
    x, y = (torch.as_tensor(array, device=torch.get_default_device()) for array in case.data())
    x = x.long() if case.reads_words else x.to(torch.get_default_dtype())
    y = y.long()
    if case.lengths is not None and case.every_step:
        lengths = torch.as_tensor(case.lengths, device=y.device)
        # The loss leaves out this number, which is its default of `ignore_index`.
        y = y.masked_fill(torch.arange(case.T)[None] >= lengths[:, None], -100)
    parameters, apply = list(parts.parameters()), _layers(torch, case, lstm)
    if case.work == "language":
        optimizer = torch.optim.SGD(parameters, lr=SGD_RATE)
    else:
        optimizer = torch.optim.Adam(parameters, lr=ADAM_RATE)

    def step() -> Any:
        optimizer.zero_grad()
        h, finals = apply(x if embed is None else embed(x))
        if not case.every_step:
            h = torch.cat((finals[-2], finals[-1]), -1) if case.bidirectional else finals[-1]
        logits = head(h)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, -2), y.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP)
        optimizer.step()
        return loss

    return step


def _population(torch: Any, case: Case) -> Callable[[], None]:
    """One SGD step per member, one after another: nn.LSTM cannot batch over weights."""
    lstms = [_lstm(torch, case) for _ in range(case.members)]
    applies = [_layers(torch, case, lstm) for lstm in lstms]
    x = torch.randn(case.B, case.T, case.D)
    optimizers = [torch.optim.SGD(lstm.parameters(), lr=0.01) for lstm in lstms]

    def run() -> None:
        for apply, optimizer in zip(applies, optimizers, strict=True):
            optimizer.zero_grad()
            apply(x)[0].square().mean().backward()
            optimizer.step()

    return run
