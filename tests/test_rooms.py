"""Who opens the package finds short files, each where it belongs, and no import that leads back."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nbsrc"

# The rooms, and the modules of Part 1, which stand outside of rooms: what each may import.
MAY_IMPORT = {
    "blocks": (),
    "resnet": ("blocks",),
    "digits": (),
    "training": (),
    "gradient_flow": ("digits", "training"),
    "degradation": ("blocks", "resnet", "digits", "training", "gradient_flow"),
    "shattered": ("degradation", "digits", "resnet"),
    "stacks": ("gradient_flow", "digits", "support", "training"),
    "lesion": ("degradation", "resnet", "training"),
    "support": (),
    "events": ("support",),
    "tabular": ("support", "events"),
    "selfsupervised": ("support", "tabular", "training"),
    "palette": (),
    "panels": (),
    "detection": ("support", "events", "tabular", "selfsupervised", "training", "palette"),
    "detection.experiment": ("detection", "events", "simulation", "tabular", "selfsupervised",
                             "training"),
    "simulation": ("support",),
    "scoring": ("support", "events", "tabular", "selfsupervised", "detection", "training"),
    "sequences": ("support", "tabular", "selfsupervised", "detection", "training"),
    "sequences.depth": ("sequences", "digits", "training"),
    "sequences.simulated": ("sequences", "detection", "events", "incidents", "selfsupervised",
                            "simulation", "tabular"),
    "incidents": ("support", "events", "tabular", "selfsupervised", "detection", "scoring",
                  "sequences", "training"),
    "incidents.experiment": ("incidents", "support", "events", "tabular", "selfsupervised",
                             "detection", "simulation", "training"),
    "cifar10": ("support", "blocks", "resnet", "training"),
    "tables": ("support", "events", "simulation", "tabular", "training", "gradient_flow"),
    "plots": ("palette", "panels"),
    "stored_plots": ("palette", "panels", "plots"),
    "explorer": (),
    "explorer_plots": ("explorer", "panels", "plots"),
    "event_plots": ("palette", "panels", "plots"),
    "incident_plots": ("palette", "panels"),
    "sequence_plots": ("palette", "panels", "plots"),
}  # fmt: skip


def name_of(path: Path) -> str:
    """A file's module below nbsrc, such as events.read; events for events/__init__.py."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


FILES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py")) if path.parent != PACKAGE}
FILES |= {name_of(path): path for path in sorted(PACKAGE.glob("*.py")) if path.stem != "__init__"}


def imports(name: str) -> set[str]:
    """The modules of nbsrc that a module names in its imports, wherever in the file they stand."""
    found = set()
    for node in ast.walk(ast.parse(FILES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name} imports by a relative name"
            found.add(f"{node.module}")
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.removeprefix("nbsrc.") for name in found} & set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_a_module_imports_only_what_its_room_may(name):
    room = name.split(".")[0]
    allowed = MAY_IMPORT[name] if name in MAY_IMPORT else (room, *MAY_IMPORT.get(room, ()))
    for other in imports(name):
        assert other.split(".")[0] in allowed, f"{name} imports {other}"
        assert not other.endswith("__main__"), f"{name} imports the command {other}"


def test_no_import_leads_back_to_where_it_came_from():
    order = TopologicalSorter({name: imports(name) for name in FILES}).static_order()
    assert set(order) == set(FILES)  # CycleError names a circle
    rooms = {name: set(others) for name, others in MAY_IMPORT.items() if "." not in name}
    assert set(TopologicalSorter(rooms).static_order()) == set(rooms)


def test_every_module_has_its_place_in_the_table():
    there = {name.split(".")[0] for name in FILES}
    assert there == {name.split(".")[0] for name in MAY_IMPORT}


def test_only_modules_of_plots_draw():
    for name, path in FILES.items():
        assert name.endswith(("plots", "panels")) or "matplotlib" not in path.read_text("utf-8"), (
            name
        )


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_short_enough_to_read_in_one_go(name):
    assert len(FILES[name].read_text(encoding="utf-8").splitlines()) <= 350


def test_a_room_says_what_it_is_for_and_holds_nothing_else():
    for path in PACKAGE.glob("*/__init__.py"):
        (docstring,) = ast.parse(path.read_text(encoding="utf-8")).body
        assert isinstance(docstring, ast.Expr) and "May import" in ast.unparse(docstring), path


def test_the_map_in_the_readme_names_every_module_and_no_other():
    """A line a file or folder, indented as it lies, with what it is."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").split("```text\nnbsrc/\n")[1]
    listed, folders = [], [""]
    for line in text.split("```")[0].splitlines():
        name, what = line.split(maxsplit=1)
        folders[(len(line) - len(line.lstrip())) // 2 :] = [name]
        listed.append("".join(folders))
        assert what
    there = {path.relative_to(PACKAGE).as_posix() for path in FILES.values()}
    rooms = {f"{path.removesuffix('__init__.py')}" for path in there if "__init__" in path}
    assert sorted(listed) == sorted({path for path in there if "__init__" not in path} | rooms)
