"""The C side of libbpf.so.1: prototypes and structures of linux/bpf.h and bpf/bpf.h. Only this package calls it.

Every `*_opts` structure begins with its own size, so an older or newer libbpf takes what it knows and treats the rest
as zero; ours end with the last field we use and work with libbpf 1.1 (Debian 12) and later. Functions of libbpf 1.x
return `-errno`. The `*_info` structures are prefixes of the kernel's; the kernel fills as many bytes as it is told.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, Structure, c_char, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from functools import cache
from typing import Any

from appliance.errors import NotSupported

BPF_PROG_TYPE_XDP = 6
BPF_XDP = 37
"""`enum bpf_attach_type`: the XDP hook of an interface."""
BPF_F_XDP_HAS_FRAGS = 1 << 5
XDP_FLAGS_SKB_MODE = 1 << 1
XDP_FLAGS_DRV_MODE = 1 << 2
NAME_LENGTH = 16


class MapCreateOpts(Structure):
    """struct bpf_map_create_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("btf_fd", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("inner_map_fd", c_uint32),
        ("map_flags", c_uint32),
        ("map_extra", c_uint64),
        ("numa_node", c_uint32),
        ("map_ifindex", c_uint32),
    )


class ProgLoadOpts(Structure):
    """struct bpf_prog_load_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("attempts", c_int),
        ("expected_attach_type", c_uint32),
        ("prog_btf_fd", c_uint32),
        ("prog_flags", c_uint32),
        ("prog_ifindex", c_uint32),
        ("kern_version", c_uint32),
        ("attach_btf_id", c_uint32),
        ("attach_prog_fd", c_uint32),
        ("attach_btf_obj_fd", c_uint32),
        ("fd_array", c_void_p),
        ("func_info", c_void_p),
        ("func_info_cnt", c_uint32),
        ("func_info_rec_size", c_uint32),
        ("line_info", c_void_p),
        ("line_info_cnt", c_uint32),
        ("line_info_rec_size", c_uint32),
        ("log_level", c_uint32),
        ("log_size", c_uint32),
        ("log_buf", c_void_p),
    )


class LinkCreateOpts(Structure):
    """struct bpf_link_create_opts, without the fields of other program types."""

    _fields_ = (
        ("sz", c_size_t),
        ("flags", c_uint32),
        ("iter_info", c_void_p),
        ("iter_info_len", c_uint32),
        ("target_btf_id", c_uint32),
    )


class TestRunOpts(Structure):
    """struct bpf_test_run_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("data_in", c_void_p),
        ("data_out", c_void_p),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("ctx_in", c_void_p),
        ("ctx_out", c_void_p),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("retval", c_uint32),
        ("repeat", c_int),
        ("duration", c_uint32),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    )


class XdpQueryOpts(Structure):
    """struct bpf_xdp_query_opts; padded by hand because libbpf wants the size to be that of a whole structure."""

    _fields_ = (
        ("sz", c_size_t),
        ("prog_id", c_uint32),
        ("drv_prog_id", c_uint32),
        ("hw_prog_id", c_uint32),
        ("skb_prog_id", c_uint32),
        ("attach_mode", ctypes.c_uint8),
    )


class XdpContext(Structure):
    """struct xdp_md, as the context of a test run; `data_end` is the frame's length."""

    _fields_ = (
        ("data", c_uint32),
        ("data_end", c_uint32),
        ("data_meta", c_uint32),
        ("ingress_ifindex", c_uint32),
        ("rx_queue_index", c_uint32),
        ("egress_ifindex", c_uint32),
    )


class MapInfo(Structure):
    """struct bpf_map_info, its beginning."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("name", c_char * NAME_LENGTH),
    )


class ProgInfo(Structure):
    """struct bpf_prog_info, its beginning."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("tag", ctypes.c_uint8 * 8),
        ("jited_prog_len", c_uint32),
        ("xlated_prog_len", c_uint32),
        ("jited_prog_insns", c_uint64),
        ("xlated_prog_insns", c_uint64),
        ("load_time", c_uint64),
        ("created_by_uid", c_uint32),
        ("nr_map_ids", c_uint32),
        ("map_ids", c_uint64),
        ("name", c_char * NAME_LENGTH),
    )


class LinkInfo(Structure):
    """struct bpf_link_info of an XDP link."""

    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("prog_id", c_uint32),
        ("_pad", c_uint32),
        ("ifindex", c_uint32),
        ("_rest", c_uint32 * 3),
    )


_PROTOTYPES: dict[str, tuple[Any, ...]] = {
    "bpf_map_create": (c_int, c_char_p, c_uint32, c_uint32, c_uint32, POINTER(MapCreateOpts)),
    "bpf_map_lookup_elem": (c_int, c_void_p, c_void_p),
    "bpf_map_update_elem": (c_int, c_void_p, c_void_p, c_uint64),
    "bpf_map_delete_elem": (c_int, c_void_p),
    "bpf_map_get_next_key": (c_int, c_void_p, c_void_p),
    "bpf_prog_load": (c_int, c_char_p, c_char_p, c_void_p, c_size_t, POINTER(ProgLoadOpts)),
    "bpf_btf_load": (c_void_p, c_size_t, c_void_p),
    "bpf_prog_test_run_opts": (c_int, POINTER(TestRunOpts)),
    "bpf_prog_get_fd_by_id": (c_uint32,),
    "bpf_obj_pin": (c_int, c_char_p),
    "bpf_obj_get": (c_char_p,),
    "bpf_obj_get_info_by_fd": (c_int, c_void_p, POINTER(c_uint32)),
    "bpf_link_create": (c_int, c_int, c_int, POINTER(LinkCreateOpts)),
    "bpf_link_update": (c_int, c_int, c_void_p),
    "bpf_link_detach": (c_int,),
    "bpf_xdp_query": (c_int, c_int, POINTER(XdpQueryOpts)),
    "bpf_xdp_attach": (c_int, c_int, c_uint32, c_void_p),
    "libbpf_num_possible_cpus": (),
}


@cache
def library() -> ctypes.CDLL:
    """Return libbpf.so.1 with all prototypes set, silent on standard error; raises NotSupported without it."""
    try:
        lib = ctypes.CDLL("libbpf.so.1")
    except OSError as error:
        raise NotSupported("libbpf.so.1", "the Debian package libbpf1") from error
    for name, arguments in _PROTOTYPES.items():
        function = getattr(lib, name)
        function.argtypes = arguments
        function.restype = c_int
    lib.libbpf_set_print.argtypes = (c_void_p,)
    lib.libbpf_set_print.restype = c_void_p
    lib.libbpf_set_print(None)
    return lib
