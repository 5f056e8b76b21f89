"""What do routers know? BGP and BFD: engines without IO, and the thin shells that give them sockets and time.

    route.py    what a router is told of a VIP, and how
    policy.py   which routes each peer is to have (pure)
    bgp/        messages, the state machine, one session (pure)
    bfd/        packets, one session (pure), and the small process that sends and hears them
    speaker.py  the sockets of BGP

An engine takes bytes, events and `now`, and returns what is to be done. It never sleeps, and never asks for the time.
"""
