"""The health round: every service and every health endpoint is asked how it is, all at once."""

import logging
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Final

from gateway_app import registry
from gateway_app.health import history, http_checks, message_checks, wedged
from gateway_app.health.busy import busy
from gateway_app.health.history import Tally
from gateway_app.health.http_probe import Endpoint, Probe
from gateway_app.health.load import Load
from gateway_app.health.message_checks import Result
from gateway_app.health.results import keep
from gateway_app.models import SERVING, Service, ServiceInstance, State
from gateway_app.networks import Networks
from gateway_app.registry import registry_status
from messaging import MessagingConfig, MessagingError, ServiceCommunicator
from messaging.bus import MessageBus
from messaging.clock import SYSTEM_CLOCK
from messaging.custody.link import Link
from messaging.envelope import utc_now

logger = logging.getLogger(__name__)

#: Nothing more is asked after this share of the time until the next round...
ASKING_SHARE: Final = 0.5
#: ...but for so long in any case.
ASKING_LEAST_SECONDS: Final = 10.0
#: The gateway's own result while it cannot reach what lives.
OWN_FAULT: Final = "nearly no health endpoint can be reached: rather a fault of the gateway's own"


def run_round(communicator: ServiceCommunicator) -> None:
    """Ask every service and every health endpoint, and put on record what that says.

    Blocks for a few `message_checks.ANSWER_SECONDS`, for about half of ``health_check_seconds``
    at most. Two rounds at once count one failure twice, and do no other harm.
    """
    began, now = SYSTEM_CLOCK.monotonic(), utc_now()
    config = communicator.bus.config
    seconds = max(ASKING_LEAST_SECONDS, ASKING_SHARE * config.health_check_seconds)
    awake = [each for each in _present() if not _in_maintenance(each, now)]
    alive: Collection[str] = {i.instance_id for i in awake if _is_heard(i, config, now)}
    before = wedged.remembered()
    # First: what this round itself asks must not count as waiting.
    wedged_by = _look(communicator.bus, [i for i in awake if i.instance_id in alive], now)
    asked = {each.service.name for each in awake if _answers(each)} - {communicator.name}
    with ThreadPoolExecutor(1, thread_name_prefix="gateway-probes") as thread:
        probing = thread.submit(
            http_checks.probe_all,
            [endpoint for each in awake if (endpoint := _endpoint(each))],
            timeout_seconds=config.probe_timeout_seconds,
            ends_at=began + seconds,
            networks=Networks.of(config),
        )
        answers = message_checks.ask_all(communicator, asked, ends_at=began + seconds)
        probes = probing.result()
    if registry_status.load().mass_silence_since is not None:
        alive = probes.keys()  # taken for alive, for the same reason
    blamed = ""
    if http_checks.is_own_fault(probes, alive):
        blamed = _blamed(probes.values())
        probes = {key: probe for key, probe in probes.items() if probe.is_answered}
    ended_at = utc_now()
    registry.note_findings(_findings(awake, probes, wedged_by), ended_at)
    # Read anew: who came while the others were asked is not to be called down for that, and a
    # heartbeat may have come while an answer was waited for.
    names = list(Service.objects.values_list("name", flat=True))
    present = _present()  # after the names: nobody whose instance is missed is among them
    heard = [each for each in present if _is_heard(each, config, ended_at)]
    results = _resting(names, present, ended_at) | answers | busy(answers, heard, before)
    results[communicator.name] = _own(communicator, blamed)
    tallies = _tallies(awake, probes, results)
    changed = keep(results, tallies, failures_until_down=config.probe_failures, now=ended_at)
    if blamed and communicator.name in changed:
        logger.warning("%s; none of this counts against an instance", blamed)
    history.sweep(ended_at)
    _note_round(len(tallies), SYSTEM_CLOCK.monotonic() - began)


def _present() -> list[ServiceInstance]:
    return list(ServiceInstance.objects.filter(left_at=None).select_related("service"))


def _in_maintenance(instance: ServiceInstance, now: datetime) -> bool:
    until = instance.maintenance_until
    return instance.state == State.MAINTENANCE or (until is not None and until > now)


def _answers(instance: ServiceInstance) -> bool:
    """Return whether an instance may be asked by message."""
    load = Load.of(instance.load_json)
    return instance.heard in SERVING and not (load is not None and load.is_paused)


def _is_heard(instance: ServiceInstance, config: MessagingConfig, now: datetime) -> bool:
    return now - instance.last_seen_at < timedelta(seconds=config.suspect_seconds)


def _endpoint(instance: ServiceInstance) -> Endpoint | None:
    if not (instance.host and instance.port and instance.health_endpoint):
        return None
    return Endpoint(instance.instance_id, instance.host, instance.port, instance.health_endpoint)


def _look(bus: MessageBus, instances: Iterable[ServiceInstance], now: datetime) -> dict[str, str]:
    """Return of those instances of which something can be said why they are wedged, or empty."""
    signs = [
        wedged.Sign(each.instance_id, each.service.name, each.last_seen_at, load)
        for each in instances
        if (load := Load.of(each.load_json))
    ]

    def waiting(services: Iterable[str]) -> dict[str, int]:
        link, lengths = Link(bus), dict[str, int]()
        try:
            for service in services:
                lengths[service] = link.queue_length(service)
        except MessagingError as exc:
            logger.warning("not all queues were looked into for what waits: %s", exc)
        return lengths

    return wedged.look(signs, waiting=waiting, now=now)


def _findings(
    instances: Iterable[ServiceInstance],
    probes: Mapping[str, Probe],
    wedged_by: Mapping[str, str],
) -> list[registry.Finding]:
    """Return what was found out about the instances of which something was."""
    return [
        registry.Finding(
            key,
            probe_error=probes[key].error if key in probes else None,
            wedged=wedged_by.get(key),
        )
        for key in (each.instance_id for each in instances)
        if key in probes or key in wedged_by
    ]


def _resting(
    names: Iterable[str], present: Collection[ServiceInstance], now: datetime
) -> dict[str, Result]:
    """Return the result for each service of which no instance is there to be asked."""
    none_runs = Result(State.DOWN, "no instance is running")
    results = dict.fromkeys(names, none_runs)
    for each in present:
        if _in_maintenance(each, now):
            results[each.service.name] = Result(State.MAINTENANCE, "in maintenance")
    for each in present:
        if not _in_maintenance(each, now) and each.heard in SERVING:
            results.pop(each.service.name, None)
    return results


def _blamed(probes: Iterable[Probe]) -> str:
    """Return what the gateway blames itself for when nearly none of these was answered."""
    if any(probe.is_refused for probe in probes):
        return f"{OWN_FAULT}; some have addresses that upstream_networks does not allow"
    return OWN_FAULT


def _own(communicator: ServiceCommunicator, blamed: str) -> Result:
    # A worker of the gateway is doing this; with one thread it could not answer as well.
    answer = communicator.presence.health()
    if blamed:
        return Result(State.SUSPECT, blamed, answer)
    return Result(State.UP, "answered", answer)


def _tallies(
    instances: Collection[ServiceInstance],
    probes: Mapping[str, Probe],
    results: Mapping[str, Result],
) -> dict[str, Tally]:
    """Return the checks of each service that was asked, by message and by HTTP."""
    tallies: defaultdict[str, Tally] = defaultdict(Tally)
    for name, result in results.items():
        if result.is_check:
            tallies[name].add(result.seconds, is_failure=result.state is not State.UP)
    for each in instances:
        if each.instance_id in probes:
            probe = probes[each.instance_id]
            tallies[each.service.name].add(probe.seconds, is_failure=bool(probe.error))
    return dict(tallies)


def _note_round(services: int, seconds: float) -> None:
    registry_status.load()
    registry_status.row().update(
        round_at=utc_now(), round_seconds=seconds, round_services=services
    )
