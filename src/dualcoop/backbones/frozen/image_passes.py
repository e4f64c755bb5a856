"""Batches of images go through a frozen tower a few at a time, so that a CPU finds its feature maps where it left them.

The largest feature map of a batch of 32 takes hundreds of MiB. The allocator gives blocks of such size back to the
system at once and gets them anew, page by page, for every layer: this costs more than the layers. A few images at
a time use the same memory over and over, and much of it stays in the processor's caches.
"""

from collections.abc import Callable

import torch
from torch import Tensor

PASS_BYTES = 8 * 320**2
"""Bytes of one channel of the images that go through together: two of 320 pixels in float32, four in bfloat16."""
FEWEST = 2
"""Images that go through together whatever their size: one by one, weights are brought into shape too often."""


def in_passes(encode: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """What `encode` gives for all images (B, 3, S, S): at once on an accelerator, a few at a time on a CPU."""
    # What records operations cannot follow a loop over any number of images.
    if images.device.type != "cpu" or torch.compiler.is_compiling() or not len(images):
        return encode(images)
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else images.dtype
    count = max(FEWEST, PASS_BYTES // (dtype.itemsize * images.shape[-2] * images.shape[-1]))
    return torch.cat([encode(some) for some in images.split(count)])
