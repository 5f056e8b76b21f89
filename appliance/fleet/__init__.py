"""What several balancers behind one router tell each other, in UDP datagrams.

    envelope.py   one datagram: who sent it, and whether with our key (pure)
    records.py    what is told (pure)
    codec.py      records and bytes (pure)
    messages.py   the other things that a datagram may hold (pure)
    replay.py     which datagrams have been seen, and which senders live now (pure)
    stream.py     records in order, each once, whatever is lost (pure)
    transfer.py   much at once, to one who asks (pure)
    members.py    who is there (pure)
    receipts.py   what members have taken in, and when it was told (pure)
    session.py    the engine that is made of these: datagrams and `now` in, orders out (pure)
    socket.py     UDP, unicast and multicast
    runner.py     the engine and its sockets in an event loop
    status.py     what there is to say of all this, with difference.py: in what nodes differ (pure)

The engine runs in the daemon's loop: most records are one store in tables that the daemon maps, a datagram is parsed
only once its authentication has been proved, and a budget of datagrams a turn bounds what a flood costs.
"""
