"""Region features of frozen images on disk, so that no image is encoded twice; NumPy alone, no torch."""

from dualcoop.cache.care import Contents, Damage, check, clear, contents
from dualcoop.cache.folder import FeatureCache, default_folder
from dualcoop.cache.keys import STORED, Encoding, content_digests, view_key
from dualcoop.cache.quantised import QuantisedRegions, Regions
from dualcoop.cache.shards import Shard
from dualcoop.cache.store import FeatureStore, Located

__all__ = [
    "STORED",
    "Contents",
    "Damage",
    "Encoding",
    "FeatureCache",
    "FeatureStore",
    "Located",
    "QuantisedRegions",
    "Regions",
    "Shard",
    "check",
    "clear",
    "content_digests",
    "contents",
    "default_folder",
    "view_key",
]
