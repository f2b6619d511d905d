"""Starts the gallery on one address, loopback by default, until it is interrupted."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import uvicorn

from recsys.base.config import Config, default_answers_log
from recsys.base.errors import ConfigError
from recsys.data.answers_log import AnswersLog
from recsys.gallery.opened_models import OpenedModels, Rules
from recsys.gallery.pictures import pictures
from recsys.gallery.site import Site
from recsys.recommend.house_rules import WatchedRules

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def serve(
    model: str, config: Config, host: str, port: int, rules: str | Path | None = None
) -> None:
    """Serve the gallery of a model.

    Parameters
    ----------
    model : str
        A registered name, or a bundle's folder.
    config : Config
        `tracking` says where the registry is and where people open MLflow.
    host : str
    port : int
        0 for any free one.
    rules : str, Path or None
        A file of house rules; by default that of batches (`batch.rules`).

    Raises
    ------
    InputError
        If the rules cannot be read.
    NotFoundError, RegistryError
        If there is no champion, or the registry does not answer.
    ConfigError
        If the address is in use, or not of this machine.
    """
    listening = _listen(host, port)
    try:
        site = gallery(model, config, host, rules)
        opened = site.models.champion()
        opened.warm()
        # Computing the map takes longest, so it starts before a person opens the page.
        threading.Thread(target=site.maps.prepare, args=(opened,), daemon=True).start()
        name = f"[{host}]" if ":" in host else host
        version = f", version {opened.number}" if opened.number else ""
        port = listening.getsockname()[1]
        print(f"{site.models.title}{version}: http://{name}:{port} (Ctrl+C ends it)", flush=True)
        options = uvicorn.Config(
            site.app,
            log_level="warning",
            lifespan="off",
            server_header=False,
            # An id of 10,000 letters in an address is longer than h11 takes by default.
            http="h11",
            h11_max_incomplete_event_size=1 << 20,
        )
        uvicorn.Server(options).run(sockets=[listening])
    finally:
        listening.close()


def gallery(model: str, config: Config, host: str, rules: str | Path | None = None) -> Site:
    """Make the site as configured."""
    file = rules or config.batch.rules
    followed = Rules()
    if file is not None:
        answers = config.batch.answers or default_answers_log(Path(model).name)
        followed = Rules(WatchedRules(file), AnswersLog(answers))
    hosts = (*LOOPBACK[:2], "[::1]") if host in LOOPBACK else None
    folder = Path(config.gallery.folder)
    models = OpenedModels(model, config.tracking.uri, rules=followed)
    return Site(models, folder, pictures(config), config.tracking.page, hosts, config.online)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
        # From now on requests wait, instead of being refused, while the first page is prepared.
        found.listen(128)
    except OSError as fault:
        found.close()
        raise ConfigError(
            f"{host}:{port} cannot be listened on ({fault.strerror or fault})",
            "an address of this machine and a free port",
            "choose another with --port, or --port 0 for any",
        ) from fault
    return found
