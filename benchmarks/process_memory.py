"""Peak memory of a piece of work inside this process."""

import re
from collections.abc import Callable
from pathlib import Path

import torch

from dualcoop.backbones.text.text_memory import return_freed_memory

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
# Written to clear_refs, it sets the peak to what is resident now.
PEAK = "5"


def peak_bytes(work: Callable[[], object], device: torch.device) -> int | None:
    """Bytes in use at the peak of `work`, beyond those before it; None where the system does not tell.

    On a GPU they are torch's own allocations, otherwise the process's resident memory (Linux).
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        work()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    try:
        # What the allocator holds from earlier work would be taken again without any growth.
        return_freed_memory()
        RESET.write_text(PEAK)
        before = _status("VmRSS")
        work()
        return max(0, _status("VmHWM") - before)
    except OSError:
        return None


def _status(field: str) -> int:
    found = re.search(rf"^{field}:\s+(\d+) kB$", STATUS.read_text(), re.MULTILINE)
    if found is None:
        raise OSError(f"{STATUS} has no {field}")
    return 1024 * int(found[1])
