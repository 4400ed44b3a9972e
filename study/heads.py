"""Heads of Ray clusters on this machine, wherever their files lie: by their processes, as Ray looks for them too."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from study.private_ray import PREFIX


def running(processes: Path = Path("/proc")) -> list[str]:
    """Their addresses, without those of local runs, which serve nobody else; none where the system does not tell."""
    found = set()
    for file in processes.glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it has ended
            words = file.read_bytes().decode(errors="replace").split("\0")
            if not words[0].endswith("/gcs_server"):
                continue
            options = dict(word.lstrip("-").split("=", 1) for word in words if "=" in word)
            host, port = options.get("node-ip-address", "127.0.0.1"), options.get("gcs_server_port", "0")
            if port != "0" and PREFIX not in options.get("log_dir", ""):
                found.add(f"{host}:{port}")
    return sorted(found)
