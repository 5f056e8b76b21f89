"""The host's network: links, addresses, routes and neighbours as netlink tells them, the probe namespace.

Of pyroute2 only those parts are loaded that are used, and of unittest only `mock`, which one of them imports: parts.py
says why.
"""

from appliance.net.parts import without_the_rest

without_the_rest("pyroute2")
without_the_rest("unittest")
