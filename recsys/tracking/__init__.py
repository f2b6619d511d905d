"""Tracking: MLflow runs of studies and trials, and the model registry."""

from typing import TYPE_CHECKING

from recsys._lazy import lazily

if TYPE_CHECKING:
    from recsys.tracking.bundles import locate_bundle as locate_bundle
    from recsys.tracking.bundles import locate_manifest as locate_manifest
    from recsys.tracking.cache import BundleCache as BundleCache
    from recsys.tracking.client import PatientClient as PatientClient
    from recsys.tracking.client import prepare_database as prepare_database
    from recsys.tracking.provenance import TrackedDataset as TrackedDataset
    from recsys.tracking.provenance import library_versions as library_versions
    from recsys.tracking.recorder import StudyRecorder as StudyRecorder
    from recsys.tracking.registry import Registry as Registry
    from recsys.tracking.registry import open_registry as open_registry
    from recsys.tracking.registry import whoami as whoami
    from recsys.tracking.runs import StudyDescription as StudyDescription
    from recsys.tracking.runs import Tracker as Tracker
    from recsys.tracking.runs import open_tracker as open_tracker
    from recsys.tracking.studies import StudyRun as StudyRun
    from recsys.tracking.studies import TrialCurve as TrialCurve
    from recsys.tracking.studies import read_study as read_study
    from recsys.tracking.versions import CHALLENGER as CHALLENGER
    from recsys.tracking.versions import CHAMPION as CHAMPION
    from recsys.tracking.versions import PREVIOUS as PREVIOUS
    from recsys.tracking.versions import ModelAddress as ModelAddress
    from recsys.tracking.versions import Version as Version

__all__ = [
    "CHALLENGER",
    "CHAMPION",
    "PREVIOUS",
    "BundleCache",
    "ModelAddress",
    "PatientClient",
    "Registry",
    "StudyDescription",
    "StudyRecorder",
    "StudyRun",
    "TrackedDataset",
    "Tracker",
    "TrialCurve",
    "Version",
    "library_versions",
    "locate_bundle",
    "locate_manifest",
    "open_registry",
    "open_tracker",
    "prepare_database",
    "read_study",
    "whoami",
]
__getattr__, __dir__ = lazily(
    __name__,
    {
        ".bundles": ["locate_bundle", "locate_manifest"],
        ".cache": ["BundleCache"],
        ".client": ["PatientClient", "prepare_database"],
        ".provenance": ["TrackedDataset", "library_versions"],
        ".recorder": ["StudyRecorder"],
        ".registry": ["Registry", "open_registry", "whoami"],
        ".runs": ["StudyDescription", "Tracker", "open_tracker"],
        ".studies": ["StudyRun", "TrialCurve", "read_study"],
        ".versions": ["CHALLENGER", "CHAMPION", "PREVIOUS", "ModelAddress", "Version"],
    },
)
