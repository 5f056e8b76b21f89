"""The Debian package, judged by what is in it and by what installing, upgrading and removing it does.

building.py    makes the package, here and with another version
archive.py     what is in a package
debian.py      Debian systems to install it into: a tree built once for each release, and a layer above it for each test
booted.py      such a system with systemd as its first process
"""
