"""Web pages about what a model has learned: items, tags, users, versions and training runs."""

from typing import TYPE_CHECKING

from recsys._lazy import lazily

if TYPE_CHECKING:
    from recsys.gallery.launch import serve as serve
    from recsys.gallery.opened_models import OpenedModels as OpenedModels
    from recsys.gallery.site import Site as Site

__all__ = ["OpenedModels", "Site", "serve"]
__getattr__, __dir__ = lazily(
    __name__,
    {".launch": ["serve"], ".opened_models": ["OpenedModels"], ".site": ["Site"]},
)
