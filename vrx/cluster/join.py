"""A Ray cluster, joined or started.  Torch is not imported for it: it is while Ray starts, see `start.py`."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from uuid import uuid4

from vrx.cluster import reaper
from vrx.cluster.knock import knock
from vrx.errors import DeviceError, UsageError
from vrx.media.signals import SIGNALS

logger = logging.getLogger(__name__)
LOCAL_STORE = 256 << 20  # bytes of the object store that is started here: without --ship only messages are in it
VISIBLE = "CUDA_VISIBLE_DEVICES"
NICENESS = "RAY_worker_niceness"  # 15 by default: beside other work, workers would hardly get on
MARK = "VRX_LOCAL_CLUSTER"  # its value tells the processes of one cluster from those of others


def load_ray(what: str) -> Any:
    """Ray, which is an extra that `what` needs.  Raises UsageError where it is not installed."""
    missing = UsageError(f"{what} Ray, which is not installed", 'Install it with: pip install "vrx[ray]"')
    try:
        import ray
    except ImportError as error:
        raise missing from error
    if not hasattr(ray, "init"):  # a folder of that name where Python looks
        raise missing
    return ray


@contextmanager
def connect(address: str, ship: bool, gpus: Sequence[int] = ()) -> Iterator[str]:
    """A cluster by its address, `local` for one on this machine only, `auto` for the one that is found, else that.

    `gpus`: the only ones that a local one has, () for all.  Gives what was joined, in words.  All that was started is
    gone afterwards.  Raises UsageError without Ray, and DeviceError where no cluster answers.
    """
    ray = load_ray("several GPUs need" if len(gpus) > 1 else "--ray needs")
    handlers = {number: signal.getsignal(number) for number in SIGNALS}  # Ray sets one of its own
    silence(ray)
    with ExitStack() as gone:
        mark = gone.enter_context(marked_to_end()) if address in ("local", "auto") else ""
        try:
            yield join(ray, address, ship, gpus, mark)
        finally:
            ray.shutdown()
            restore(handlers)


def silence(ray: Any) -> None:
    """Keep what Ray reports of lost processes off standard output, where events are; it has no setting for that."""
    printer = getattr(getattr(ray, "_private", None), "worker", None)
    if printer is not None and hasattr(printer, "print_to_stdstream"):
        printer.print_to_stdstream = lambda data, ignore_prefix=False: logger.debug("%s", data.get("lines"))


@contextmanager
def marked_to_end() -> Iterator[str]:
    """A value of MARK: processes whose environment has it are gone afterwards, also where this process is killed."""
    mark = uuid4().hex
    if not (reaper.PROCESSES / "self" / "environ").exists():  # not Linux
        yield mark
        return
    command = [sys.executable, "-I", "-S", reaper.__file__, f"{MARK}={mark}"]
    # in a session of its own, which signals of the terminal do not reach
    null = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=null, stderr=null, start_new_session=True):
        yield mark


def join(ray: Any, address: str, ship: bool, gpus: Sequence[int] = (), mark: str = "") -> str:
    """Connect to a cluster, or start one, all of whose processes have the mark; see `connect`."""
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    quiet = {"log_to_driver": False, "logging_level": logging.CRITICAL, "ignore_reinit_error": False}
    here = {"address": "local", "include_dashboard": False} | ({} if ship else {"object_store_memory": LOCAL_STORE})
    try:
        if address == "local":
            with environment_of_workers(gpus, mark):
                start_node(ray, **here, **quiet, **({"num_gpus": len(gpus)} if gpus else {}))
            return "this machine"
        if address == "auto":
            try:
                ray.init(address="auto", **quiet)
            except ConnectionError:
                with environment_of_workers(mark=mark):
                    start_node(ray, **here, **quiet)
                return "this machine (no cluster was found)"
        else:
            knock(ray, address)
            ray.init(address=address, **quiet)
        return f"the cluster at {ray.get_runtime_context().gcs_address}"
    except (OSError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        reason = str(error).strip().splitlines()
        raise DeviceError(
            f"cannot join a Ray cluster at {address}: {reason[0] if reason else type(error).__name__}",
            "See what runs there with: ray status --address ADDRESS; or use --ray local",
        ) from error
    finally:
        restore(handlers)


@contextmanager
def environment_of_workers(gpus: Sequence[int] = (), mark: str = "") -> Iterator[None]:
    """Processes that are started meanwhile see these GPUs only, those of this process's own view by their numbers.

    They have the mark.  Workers have the priority of this process, unless the user says otherwise.
    """
    before = {name: os.environ.get(name) for name in (VISIBLE, NICENESS, MARK)}
    view = (before[VISIBLE] or "").split(",") if before[VISIBLE] else None
    if gpus:
        os.environ[VISIBLE] = ",".join(view[gpu] if view else str(gpu) for gpu in gpus)
    os.environ.setdefault(NICENESS, "0")
    os.environ[MARK] = mark
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def start_node(ray: Any, **options: Any) -> None:
    """Start a node on this machine, without what a run does not need where this version of Ray can do so."""
    try:
        with without_services(ray):
            ray.init(**options)
    except (AttributeError, TypeError) as error:  # its private parts have another form
        logger.debug("Ray starts with all its services: %s", error)
        ray.shutdown()
        ray.init(**options)


@contextmanager
def without_services(ray: Any) -> Iterator[None]:
    """A node that is started meanwhile has none of what serves many users for long, and takes seconds of a run.

    That is the autoscaler, which also ends late, the server of the dashboard's data, and the reader of logs.  Ray has
    no settings for them; where its parts have other names, all are started.
    """
    private: Any = getattr(ray, "_private", None)
    parameter: Any = getattr(private, "parameter", None)
    services: Any = getattr(private, "services", None)
    with ExitStack() as undo:
        if hasattr(parameter, "RayParams"):
            made = partial(parameter.RayParams, no_monitor=True, include_log_monitor=False)
            undo.enter_context(replaced(parameter, "RayParams", made))
        if hasattr(services, "start_api_server"):
            # what it gives where the server cannot be started: its address and its process
            undo.enter_context(replaced(services, "start_api_server", lambda *_, **__: (None, None)))
        yield


@contextmanager
def replaced(owner: Any, name: str, value: object) -> Iterator[None]:
    """An attribute that is another one meanwhile."""
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def restore(handlers: dict[int, Any]) -> None:
    """Set signal handlers as they were."""
    for number, handler in handlers.items():
        if handler is not None:
            signal.signal(number, handler)
