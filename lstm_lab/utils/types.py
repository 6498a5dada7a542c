"""Names for types that Python cannot express."""

from __future__ import annotations

from typing import Any

# Nested tuples, lists and dicts of arrays: JAX accepts any container, so no exact type exists.
PyTree = Any
# Contents of a JSON file: dicts, lists, strings, numbers, booleans, None.
JSON = Any
