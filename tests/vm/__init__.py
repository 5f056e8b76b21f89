"""Tests in a virtual machine: Debian with its own kernel, for what the kernel of the test machine may lack.

    image.py       the disk image, built once from Debian packages
    machine.py     one machine: boot, save, restore, run commands in it, copy files, reboot, cut its power
    worktree.py    this working tree in the machine, and pytest run there
    ahead.py       programs for daemons in the machine, compiled outside of it
    trunk.py       a lab whose balancer has the kernel's VLAN interfaces, on a bond or not
    decapsulation.py, tunnelled.py   backends whose kernel unpacks tunnels, and services with such backends
    surroundings.py, installed.py, terminal.py   a machine that is the appliance, with the package; and its operator
    lacp.py, pace.py                 a trunk of two legs by LACP; processor time for a packet
    guest/         ordinary pytest files that run inside the machine; test_guest.py runs each in a fresh one,
                   and test_systems.py those in guest/systems

The emulation is QEMU's own (TCG): slower than KVM by a factor of ten, and the same everywhere.
"""
