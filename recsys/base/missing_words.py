"""Words that stand for a missing value in what databases, pandas, R and spreadsheets write."""

from __future__ import annotations

MISSING_WORDS = (
    "\\N", "NULL", "null", "Null", "nan", "NaN", "NAN", "None", "<NA>", "NaT", "NA", "N/A", "#N/A",
)  # fmt: skip
