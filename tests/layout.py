"""The layers of art_flat and how to measure its structure: `python -m tests.layout` prints floors, circles and sizes.

Every import counts, inside functions and for type checking too.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "art_flat"

LAYERS: tuple[frozenset[str], ...] = (
    frozenset({"_version", "errors", "typing"}),
    frozenset({"_utils"}),
    frozenset({"functional", "models", "datasets", "certification"}),
    frozenset({"scores", "training"}),
    frozenset({"adapters", "records", "torchmetrics", "regularization"}),
    frozenset({"attacks", "summaries", "diagnostics"}),
    frozenset({"metrics", "detection", "scorers", "reporting"}),
    frozenset({"evaluation", "analysis"}),
    frozenset({"cli", "testing"}),
    frozenset({"__main__"}),
)
"""A part imports from earlier layers alone; parts of one layer do not know each other."""
LEVEL: Mapping[str, int] = {part: level for level, parts in enumerate(LAYERS) for part in parts}


def source_files(package: Path = PACKAGE) -> dict[str, Path]:
    """Module name → file, of every module of a package."""
    files = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        files[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return files


def imported_names(path: Path, package: Path = PACKAGE) -> Iterator[str]:
    """Dotted names that a file imports anywhere, relative ones resolved: modules, or modules and a name in them."""
    inside = path.relative_to(package.parent).with_suffix("").parts
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = inside[: len(inside) - node.level] if node.level else ()
            stem = ".".join((*base, *([node.module] if node.module else ())))
            yield from (f"{stem}.{alias.name}" for alias in node.names)


def module_graph(package: Path = PACKAGE) -> dict[str, set[str]]:
    """Module → modules of the package that it imports; the package's own lazy `__init__` is left out."""
    files = source_files(package)
    graph: dict[str, set[str]] = {}
    for module, path in files.items():
        found = set()
        for name in imported_names(path, package):
            target = name if name in files else name.rpartition(".")[0]
            if target in files and target not in {module, package.name}:
                found.add(target)
        graph[module] = found
    graph.pop(package.name, None)
    return graph


def part_of(module: str) -> str:
    """The part of art_flat that a module belongs to: the second name of its path."""
    return module.split(".")[1]


def part_graph(package: Path = PACKAGE) -> dict[str, set[str]]:
    """Part → parts that it imports."""
    graph: dict[str, set[str]] = {}
    for module, targets in module_graph(package).items():
        graph.setdefault(part_of(module), set()).update(map(part_of, targets))
    return {part: targets - {part} for part, targets in graph.items()}


def circle(graph: Mapping[str, set[str]]) -> list[str]:
    """Modules that import each other in a circle; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def floors(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Parts by floor: each stands above all that it imports."""
    level: dict[str, int] = {}
    for part in TopologicalSorter(graph).static_order():
        level[part] = 1 + max((level[below] for below in graph.get(part, ())), default=-1)
    return [sorted(p for p in level if level[p] == n) for n in range(max(level.values()) + 1)]


def functions(path: Path) -> Iterator[tuple[str, int, int, int]]:
    """Name, lines of code, number of parameters and cyclomatic complexity of every function of a file."""
    branches = (ast.If, ast.For, ast.While, ast.ExceptHandler, ast.IfExp, ast.comprehension, ast.match_case)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            arguments = node.args
            n_parameters = len(arguments.posonlyargs + arguments.args + arguments.kwonlyargs)
            complexity = 1 + sum(
                len(child.values) - 1 if isinstance(child, ast.BoolOp) else isinstance(child, branches)
                for child in ast.walk(node)
            )
            first = node.body[1:] if ast.get_docstring(node) else node.body
            lines = (node.end_lineno or node.lineno) - first[0].lineno + 1 if first else 0
            yield node.name, lines, n_parameters, complexity


def main() -> None:
    """Print what a reader of the structure wants to know."""
    files, graph = source_files(), part_graph()
    print("floors, the ground first (a part stands above all that it imports):")
    for level, parts in enumerate(floors(graph), 1):
        print(f"{level:3}  {', '.join(parts)}")
    print("circle between modules:", " → ".join(circle(module_graph())) or "none")
    print("\nlines by part:")
    size = {m: len(p.read_text(encoding="utf-8").splitlines()) for m, p in files.items()}
    for part in sorted(graph, key=lambda p: LEVEL.get(p, 99)):
        mine = [m for m in size if m.split(".")[1:2] == [part]]
        print(f"{sum(size[m] for m in mine):6}  {len(mine):3} files  {part}")
    print(f"{sum(size.values()):6}  {len(size):3} files  in all")
    print("\nlongest files:")
    for module in sorted(size, key=lambda m: -size[m])[:10]:
        print(f"{size[module]:6}  {module}")
    rows = [(m, *f) for m, p in files.items() for f in functions(p)]
    for title, column in (("longest functions", 2), ("most parameters", 3), ("most branches", 4)):
        print(f"\n{title} (lines, parameters, branches):")
        for module, name, lines, parameters, complexity in sorted(rows, key=lambda r: -r[column])[:10]:
            print(f"{lines:6} {parameters:4} {complexity:4}  {module}.{name}")


if __name__ == "__main__":
    main()
