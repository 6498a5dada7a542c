"""The chips for which programs are compiled: memory, peak rates and how a compiler is told of them.

In: nothing. Out: `Chip`, with the numbers of the vendor's data sheet. They are upper limits that no
program reaches, so a time computed from them is a lower bound. Read `targets.py` next: machines
made of chips.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from lstm_lab.config.sections import ModelSpec
from lstm_lab.recurrence import DeviceType

GIB = 2.0**30
# JAX takes this share of a GPU's memory, unless XLA_PYTHON_CLIENT_MEM_FRACTION says otherwise
# (https://docs.jax.dev/en/latest/gpu_memory_allocation.html).
GPU_SHARE = 0.75
# A TPU multiplies float32 as products of bfloat16 parts: 1, 3 or 6 of them, by the precision
# (https://docs.jax.dev/en/latest/jax.lax.html, Precision).
TPU_PRODUCTS = {"default": 1, "high": 3, "highest": 6}
# VMEM of a chip; v5p has two cores with half of it each (jax/_src/pallas/mosaic/tpu_info.py).
TPU_CACHE = 128 * 2.0**20
# The time that a kernel costs beyond its work, an assumption: 3.4 us for one of 2.9 us in a CUDA
# graph (https://developer.nvidia.com/blog/cuda-graphs/, on a V100; quoted from memory and not
# checked). Without a graph it is 0.9 us. XLA makes graphs of what it can. A TPU launches nothing:
# its cores run the whole program.
GPU_LAUNCH_SECONDS = 0.5e-6


class Chip(NamedTuple):
    """A chip.

    Attributes:
      device: what JAX calls it.
      memory: bytes that a program can use.
      bandwidth: of the memory, bytes per second.
      cache: bytes that can stay on the chip from one optimizer step to the next: in the L2 cache of
        a GPU, in the vector memory (VMEM) of a TPU.
      bfloat16: FLOP per second of products of bfloat16.
      float32: the same of float32 at the precisions default, high and highest.
      launch_seconds: the time that a kernel costs beyond its work.
      config: for the compiler of a GPU that is not present, a GpuTargetConfig as text; "" for TPUs.

    Example:
      CHIPS["v5e"].bfloat16  # 1.97e14
    """

    device: DeviceType
    memory: float
    bandwidth: float
    cache: float
    bfloat16: float
    float32: tuple[float, float, float]
    launch_seconds: float = 0.0
    config: str = ""

    def flops_per_second(self, model: ModelSpec) -> float:
        """Returns the peak rate of a model's products.

        Example:
          CHIPS["h100"].flops_per_second(spec.model)  # 4.947e14 for float32 at default precision
        """
        if model.dtype == "bfloat16":
            return self.bfloat16
        precisions: tuple[Literal["default", "high", "highest"], ...] = (
            "default",
            "high",
            "highest",
        )
        return self.float32[precisions.index(model.precision)]


def _tpu(kind: str, gib: float, bandwidth: float, bfloat16: float) -> Chip:
    default, high, highest = (bfloat16 / n for n in TPU_PRODUCTS.values())
    float32 = (default, high, highest)
    return Chip(DeviceType("tpu", kind), gib * GIB, bandwidth, TPU_CACHE, bfloat16, float32)


def _gpu_config(name: str, capability: int, numbers: dict[str, int | float]) -> str:
    """Returns a GpuTargetConfig as text: `numbers` and what all of NVIDIA's data center GPUs share.

    The fields are described in xla/stream_executor/device_description.proto.
    """
    shared = {
        "threads_per_block_limit": 1024,
        "threads_per_warp": 32,
        "threads_per_core_limit": 2048,
        "block_dim_limit_x": 2**31 - 1,
        "block_dim_limit_y": 65535,
        "block_dim_limit_z": 65535,
        "registers_per_core_limit": 65536,
        "registers_per_block_limit": 65536,
        "shared_memory_per_block": 49152,
    }
    fields = " ".join(f"{field}: {value}" for field, value in {**shared, **numbers}.items())
    return (
        f"gpu_device_info {{ {fields}\n"
        f"cuda_compute_capability {{ major: {capability} minor: 0 }} }}\n"
        f'platform_name: "CUDA"\ndnn_version_info {{ major: 9 minor: 10 }}\n'
        f'device_description_str: "{name}"\n'
    )


# TPUs: peak rate and bandwidth from https://cloud.google.com/tpu/docs/v5e, /v5p and /v6e. The
# memory is what XLA's compiler accepts, in GiB: for v5e and v6e a quarter and three quarters of a
# GiB less than on these pages.
# GPUs: rates without sparsity of NVIDIA's data sheets (TF32 for float32 at the precisions default
# and high, CUDA cores at highest); other numbers are those of XLA's own descriptions,
# xla/backends/gpu/target_config/specs in https://github.com/openxla/xla.
CHIPS = {
    "v5e": _tpu("TPU v5 lite", 15.75, 819e9, 197e12),
    "v5p": _tpu("TPU v5", 95.74, 2765e9, 459e12),
    "v6e": _tpu("TPU v6 lite", 31.25, 1638e9, 918e12),
    "h100": Chip(
        DeviceType("gpu", "NVIDIA H100 80GB HBM3"),
        GPU_SHARE * 84942979072,
        3352e9,
        52428800,
        989.4e12,
        (494.7e12, 494.7e12, 66.9e12),
        GPU_LAUNCH_SECONDS,
        _gpu_config(
            "NVIDIA H100 80GB HBM3",
            9,
            {
                "core_count": 132,
                "fpus_per_core": 128,
                "clock_rate_ghz": 1.98,
                "memory_bandwidth": 3352320000000,
                "device_memory_size": 84942979072,
                "l2_cache_size": 52428800,
                "shared_memory_per_core": 233472,
                "shared_memory_per_block_optin": 232448,
            },
        ),
    ),
    "a100": Chip(
        DeviceType("gpu", "NVIDIA A100-SXM4-80GB"),
        GPU_SHARE * 85100068864,
        2039e9,
        41943040,
        312e12,
        (156e12, 156e12, 19.5e12),
        GPU_LAUNCH_SECONDS,
        _gpu_config(
            "NVIDIA A100-SXM4-80GB",
            8,
            {
                "core_count": 108,
                "fpus_per_core": 64,
                "clock_rate_ghz": 1.41,
                "memory_bandwidth": 2039040000000,
                "device_memory_size": 85100068864,
                "l2_cache_size": 41943040,
                "shared_memory_per_core": 167936,
                "shared_memory_per_block_optin": 166912,
            },
        ),
    ),
}
