"""Adoption: the champion's configuration, taken over without a search or as the start of one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recsys.base.errors import NotFoundError
from recsys.base.redaction import redacted
from recsys.data.outcomes import Encoded, HeldOut
from recsys.evaluation.comparison import TriedStrategy
from recsys.models.blending import item_to_item_model, without_neighbours
from recsys.models.configuration import HYBRID_NAMES, parse_configuration
from recsys.pipeline.outcomes import Adopted
from recsys.store.stages import Stage, stage, write_json
from recsys.tracking.registry import Registry
from recsys.tuning.space import Configuration


def no_champion(registry: Registry) -> NotFoundError:
    """The error of a model that has no champion, where one is needed."""
    return NotFoundError(
        registry.not_standing() or f"{registry.model} has no champion in {redacted(registry.uri)}",
        "a version with the alias champion",
        "train first (recsys train), or promote a version",
    )


def champion_manifest(registry: Registry) -> Mapping[str, Any]:
    """The manifest of the champion whose configuration is taken over.

    Raises
    ------
    NotFoundError
        If there is no champion.
    RegistryError
        If the registry does not answer.
    """
    found = registry.champion_manifest()
    if found is None:
        raise no_champion(registry)
    return found


def adopted_configuration(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration of a champion that is to be refit, with the number of `epochs`.

    The blending of cold items is left out: it is chosen again on the new data.

    Parameters
    ----------
    manifest : mapping
        Of the champion's bundle.
    """
    return {name: v for name, v in manifest["configuration"].items() if name != "cold_blending"}


@stage(Adopted, version=4)
def adopt(
    folder: Path,
    holdouts: Stage[HeldOut],
    features: Stage[Encoded],
    adopted: Mapping[str, Any],
    started_from: Sequence[Configuration],
    seed: int,
) -> Adopted:
    """The champion's configuration in the place of a search's winner; nothing is trained.

    Parameters
    ----------
    folder : Path
    holdouts, features, seed
        What the configuration will be fitted on: they name the product.
    adopted : mapping
        See `adopted_configuration`.
    started_from : sequence of configurations
        For the next search.
    """
    configuration = {name: value for name, value in adopted.items() if name != "epochs"}
    epochs = adopted["epochs"]
    parameters = parse_configuration(configuration)[1]
    strategy = parameters.strategy
    alone = without_neighbours(configuration)
    tried: dict[str, TriedStrategy] = {strategy: TriedStrategy(alone, epochs)}
    if strategy == "mapped":
        plain = {name: v for name, v in configuration.items() if name not in HYBRID_NAMES}
        tried = {"none": TriedStrategy({"strategy": "none", **plain}, epochs), **tried}
    neighbours = item_to_item_model(parameters)
    write_json(folder / "study.json", {"configuration": configuration, "epochs": epochs})
    return Adopted(
        configuration=configuration,
        epochs=epochs,
        strategies=tried,
        closed_forms={} if neighbours is None else {neighbours.name: neighbours.to_dict()},
        started_from=tuple(started_from),
    )


def warm_start(champion: Mapping[str, Any] | None, data_fingerprint: str) -> list[Configuration]:
    """The configurations a search starts from, given the champion's manifest.

    On new data that is the champion's own configuration. On the data the champion was made from
    it is what its own search started from: the same search, which need not be made again.
    """
    if champion is None:
        return []
    if champion["data_fingerprint"] == data_fingerprint:
        return list(champion["started_from"])
    return [choice_alone(champion["configuration"])]


def choice_alone(configuration: Mapping[str, Any]) -> Configuration:
    """What a search may start from of another one's choice: LightFM's hyper-parameters alone."""
    left_out = HYBRID_NAMES | {"epochs"}
    return {name: value for name, value in configuration.items() if name not in left_out}
