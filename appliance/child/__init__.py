"""Processes of the daemon that hold less than it does: how they are started, heard and ended."""
