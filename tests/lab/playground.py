"""A lab that is left running to play with: lab.json says where everything is, and the screen how to use it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.lab.addresses import CLIENT_ADDRESSES, FIRST_BACKEND, HTTP, ROUTER, VIP
from tests.lab.backend import REPOSITORY
from tests.lab.daemon import PROGRAM
from tests.lab.debris import PREFIX, lab_directory, remove_files, remove_from_kernel
from tests.lab.lock import exclusive
from tests.lab.stage import Stage
from tests.lab.topology import Lab

FILE = "lab.json"


def keep(stage: Stage, output: Path) -> Path:
    """Let lab and daemon outlive this process, write lab.json, and tell how to use them; returns the file."""
    lab, daemon = stage.lab, stage.daemon
    command = f"PYTHONPATH={REPOSITORY} {' '.join(PROGRAM)} --root {daemon.root}"
    about = {
        **lab.describe(),
        "configuration_file": str(daemon.configuration_file),
        "control_socket": str(daemon.places.control_socket),
        "root": str(daemon.root),
        "pid": daemon.pid,
        "vc5": command,
        "standard_error": str(daemon.root / "stderr"),
    }
    file = output / FILE
    file.write_text(json.dumps(about, indent=1) + "\n")
    story = stage.story
    story.print()
    for line in instructions(lab, command, str(daemon.configuration_file)):
        story.print(line)
    daemon.disown()
    lab.keep()
    return file


def instructions(lab: Lab, command: str, configuration: str) -> list[str]:
    """Return what to type, in a shell of root."""
    unwell = lab.backends["b2"].directory / "unwell"
    pair = f"{VIP}:{HTTP}/tcp {FIRST_BACKEND}"
    return [
        "The lab is running. In a shell of root, first:",
        "",
        f"   alias vc5='{command}'",
        f"   alias client='nsenter --net={lab.client.path}'",
        f"   alias balancer='nsenter --net={lab.balancer.path}'",
        f"   alias b2='nsenter --net={lab.backends['b2'].namespace.path}'",
        "",
        "Requests, and a download of twenty seconds:",
        "",
        f"   client curl http://{VIP}/",
        f"   client sh -c 'for n in 1 2 3 4 5 6; do curl -s http://{VIP}/; done'",
        f"   client curl -o /dev/null 'http://{VIP}/big?rate=200k'",
        "",
        "What the balancer does and knows:",
        "",
        "   vc5 status",
        "   vc5 log --follow",
        f"   vc5 explain --flow 'tcp {CLIENT_ADDRESSES[0]}:4242 {VIP}:{HTTP}'",
        "   balancer ip link show eth0",
        "",
        "Drain b1; make b2 answer its check with 503; let it fall silent:",
        "",
        f"   vc5 drain {pair}",
        f"   vc5 undrain {pair}",
        f"   touch {unwell}",
        f"   rm {unwell}",
        "   b2 ip link set eth0 down",
        "   b2 ip link set eth0 up; b2 ip route add default via " + str(ROUTER),
        "",
        "Change the configuration:",
        "",
        f"   editor {configuration}",
        "   vc5 reload",
    ]


def sweep(output: Path, everything: bool = False) -> list[str]:
    """End the lab that lab.json tells of; without such a file, and with `everything`, all that were kept.

    Returns the names of those that were ended.
    """
    file = output / FILE
    try:
        name = str(json.loads(file.read_text())["name"])
    except FileNotFoundError:
        return Lab.sweep(kept=True) if everything else []
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"{file} is of no use: {error}", file=sys.stderr)
        return Lab.sweep(kept=True) if everything else []
    ended = []
    if name.startswith(PREFIX) and "/" not in name and (lab_directory(name) / "kept").exists():
        with exclusive("labs"):
            remove_from_kernel(name)
            remove_files(name)
        ended.append(name)
    file.unlink()
    return ended
