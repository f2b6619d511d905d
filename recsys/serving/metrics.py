"""Metrics: what a server counts of itself, in the format of Prometheus.

With several workers each counts in a file of its own, in a folder that they share, and whichever is
asked adds them up (prometheus-client's multiprocess mode). The folder is named by an environment
variable that has to be set before prometheus-client is imported: see `recsys.serving.workers`.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector

from recsys.recommend.queries.answers import Answer
from recsys.serving.questions import Question

_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
# Notes and errors are sentences for people; these two say what was not known.
_IGNORED = re.compile(r"([\d,]+) unknown (item|tag|feature|user)s? ignored")
_NO_SUCH = re.compile(r"no (user|item|tag|feature) ")
_BY_POPULARITY = "by popularity"


@dataclass
class Metrics:
    """The metrics of one process.

    Attributes are counters, gauges and histograms of prometheus-client.
    """

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"recsys_{name}", about, labels, registry=self.registry)

        self.requests = counter("requests", "Requests, by address and status.", "path", "status")
        self.questions = counter("questions", "Questions that were answered.", "query")
        self.errors = counter("errors", "Requests that were refused, by code.", "code")
        self.unknown = counter("unknown_ids", "Ids that the model does not know.", "kind")
        self.empty = counter("empty_answers", "Answers without a row.", "query")
        self.popularity = counter(
            "popularity_answers", "Answers by popularity, as nothing else was known.", "query"
        )
        self.compared = counter(
            "online_answers",
            "Recommendations, by arm of the comparison; none: recorded outside of one; "
            "unrecorded: the log could not be written.",
            "arm",
        )
        self.outcomes = counter("outcomes", "Outcomes that were posted.", "outcome")
        self.outcomes_unknown = counter("outcomes_unknown", "Outcomes that belong to no answer.")
        self.seconds = Histogram(
            "recsys_answer_seconds",
            "Seconds for the questions of a request; several: of different kinds.",
            ("query",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.workers = Gauge(
            "recsys_workers",
            "Processes that answer, by the version that they answer with.",
            ("version",),
            registry=self.registry,
            multiprocess_mode="livesum",
        )
        self._version: str | None = None

    def answered(
        self, questions: Sequence[Question], answers: Sequence[Answer], seconds: float
    ) -> None:
        """Count a request that was answered."""
        kinds = {question.query for question in questions}
        if kinds:
            label = next(iter(kinds)) if len(kinds) == 1 else "several"
            self.seconds.labels(label).observe(seconds)
        for question, answer in zip(questions, answers, strict=True):
            query = question.query
            self.questions.labels(query).inc()
            if not len(answer):
                self.empty.labels(query).inc()
            for note in answer.notes:
                if ignored := _IGNORED.match(note):
                    self.unknown.labels(ignored[2]).inc(int(ignored[1].replace(",", "")))
                elif note.endswith(_BY_POPULARITY):
                    self.popularity.labels(query).inc()

    def refused(self, code: str, found: str) -> None:
        """Count a request that was refused, and an id that is the reason."""
        self.errors.labels(code).inc()
        if code == "not_found" and (named := _NO_SUCH.match(found)):
            self.unknown.labels(named[1]).inc()

    def answers_with(self, version: str) -> None:
        """Note the version that this process answers with."""
        if version != self._version:
            if self._version is not None:
                self.workers.labels(self._version).set(0)
            self.workers.labels(version).set(1)
            self._version = version

    def text(self, readings: Callable[[], Iterable[Reading]]) -> bytes:
        """All metrics of all processes, and what is read at this moment.

        Parameters
        ----------
        readings : callable
        """
        found = CollectorRegistry()
        found.register(_Readings(readings))
        if folder := os.environ.get(_FOLDER):
            MultiProcessCollector(found, path=folder)  # type: ignore[no-untyped-call]
            return generate_latest(found)
        return generate_latest(self.registry) + generate_latest(found)


@dataclass(frozen=True)
class Reading:
    """A value that is read when it is asked for.

    Parameters
    ----------
    name, about : str
    value : float
    labels : dict of str to str
    """

    name: str
    about: str
    value: float
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(eq=False)
class _Readings:
    """Readings as a collector of prometheus-client."""

    readings: Callable[[], Iterable[Reading]]

    def collect(self) -> Iterator[Metric]:
        """The readings of this moment."""
        families: dict[str, GaugeMetricFamily] = {}
        for one in self.readings():
            name = f"recsys_{one.name}"
            if name not in families:
                families[name] = GaugeMetricFamily(name, one.about, labels=tuple(one.labels))
            families[name].add_metric(tuple(one.labels.values()), one.value)
        yield from families.values()


def age(since: float | None) -> float | None:
    """Seconds since a moment."""
    return None if since is None else max(0.0, time.time() - since)
