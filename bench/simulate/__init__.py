"""What becomes of connections at a site of very many balancers and backends: `make simulate`.

Theory of operation. Balancers that have seen the same events hold the same tables, and a packet concerns one slot of
its service. So nothing has to be computed balancer by balancer, or slot by slot, that is not different there:

  slots are sampled    What happens in a slot depends on the history of its answer and on the packets of its own flows,
                       and on nothing in other slots. So some slots are drawn, each is simulated with all of its flows,
                       and counts are multiplied by how many slots each stands for. Slots whose answer changes at some
                       time and those whose answer never does are drawn separately; the latter cannot break anything,
                       which a few of them show. Which answers change, and when, `maglev` computes for every slot.
  memory is shared     All balancers' copies of one slot are the slots of one `Memory`: balancer n has slot n. Copies
                       are changed and swept by the product's `SlotTable`, and packets are answered by the product's
                       model, `Tracking.answer`. A flow's hash has the balancer's number mixed in, so that each balancer
                       remembers for itself.
  time is lazy         Each balancer sees each event at a moment of its own, and each record of the exchange too. What
                       has come to a balancer since it was last looked at is done when the next packet reaches it, in
                       the order of time, each after a sweep. Sweeping before every change is as good as every second:
                       the conditions of a sweep, once true, remain true until something changes.

What balancers tell is counted as told by those who saw the packets, once for each round. What each tells of the slots
that it tracks is counted from the share of slots that is tracked, and so is the most that it can be: as long as tables
are the same, only those slots are told again by which flows go elsewhere.

What is left out: the flow table never runs full (how many flows it holds is reported), packets are lost only where a
balancer is dead and still routed to, clients do not come back after a break, and UDP. Of an LRU table of bounded size
there is only the time after which it pushes a silent flow out (`schemes.patience`).

tests/unit/simulate holds all this against a plain simulation of three balancers, packet by packet, with all slots, a
memory for each balancer, a sweep every second, and every record delivered when it arrives: connection by connection the
two break the same.
"""
