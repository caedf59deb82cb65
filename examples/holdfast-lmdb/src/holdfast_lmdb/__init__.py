"""An LMDB engine for Holdfast: ``holdfast.open("lmdb:./state?map_size=1GiB")``.

It keeps the contract of `holdfast.engines.base`; the module `engine` says how, sentence by
sentence. Holdfast finds it by the entry point ``lmdb`` of the group ``holdfast.engines``.
"""

from holdfast_lmdb.engine import LmdbEngine
from holdfast_lmdb.opening import open_engine
from holdfast_lmdb.settings import LmdbSettings

__all__ = ["LmdbEngine", "LmdbSettings", "open_engine"]
