"""Limits: what a request may take of a server."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """What a request may take.

    Parameters
    ----------
    body : int
        Bytes of a request.
    seconds : float
        For its head to arrive, for its body, and for its answers, each; three times as long for
        everything together, the sending of the answers included.
    threads : int
        Threads that answer.
    waiting : int
        Requests that are answered or wait for it, at most; the next is refused with 503.
    connections : int
        Open at once, at most.
    """

    body: int = 1 << 20
    seconds: float = 10.0
    threads: int = 2
    waiting: int = 256
    connections: int = 1024
