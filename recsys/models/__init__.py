"""Models: LightFM, ALS, popularity, what features say, fold-in, and how they combine.

A model is a frozen configuration with `fit`; see `recsys.models.model`.
"""

from typing import TYPE_CHECKING

from recsys._lazy import lazily

if TYPE_CHECKING:
    from recsys.models.als import Als as Als
    from recsys.models.bpr import Bpr as Bpr
    from recsys.models.configuration import HybridParameters as HybridParameters
    from recsys.models.configuration import LightFMParameters as LightFMParameters
    from recsys.models.configuration import parse_configuration as parse_configuration
    from recsys.models.content import Profiles as Profiles
    from recsys.models.content import tf_idf as tf_idf
    from recsys.models.foldin import FoldIn as FoldIn
    from recsys.models.foldin import blend_users as blend_users
    from recsys.models.foldin import learn_foldin as learn_foldin
    from recsys.models.hybrid import FeaturesBySide as FeaturesBySide
    from recsys.models.hybrid import HybridModel as HybridModel
    from recsys.models.hybrid import LightFM as LightFM
    from recsys.models.hybrid import SideFeatures as SideFeatures
    from recsys.models.lightfm import DivergedError as DivergedError
    from recsys.models.lightfm import Training as Training
    from recsys.models.mapping import Mapping as Mapping
    from recsys.models.mapping import fit_mapping as fit_mapping
    from recsys.models.model import MODELS as MODELS
    from recsys.models.model import FactorModel as FactorModel
    from recsys.models.model import Model as Model
    from recsys.models.model import model_class as model_class
    from recsys.models.model import model_from_dict as model_from_dict
    from recsys.models.popularity import Popularity as Popularity
    from recsys.models.side import SideInformation as SideInformation
    from recsys.models.side import Vocabulary as Vocabulary
    from recsys.models.spectral import Spectrum as Spectrum
    from recsys.models.untrained import UntrainedUsers as UntrainedUsers
    from recsys.models.untrained import UntrainedWeights as UntrainedWeights

__all__ = [
    "MODELS",
    "Als",
    "Bpr",
    "DivergedError",
    "FactorModel",
    "FeaturesBySide",
    "FoldIn",
    "HybridModel",
    "HybridParameters",
    "LightFM",
    "LightFMParameters",
    "Mapping",
    "Model",
    "Popularity",
    "Profiles",
    "SideFeatures",
    "SideInformation",
    "Spectrum",
    "Training",
    "UntrainedUsers",
    "UntrainedWeights",
    "Vocabulary",
    "blend_users",
    "fit_mapping",
    "learn_foldin",
    "model_class",
    "model_from_dict",
    "parse_configuration",
    "tf_idf",
]
__getattr__, __dir__ = lazily(
    __name__,
    {
        ".untrained": ["UntrainedUsers", "UntrainedWeights"],
        ".als": ["Als"],
        ".bpr": ["Bpr"],
        ".configuration": ["HybridParameters", "LightFMParameters", "parse_configuration"],
        ".content": ["Profiles", "tf_idf"],
        ".foldin": ["FoldIn", "blend_users", "learn_foldin"],
        ".hybrid": ["FeaturesBySide", "HybridModel", "LightFM", "SideFeatures"],
        ".lightfm": ["DivergedError", "Training"],
        ".mapping": ["Mapping", "fit_mapping"],
        ".model": ["MODELS", "FactorModel", "Model", "model_class", "model_from_dict"],
        ".popularity": ["Popularity"],
        ".side": ["SideInformation", "Vocabulary"],
        ".spectral": ["Spectrum"],
    },
)
