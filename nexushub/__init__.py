"""NexusHub: terminal-first administration for WireGuard hubs. Importing this package imports nothing else."""

__version__ = "0.1.0"
