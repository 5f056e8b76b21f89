"""The configuration in force for people: aligned tables, the text of `vc5 check`."""

from __future__ import annotations

from appliance.config.kinds import duration_text
from appliance.model import Backend, Check, CheckKind, Config, Service, TunnelKind, Vlan


def explain_text(config: Config) -> str:
    """Return the settings, then each service with its backends and checks; lines end without blanks."""
    settings = [
        ("mode", str(config.mode)),
        ("interfaces", " ".join(config.interfaces) or "none"),
        ("xdp", str(config.xdp)),
        ("hash_seed", "generated" if config.hash_seed is None else "given"),
        ("max_flows", str(config.max_flows)),
        ("idle", duration_text(config.idle)),
        ("udp_grace", duration_text(config.udp_grace)),
        ("unknown_port", str(config.unknown_port)),
        ("hold_down", duration_text(config.hold_down)),
        ("on_isolation", "demote" if config.demote else "no"),
        ("attach_delay", duration_text(config.attach_delay)),
        ("block", " ".join(str(prefix) for prefix in config.block) or "none"),
        ("count_prefixes", "yes" if config.count_prefixes else "no"),
        ("mixed_tags", "yes" if config.mixed_tags else "no"),
        *((f"vlan {vlan.id}", _vlan(vlan)) for vlan in config.vlans),
    ]
    count = len(config.services)
    blocks = ["\n".join(_table(settings)), f"{count or 'no'} service{'s' if count != 1 else ''}"]
    blocks.extend("\n".join(_service(service)) for service in config.services)
    return "\n\n".join(blocks) + "\n"


def _vlan(vlan: Vlan) -> str:
    return f"{vlan.prefix} gateway {vlan.gateway}" if vlan.gateway else str(vlan.prefix)


def _service(service: Service) -> list[str]:
    title = " ".join(part for part in (str(service.key), service.name) if part)
    lines = [f"{title}  {service.description}".rstrip()]
    facts = (
        f"need {service.need}, on_dead {service.on_dead}, on_down {service.on_down}, "
        f"drain_timeout {duration_text(service.drain_timeout)}"
    )
    if not service.critical:
        facts += ", not critical"
    if service.vip_any:
        facts += ", vip_up any"
    if service.max_removal is not None:
        facts += f", max_removal {service.max_removal:.0%} in {duration_text(service.removal_window)}"
    lines.extend(("  " + facts, "  " + ", ".join(_way(service))))
    backends = [("backend", "port", "weight", "state"), *(_backend(backend, service) for backend in service.backends)]
    checks = [
        ("check", "port", "every", "within", "rise", "fall", "request", "expect"),
        *(_check(check) for check in service.checks),
    ]
    lines.extend("  " + line for line in (_table(backends) if service.backends else ["no backends"]))
    lines.extend("  " + line for line in (_table(checks) if service.checks else ["no checks"]))
    return lines


def _way(service: Service) -> list[str]:
    """Return how flows are shared out and packets travel; what is off is left out."""
    words = [f"scheduler {service.scheduler}", f"tracking {service.tracking}", f"forward {service.forward}"]
    if service.eject_most_loaded:
        words.append("eject_most_loaded")
    if service.sticky:
        words.append("sticky")
    if service.slow_start:
        words.append(f"slow_start {duration_text(service.slow_start)}")
    if service.clamp_mss:
        words.append(f"clamp_mss {service.clamp_mss}")
    tunnel = service.tunnel
    if tunnel is not None:
        words.append(f"tunnel {tunnel.kind}")
        if tunnel.kind in (TunnelKind.FOU, TunnelKind.GUE):
            words[-1] += f" to port {tunnel.port} with{'' if tunnel.checksum else 'out'} checksum"
        elif tunnel.kind is TunnelKind.DSCP:
            words[-1] += f" {tunnel.code}"
    return words


def _backend(backend: Backend, service: Service) -> tuple[str, ...]:
    port = str(backend.port or service.key.port)
    state = ("enabled" if backend.enabled else "disabled") + (" fallback" if backend.fallback else "")
    return (str(backend.address), port, str(backend.weight), state)


def _check(check: Check) -> tuple[str, ...]:
    window = f" of {check.window}" if check.window else ""
    common = (
        str(check.kind),
        str(check.port),
        duration_text(check.interval),
        duration_text(check.timeout),
        f"{check.rise}{window}",
        f"{check.fall}{window}",
    )
    if check.kind not in (CheckKind.HTTP, CheckKind.HTTPS):
        return (*common, "", "")
    host = f"[{check.host}]" if check.host.count(":") > 1 and not check.host.startswith("[") else check.host
    return (*common, f"{check.method} {host}{check.path}", codes_text(check.expect))


def codes_text(codes: tuple[int, ...]) -> str:
    """Return status codes as the configuration writes them: `200 300-399`, or `any`."""
    runs: list[list[int]] = []
    for code in codes:
        if runs and runs[-1][-1] == code - 1:
            runs[-1].append(code)
        else:
            runs.append([code])
    texts = [str(run[0]) if len(run) == 1 else f"{run[0]}-{run[-1]}" for run in runs]
    return " ".join(texts) or "any"


def _table(rows: list[tuple[str, ...]] | list[tuple[str, str]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return ["  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
