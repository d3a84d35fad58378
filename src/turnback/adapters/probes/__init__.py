"""The probes that need no database session: HTTP, metrics, log, disk, processes. Each a ports.Probe.

A probe reads one thing and decides nothing. What it could not read is a ProbeError, never a value.
"""

from turnback.adapters.probes.http_check import HttpProbe

__all__ = ["HttpProbe"]
