"""The specification of the data plane program, as pure Python: what becomes of a frame, and what is remembered of it.

`Model` works on the same tables as the loaded program (`Memory`), and writes what the program writes, so that after any
frames in any order both must have given the same answers and left the same memory, bit for bit. A test holds them
against each other with many thousands of generated frames. One thing is said differently on purpose: services are found
here by name, so that the perfect hash of the program is put to the proof as well.

    packet     what a frame says, and how its bytes change
    tracking   which destination a packet of a service belongs to
    errors     ICMP errors about flows, and answers to packets that are too big
    fragments  datagrams in pieces
    drops      what is written down of dropped packets
    program    every verdict, with its reason and its counters
"""

from appliance.dataplane.model.exits import Action, AnswerKey, Exit
from appliance.dataplane.model.program import Model

__all__ = ["Action", "AnswerKey", "Exit", "Model"]
