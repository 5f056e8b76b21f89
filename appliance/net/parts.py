"""A package of which only those modules are loaded that somebody imports.

The `__init__` of pyroute2 imports all that the library has, a database of the network among it: 8 MB resident in every
process that speaks netlink and 0.1 s of every start, for two of its modules. What is imported by its full name does not
need it. So a package is entered as loaded, and is loaded when somebody wants a name that none of its modules has.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any


def without_the_rest(name: str) -> None:
    """Have a package's modules imported one by one; a package that is loaded already, or missing, stays as it is."""
    if name in sys.modules or (spec := importlib.util.find_spec(name)) is None or spec.loader is None:
        return
    package, loader = importlib.util.module_from_spec(spec), spec.loader

    def found(wanted: str) -> Any:
        if wanted.startswith("__"):
            raise AttributeError(f"module {name!r} has no attribute {wanted!r}")
        try:
            return importlib.import_module(f"{name}.{wanted}")
        except ModuleNotFoundError as error:
            if error.name != f"{name}.{wanted}":
                raise
        # The last time that this is asked: the package has all its names from here on.
        del package.__dict__["__getattr__"]
        loader.exec_module(package)
        return getattr(package, wanted)

    package.__dict__["__getattr__"] = found
    sys.modules[name] = package
