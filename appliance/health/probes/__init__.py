"""The kinds of health check, one file each; what they share is in `connection` (sockets) and `deadline` (time)."""
