"""Serving: the registered model for programs, over MLflow or HTTP."""

from typing import TYPE_CHECKING

from recsys._lazy import lazily

if TYPE_CHECKING:
    from recsys.serving.champion import Champion as Champion
    from recsys.serving.client import Client as Client
    from recsys.serving.http import make_app as make_app
    from recsys.serving.http import openapi as openapi
    from recsys.serving.limits import Limits as Limits
    from recsys.serving.loading import load as load
    from recsys.serving.pyfunc import ServedRecommender as ServedRecommender
    from recsys.serving.pyfunc import register as register
    from recsys.serving.questions import QUERIES as QUERIES
    from recsys.serving.questions import Question as Question
    from recsys.serving.questions import Questions as Questions
    from recsys.serving.questions import answer_all as answer_all
    from recsys.serving.questions import read_question as read_question
    from recsys.serving.questions import read_questions as read_questions
    from recsys.serving.server import serve as serve
    from recsys.serving.workers import Work as Work
    from recsys.serving.workers import serve_with_workers as serve_with_workers

__all__ = [
    "QUERIES",
    "Champion",
    "Client",
    "Limits",
    "Question",
    "Questions",
    "ServedRecommender",
    "Work",
    "answer_all",
    "load",
    "make_app",
    "openapi",
    "read_question",
    "read_questions",
    "register",
    "serve",
    "serve_with_workers",
]
__getattr__, __dir__ = lazily(
    __name__,
    {
        ".champion": ["Champion"],
        ".client": ["Client"],
        ".http": ["make_app", "openapi"],
        ".server": ["serve"],
        ".workers": ["Work", "serve_with_workers"],
        ".limits": ["Limits"],
        ".loading": ["load"],
        ".pyfunc": ["ServedRecommender", "register"],
        ".questions": [
            "QUERIES",
            "Question",
            "Questions",
            "answer_all",
            "read_question",
            "read_questions",
        ],
    },
)
