"""The same work with nn.LSTM of PyTorch: cuDNN on a GPU, or oneDNN with the best thread count.

In: a contender and a case. Out: a function that does the work once. `workloads.py` calls `build`;
`jax_peers.py` holds the same work in JAX.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from lstm_lab.bench.cases import CLASSES, VOCABULARY, Case
from lstm_lab.bench.contenders import numbers


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
    torch.set_default_device("cuda" if on_gpu else "cpu")
    run = {
        "forward": _forward,
        "gradient": _gradient,
        "language": _language,
        "classifier": _classifier,
        "population": _population,
    }[case.work](torch, case)
    return _synchronized(torch, run) if on_gpu else _with_best_threads(torch, run)


def _synchronized(torch: Any, run: Callable[[], None]) -> Callable[[], None]:
    def run_and_wait() -> None:
        run()
        torch.cuda.synchronize()

    return run_and_wait


def _with_best_threads(torch: Any, run: Callable[[], None]) -> Callable[[], None]:
    """Sets the number of threads with which `run` is fastest; returns `run`."""
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
    return run


def _lstm(torch: Any, case: Case) -> Any:
    return torch.nn.LSTM(
        case.D, case.H, num_layers=case.layers, bidirectional=case.bidirectional, batch_first=True
    )


def _apply(torch: Any, case: Case, lstm: Any, x: Any) -> Any:
    if case.lengths is None:
        return lstm(x)[0]
    packing = torch.nn.utils.rnn
    packed = packing.pack_padded_sequence(
        x, torch.tensor(case.lengths, device="cpu"), batch_first=True, enforce_sorted=False
    )
    return packing.pad_packed_sequence(lstm(packed)[0], batch_first=True, total_length=case.T)[0]


def _forward(torch: Any, case: Case) -> Callable[[], None]:
    lstm, x = _lstm(torch, case), torch.randn(case.B, case.T, case.D)

    def run() -> None:
        with torch.no_grad():
            _apply(torch, case, lstm, x)

    return run


def _gradient(torch: Any, case: Case) -> Callable[[], None]:
    lstm, x = _lstm(torch, case), torch.randn(case.B, case.T, case.D, requires_grad=True)
    width = case.H * (1 + case.bidirectional)
    weights = torch.randn(case.B, case.T, width)

    def run() -> None:
        # Otherwise PyTorch would add this gradient to the last one, which is more work.
        lstm.zero_grad()
        x.grad = None
        (_apply(torch, case, lstm, x) * weights).sum().backward()

    return run


def _language(torch: Any, case: Case) -> Callable[[], None]:
    embed = torch.nn.Embedding(VOCABULARY, case.D)
    lstm, head = _lstm(torch, case), torch.nn.Linear(case.H, VOCABULARY)
    tokens = torch.randint(0, VOCABULARY, (case.B, case.T + 1))
    parameters = [p for part in (embed, lstm, head) for p in part.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=0.1)

    def run() -> None:
        optimizer.zero_grad()
        logits = head(lstm(embed(tokens[:, :-1]))[0])
        loss = torch.nn.functional.cross_entropy(
            logits.reshape(-1, VOCABULARY), tokens[:, 1:].reshape(-1)
        )
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()

    return run


def _classifier(torch: Any, case: Case) -> Callable[[], None]:
    lstm, head = _lstm(torch, case), torch.nn.Linear(case.H, CLASSES)
    x, y = torch.randn(case.B, case.T, case.D), torch.randint(0, CLASSES, (case.B,))
    parameters = [*lstm.parameters(), *head.parameters()]
    optimizer = torch.optim.Adam(parameters)

    def run() -> None:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(head(lstm(x)[0][:, -1]), y)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return run


def _population(torch: Any, case: Case) -> Callable[[], None]:
    """One SGD step per member, one after another: nn.LSTM cannot batch over weights."""
    lstms = [_lstm(torch, case) for _ in range(case.members)]
    x = torch.randn(case.B, case.T, case.D)
    optimizers = [torch.optim.SGD(lstm.parameters(), lr=0.01) for lstm in lstms]

    def run() -> None:
        for lstm, optimizer in zip(lstms, optimizers, strict=True):
            optimizer.zero_grad()
            lstm(x)[0].square().mean().backward()
            optimizer.step()

    return run
