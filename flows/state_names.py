"""State names: the names of the final states that a flow run of ours may end in."""

from __future__ import annotations

# Of the type Completed: the run did its work and a retry would change nothing. A challenger that is
# held because data are missing has a state of its own, as another person has to act.
HELD, SHRUNKEN = "Held", "Shrunken"
# Of the type Failed.
STAGE_FAILED = "StageFailed"
