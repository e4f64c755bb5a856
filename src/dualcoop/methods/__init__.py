"""What turns region features into scores: DualCoOp, and what it is compared with, behind one interface."""

from typing import TYPE_CHECKING

from dualcoop.lazy import lazy_attributes

if TYPE_CHECKING:
    from dualcoop.methods.base import Method as Method
    from dualcoop.methods.loading import load_method as load_method
    from dualcoop.methods.registry import METHODS as METHODS
    from dualcoop.methods.registry import method_class as method_class

# Imported when first asked for, so that the names of the methods are there without torch.
_HOMES = {
    "METHODS": "dualcoop.methods.registry",
    "Method": "dualcoop.methods.base",
    "load_method": "dualcoop.methods.loading",
    "method_class": "dualcoop.methods.registry",
}

__all__ = ["METHODS", "Method", "load_method", "method_class"]

__getattr__ = lazy_attributes(__name__, _HOMES)
