"""Frozen vision-language models behind one small interface."""

from dualcoop.backbones.base import Backbone
from dualcoop.backbones.loading.names import list_backbones, list_pretrained
from dualcoop.backbones.loading.registry import create_backbone

__all__ = ["Backbone", "create_backbone", "list_backbones", "list_pretrained"]
