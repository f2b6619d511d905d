"""Retraining and serving of "people who liked this" recommenders, usable without any server.

From a table to recommendations:

>>> import pandas as pd
>>> import recsys
>>> table = pd.DataFrame(
...     [(f"user {u}", f"item {i}") for u in range(90) for i in range(30) if u % 3 == i % 3],
...     columns=["user_id", "item_id"],
... )
>>> interactions = recsys.read_interactions(table)  # or the path of a file
>>> interactions
<InteractionData: 90 users, 30 items, 900 interactions (density 33.3 %)>
>>> train, test = recsys.split(interactions, n=3)
>>> model = recsys.fit(train, "lightfm", epochs=5)
>>> recsys.evaluate(model, test, k=3)["precision_at_3"]
1.0
>>> recommender = recsys.Recommender.from_model(model)
>>> user = test.users.id(test.interactions.user[0])
>>> sorted(row.name for row in recommender.recommend(user, n=3)) == sorted(test.liked(user))
True

`load` opens a model that the pipeline has registered, or that ``model.save(folder)`` wrote.
"""

from typing import TYPE_CHECKING

from recsys._lazy import lazily

if TYPE_CHECKING:
    from recsys.notebook.data import split as split
    from recsys.notebook.evaluating import evaluate as evaluate
    from recsys.notebook.fitting import fit as fit
    from recsys.notebook.reading import load_dataset as load_dataset
    from recsys.notebook.reading import read_features as read_features
    from recsys.notebook.reading import read_interactions as read_interactions
    from recsys.notebook.reading import read_split as read_split
    from recsys.recommend.queries.filters import Filters as Filters
    from recsys.recommend.recommender import Recommender as Recommender
    from recsys.serving.champion import Champion as Champion
    from recsys.serving.client import Client as Client
    from recsys.serving.loading import load as load

__all__ = [
    "Champion",
    "Client",
    "Filters",
    "Recommender",
    "evaluate",
    "fit",
    "load",
    "load_dataset",
    "read_features",
    "read_interactions",
    "read_split",
    "split",
]
__getattr__, __dir__ = lazily(
    __name__,
    {
        ".notebook.data": ["split"],
        ".notebook.evaluating": ["evaluate"],
        ".notebook.fitting": ["fit"],
        ".notebook.reading": ["load_dataset", "read_features", "read_interactions", "read_split"],
        ".recommend.queries.filters": ["Filters"],
        ".recommend.recommender": ["Recommender"],
        ".serving.champion": ["Champion"],
        ".serving.client": ["Client"],
        ".serving.loading": ["load"],
    },
)
