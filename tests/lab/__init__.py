"""A lab of network namespaces: topology, backends, traffic tools and the daemon under test.

Imports nothing, because the traffic tools are started as `python -m tests.lab.X` and shall start quickly.
"""
