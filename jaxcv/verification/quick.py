"""What shows in seconds, before the first training on a backend, that it computes rightly.

`ensure_verified` runs once for each combination of jaxcv, jaxlib, device, XLA_FLAGS, x64 and
precision of matrix products, and remembers the combinations that passed. It computes in a child
process, so that even an abort of the backend ends in one line.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import math
import os
import sys
from pathlib import Path

from jaxcv import runtime
from jaxcv.exits import VerificationFailed

TIMEOUT = 120.0
"""Seconds until the check counts as hanging; it takes three."""


def ensure_verified(no_verify: bool = False) -> None:
    """Returns if this backend is known to compute rightly, or shows it now.

    Args:
        no_verify: return at once.

    Raises:
        VerificationFailed: a result is wrong; the message is one line that says what to do.
    """
    if no_verify:
        return
    now = combination()
    path = remembered(now)
    with contextlib.suppress(OSError):
        if path.exists():
            return
    fault = failure()
    if fault:
        raise VerificationFailed(
            f"this backend computes wrong results ({fault}): `jaxcv verify` shows all of it; "
            "install the versions of constraints.txt, or set "
            "XLA_FLAGS=--xla_cpu_experimental_ynn_fusion_type= (an empty value), or take "
            "--no-verify to train nevertheless"
        )
    # Where nothing can be remembered the check runs again next time.
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}")
        partial.write_text(json.dumps(now, indent=2) + "\n", encoding="utf-8")
        partial.replace(path)


def combination() -> dict[str, str]:
    """All that a verdict is remembered for."""
    import jax

    device = jax.devices()[0]
    kind = runtime.processor() if device.platform == "cpu" else device.device_kind
    return {
        "jaxcv": importlib.metadata.version("jaxcv"),
        "jaxlib": importlib.metadata.version("jaxlib"),
        "device": f"{device.platform} {kind}",
        "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
        "x64": str(jax.config.values["jax_enable_x64"]),
        "matmul_precision": str(jax.config.values["jax_default_matmul_precision"]),
    }


def remembered(now: dict[str, str]) -> Path:
    """The file that stands for a combination that passed."""
    import platformdirs

    text = json.dumps(now, sort_keys=True)
    key = hashlib.sha256(text.encode()).hexdigest()[:32]
    return Path(platformdirs.user_cache_dir("jaxcv")) / "verified" / f"{key}.json"


def failure() -> str:
    """What is wrong with the backend, in a few words; nothing if nothing is."""
    import jax

    from jaxcv.verification.probes import row_of_child
    from jaxcv.verification.rows import Row

    if jax.default_backend() == "tpu":
        # It serves one process only, which is this one.
        return check()
    command = [
        sys.executable,
        "-m",
        "jaxcv.verification.quick",
        str(jax.config.values["jax_enable_x64"]),
        str(jax.config.values["jax_default_matmul_precision"]),
    ]
    row = row_of_child(command, Row("quick check", "", "", math.inf, math.inf), TIMEOUT)
    return row.note or ("" if row.ok else row.op)


def check() -> str:
    """Computes a few ops and the cheapest probe in this process: the first fault, or nothing."""
    from jaxcv.verification import precisions, probes
    from jaxcv.verification.cases import linear, normalization, pooling
    from jaxcv.verification.operators import check_case

    row = probes.measured(probes.PROBES["rows"])
    if not row.ok:
        return f"{row.op}, {row.mode}"
    precision = precisions.measure("default")
    wanted = {
        "conv2d": linear.cases(),
        "max_pool2d": pooling.cases(),
        "batch_norm training": normalization.cases(),
    }
    for op, cases in wanted.items():
        case = next(case for case in cases if case.op == op)
        for row in check_case(case, precision if case.contracts else None, [0], ["jit+vmap"]):
            if not row.ok:
                return f"{row.op}, {row.mode}"
    return ""


def _main(x64: str, matmul_precision: str) -> None:
    """The child process: prints a row."""
    import jax

    jax.config.update("jax_enable_x64", x64 == "True")
    if matmul_precision != "None":
        jax.config.update("jax_default_matmul_precision", matmul_precision)
    fault = check()
    fraction = math.inf if fault else 0.0
    print(json.dumps({"ulp": fraction, "fraction": fraction, "note": fault}))


if __name__ == "__main__":
    _main(*sys.argv[1:])
