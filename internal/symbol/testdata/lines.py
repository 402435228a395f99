"""Prints code objects of the standard library, one JSON object a line: first line, line table and, by code unit, the line
that CPython gives it (0 where it gives none)."""
import dis
import importlib
import json
import sys
import types

MODULES = ["argparse", "asyncio.base_events", "collections", "inspect", "http.server", "json.decoder", "typing", "_pydecimal"]


def line_of_units(code):
    units = len(code.co_code) // 2
    if hasattr(code, "co_positions"):
        return [position[0] or 0 for position in code.co_positions()]
    lines = [0] * units
    if hasattr(code, "co_lines"):
        for start, end, line in code.co_lines():
            lines[start // 2:end // 2] = [line or 0] * ((end - start) // 2)
        return lines
    starts = list(dis.findlinestarts(code)) + [(2 * units, 0)]
    for (start, line), (end, _) in zip(starts, starts[1:]):
        lines[start // 2:end // 2] = [line] * ((end - start) // 2)
    return lines


def show(code):
    table = code.co_linetable if sys.version_info >= (3, 10) else code.co_lnotab
    print(json.dumps({"name": code.co_name, "first": code.co_firstlineno, "table": table.hex(), "lines": line_of_units(code)}))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            show(constant)


for name in MODULES:
    module = importlib.import_module(name)
    with open(module.__file__, encoding="utf-8") as source:
        show(compile(source.read(), module.__file__, "exec"))
