"""Maps: made, opened, read and written element by element or through memory; and the fence between two stores."""

from __future__ import annotations

import ctypes
import errno
import mmap
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

from appliance.dataplane.kernel import libbpf
from appliance.dataplane.kernel.descriptor import Descriptor, check
from appliance.dataplane.spec import BPF_F_MMAPABLE, MapKind, MapSpec
from appliance.errors import KernelError, NotSupported

_BPF_ANY = 0


@dataclass(frozen=True)
class MapInfo:
    """What the kernel says of a map: its number, and its layout (name cut to 15 characters)."""

    id: int
    spec: MapSpec


class Map(Descriptor):
    """A map. Keys and values are bytes, of exactly the sizes of its specification."""

    kind = "map"

    def __init__(self, fd: int, label: str) -> None:
        super().__init__(fd, label)
        self._spec: MapSpec | None = None

    @classmethod
    def create(cls, spec: MapSpec) -> Self:
        """Make a new map, all zeros or empty."""
        lib = libbpf.library()
        opts = libbpf.MapCreateOpts(sz=ctypes.sizeof(libbpf.MapCreateOpts), map_flags=spec.flags)
        result = lib.bpf_map_create(
            spec.kind, spec.name.encode(), spec.key_size, spec.value_size, spec.max_entries, ctypes.byref(opts)
        )
        return cls(check(result, "create", f"map {spec.name}"), f"map {spec.name}")

    def info(self) -> MapInfo:
        """Ask the kernel what this map is. Raises NotSupported for a kind of map that we have no use for."""
        raw = libbpf.MapInfo()
        self._info(raw)
        try:
            kind = MapKind(raw.type)
        except ValueError:
            raise NotSupported(
                f"{self.label} of type {raw.type}", "a map of ours; this pin is somebody else's"
            ) from None
        name = raw.name.decode("ascii", "replace") or "unnamed"
        return MapInfo(raw.id, MapSpec(name, kind, raw.key_size, raw.value_size, raw.max_entries, raw.map_flags))

    def spec(self) -> MapSpec:
        """Return the map's specification as the kernel knows it."""
        if self._spec is None:
            self._spec = self.info().spec
        return self._spec

    def lookup(self, key: bytes) -> bytes | None:
        """Return the value of a key, None where there is none. Per-CPU maps give one padded value per possible CPU."""
        value = ctypes.create_string_buffer(self._value_bytes())
        result = libbpf.library().bpf_map_lookup_elem(self.fd, self._key(key), value)
        if result == -errno.ENOENT:
            return None
        check(result, "look up in", self.label)
        return value.raw

    def update(self, key: bytes, value: bytes) -> None:
        """Set the value of a key, whether it is there or not."""
        if len(value) != self._value_bytes():
            message = f"the value has {len(value)} bytes, not {self._value_bytes()}"
            raise KernelError("update", self.label, errno.EINVAL, message)
        result = libbpf.library().bpf_map_update_elem(self.fd, self._key(key), value, _BPF_ANY)
        check(result, "update", self.label, {errno.E2BIG: "it is full, or the key is beyond its end"})

    def delete(self, key: bytes) -> bool:
        """Remove a key; returns whether it was there."""
        result = libbpf.library().bpf_map_delete_elem(self.fd, self._key(key))
        if result == -errno.ENOENT:
            return False
        check(result, "delete from", self.label)
        return True

    def keys(self) -> Iterator[bytes]:
        """Yield all keys. The kernel begins again when the last key given was deleted meanwhile."""
        lib = libbpf.library()
        previous: bytes | None = None
        while True:
            key = ctypes.create_string_buffer(self.spec().key_size)
            result = lib.bpf_map_get_next_key(self.fd, previous, key)
            if result == -errno.ENOENT:
                return
            check(result, "list the keys of", self.label)
            previous = key.raw
            yield previous

    def memory(self, offset: int = 0, length: int | None = None) -> memoryview:
        """Map the values of an array made with BPF_F_MMAPABLE into this process: writable, shared with the program.

        Element i begins at i * stride (value size rounded up to 8). `offset`, a multiple of the page size, and `length`
        in bytes choose a part. The view keeps the mapping alive, and the mapping
        the map, after `close` too. Raises KernelError for a map that cannot be mapped.
        """
        spec = self.spec()
        if spec.kind is not MapKind.ARRAY or not spec.flags & BPF_F_MMAPABLE:
            raise KernelError("map into memory", self.label, errno.EINVAL, "it is no array made with BPF_F_MMAPABLE")
        try:
            area = mmap.mmap(
                self.fd, length or spec.area, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE, offset=offset
            )
        except OSError as error:
            raise KernelError("map into memory", self.label, error.errno or errno.EINVAL) from error
        return memoryview(area)

    def _value_bytes(self) -> int:
        spec = self.spec()
        if not spec.kind.per_cpu:
            return spec.value_size
        return spec.stride * check(libbpf.library().libbpf_num_possible_cpus(), "count", "CPUs")

    def _key(self, key: bytes) -> bytes:
        if len(key) != self.spec().key_size:
            message = f"the key has {len(key)} bytes, not {self.spec().key_size}"
            raise KernelError("use a key of", self.label, errno.EINVAL, message)
        return key


_FENCES = (threading.Lock(), threading.Lock())


def fence() -> None:
    """Make all stores through mappings before this call visible to programs before any store after it.

    Giving up a lock is a release (earlier stores stay before it), taking one an acquire (later stores stay after it).
    The pair in this order, release before acquire, lets nothing cross: ARMv8 and RISC-V order a release before a later
    acquire, POWER's release carries an lwsync that orders stores by itself, x86 keeps stores in order anyway. One lock
    taken and given up would not do: stores may move *into* it from both sides and pass one another there.
    """
    first, second = _FENCES
    with first:
        pass
    with second:
        pass
