"""The code a stage depends on: every ``vecmill`` definition it can reach, as one digest.

Starting from a stage's function, the syntax trees are searched for the names it uses; each name that is a definition
of ``vecmill`` (in the same module or imported, also inside a function) is searched in turn. What counts is the
definition, not the file: editing one helper changes the digests of the stages that reach this helper and no others.
Docstrings, comments and layout do not count.

What the search does not see, and what the library therefore does not do: modules imported by a computed name,
definitions put into a table by a decorator. Third-party code counts by its version instead (``Stage.libraries``).
Where the search cannot tell which part of a module is used (the module itself is passed around), all of it counts.
"""

from __future__ import annotations

import ast
import hashlib
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

# Neither can change what a stage writes: one words the refusals, the other moves the bars.
_RESULT_FREE = frozenset({"vecmill.errors", "vecmill.progress"})
_PACKAGE = "vecmill"
_EVERYTHING = "*"


@dataclass(frozen=True)
class CodeDigest:
    """Digest of a closure and of each definition in it.

    Attributes
    ----------
    digest : sha256 over all definitions, 64 hex digits
    definitions : first 16 hex digits of each definition's sha256, by ``module:name``
    """

    digest: str
    definitions: dict[str, str]


# Where an import leads: module, and the name taken from it (None: the module itself, *: all of it).
_Source = tuple[str, str | None]


@dataclass(frozen=True)
class _Use:
    """A name that a definition uses, with the attribute read from it and, for names it imports itself, from where."""

    name: str
    attribute: str | None
    sources: tuple[_Source, ...] = ()


@dataclass
class _Module:
    """What one module binds at top level."""

    name: str
    is_package: bool
    definitions: dict[str, list[ast.stmt]] = field(default_factory=dict)
    imports: dict[str, list[_Source]] = field(default_factory=dict)  # a name may be imported in two branches
    effects: list[ast.stmt] = field(default_factory=list)  # statements that run at import and bind nothing
    digests: dict[str, str] = field(default_factory=dict)  # of definitions, as far as somebody asked
    uses: dict[str, list[_Use]] = field(default_factory=dict)  # by definitions, likewise


def code_digest(roots: tuple[str, ...], source_root: Path | None = None) -> CodeDigest:
    """Digest everything that ``roots`` reach.

    Parameters
    ----------
    roots : starting points as ``module:name``; ``module:*`` takes the whole module
    source_root : folder that holds the ``vecmill`` package; None means the installed one

    Raises
    ------
    ValueError : a root names a module or definition that does not exist
    """
    base = source_root or Path(__file__).resolve().parents[2]
    search = _Search(base)
    for root in roots:
        module_name, _, name = root.partition(":")
        module = search.module(module_name)
        if module is None or (name != _EVERYTHING and name not in module.definitions):
            raise ValueError(f"no definition {root!r} below {base}")
        search.reach(module_name, name)
    definitions = dict(sorted(search.found.items()))
    whole = hashlib.sha256("\n".join(f"{key} {value}" for key, value in definitions.items()).encode())
    return CodeDigest(whole.hexdigest(), {key: value[:16] for key, value in definitions.items()})


class _Search:
    """A depth-first search over definitions."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._modules: dict[str, _Module | None] = {}
        self.found: dict[str, str] = {}

    def module(self, name: str) -> _Module | None:
        """The parsed module, or None where no such file exists."""
        if name not in self._modules:
            self._modules[name] = self._read(name)
        return self._modules[name]

    def _read(self, name: str) -> _Module | None:
        relative = self._base / Path(*name.split("."))
        for path, is_package in ((relative.with_suffix(".py"), False), (relative / "__init__.py", True)):
            if path.is_file():
                status = path.stat()
                return _parse(path, name, is_package, status.st_mtime_ns, status.st_size)
        return None

    def reach(self, module_name: str, name: str) -> None:
        """Add a definition and all it reaches; ``*`` means each definition of the module."""
        pending = [(module_name, name)]
        while pending:
            current, wanted = pending.pop()
            module = self.module(current)
            if module is None or current in _RESULT_FREE:
                continue
            if wanted == _EVERYTHING:
                pending.extend((current, each) for each in module.definitions)
                pending.extend(self._target(source, None) for each in module.imports.values() for source in each)
                self._add_effects(module, pending)
            elif f"{current}:{wanted}" in self.found:
                continue
            elif wanted in module.definitions:
                self._add(module, wanted, module.definitions[wanted], pending)
                self._add_effects(module, pending)
            elif wanted in module.imports:  # a re-export
                pending.extend(self._target(source, None) for source in module.imports[wanted])
            elif self.module(f"{current}.{wanted}") is not None:
                pending.append((f"{current}.{wanted}", _EVERYTHING))

    def _add(self, module: _Module, name: str, statements: list[ast.stmt], pending: list[tuple[str, str]]) -> None:
        if name not in module.digests:
            module.digests[name] = _digest(statements)
            module.uses[name] = [use for statement in statements for use in _uses(module, statement)]
        self.found[f"{module.name}:{name}"] = module.digests[name]
        for use in module.uses[name]:
            sources = use.sources or tuple(module.imports.get(use.name, ()))
            pending.extend(self._target(source, use.attribute) for source in sources)
            if not use.sources and use.name in module.definitions:
                pending.append((module.name, use.name))

    def _add_effects(self, module: _Module, pending: list[tuple[str, str]]) -> None:
        """Statements that run when the module, or a package around it, is imported."""
        parts = module.name.split(".")
        for depth in range(1, len(parts) + 1):
            each = self.module(".".join(parts[:depth]))
            if each is not None and each.effects and f"{each.name}:<import>" not in self.found:
                self._add(each, "<import>", each.effects, pending)

    def _target(self, source: _Source, attribute: str | None) -> tuple[str, str]:
        """Where an imported name leads, given the attribute that is read from it (None: the thing itself)."""
        target, imported = source
        if imported is None:  # import vecmill.a.b as name
            return target, attribute or _EVERYTHING
        if imported == _EVERYTHING:
            return target, _EVERYTHING
        if self.module(f"{target}.{imported}") is not None:  # from vecmill.a import b, where b is a module
            return f"{target}.{imported}", attribute or _EVERYTHING
        return target, imported


def _uses(module: _Module, node: ast.AST) -> list[_Use]:
    """Every name in a piece of code that may be a definition of ``vecmill``."""
    own = _Module(module.name, module.is_package)
    attributes: dict[int, str] = {}
    names: list[ast.Name] = []
    for inner in ast.walk(node):
        if isinstance(inner, ast.Import | ast.ImportFrom):
            _bind_import(own, inner)
        elif isinstance(inner, ast.Attribute) and isinstance(inner.value, ast.Name):
            attributes[id(inner.value)] = inner.attr
        elif isinstance(inner, ast.Name):
            names.append(inner)
    found = {
        _Use(name.id, attributes.get(id(name)), tuple(own.imports.get(name.id, ())))
        for name in names
        if name.id in own.imports or name.id in module.imports or name.id in module.definitions
    }
    return sorted(found, key=lambda use: (use.name, use.attribute or ""))


@cache
def _parse(path: Path, name: str, is_package: bool, mtime_ns: int, n_bytes: int) -> _Module:
    # mtime and size are part of the cache's key: an edited file is parsed again within one process.
    module = _Module(name, is_package)
    # Docstrings go once and for all: no digest counts them.
    tree = _WithoutDocstrings().visit(ast.parse(path.read_bytes(), filename=str(path)))
    for statement in tree.body:
        _bind(module, statement)
    return module


def _bind(module: _Module, statement: ast.stmt) -> None:
    if isinstance(statement, ast.Import | ast.ImportFrom):
        _bind_import(module, statement)
        return
    names: set[str] = set()
    if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        names.add(statement.name)
    elif isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign | ast.Delete):
        targets = statement.targets if isinstance(statement, ast.Assign | ast.Delete) else [statement.target]
        for target in targets:
            names.update(_base_names(target))
    elif isinstance(statement, ast.If | ast.Try | ast.With | ast.For | ast.While):
        # Whatever is bound somewhere inside depends on the whole compound statement.
        for inner in ast.walk(statement):
            if isinstance(inner, ast.Import | ast.ImportFrom):
                _bind_import(module, inner)
            elif isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                names.add(inner.name)
            elif isinstance(inner, ast.Name) and isinstance(inner.ctx, ast.Store):
                names.add(inner.id)
        if names:  # and it may change what is bound elsewhere, which only running it would tell
            module.effects.append(statement)
    elif _is_docstring(statement) or isinstance(statement, ast.Pass):
        return
    if not names:
        module.effects.append(statement)
    for name in names:
        module.definitions.setdefault(name, []).append(statement)


def _bind_import(module: _Module, statement: ast.Import | ast.ImportFrom) -> None:
    if isinstance(statement, ast.Import):
        for alias in statement.names:
            if not _ours(alias.name):
                continue
            if alias.asname:
                module.imports.setdefault(alias.asname, []).append((alias.name, None))
            else:  # `import vecmill.a.b` binds `vecmill`; which part is used is hard to say, so all of b counts
                module.imports.setdefault(alias.name.split(".")[0], []).append((alias.name, _EVERYTHING))
        return
    source = statement.module or ""
    if statement.level:
        package = module.name.split(".")
        drop = statement.level - 1 if module.is_package else statement.level
        source = ".".join(package[: len(package) - drop] + ([source] if source else []))
    if _ours(source):
        for alias in statement.names:
            if alias.name == _EVERYTHING:
                raise ValueError(
                    f"{module.name} imports * from {source}; name what is used, so that it can be followed"
                )
            module.imports.setdefault(alias.asname or alias.name, []).append((source, alias.name))


def _ours(module_name: str) -> bool:
    return module_name == _PACKAGE or module_name.startswith(f"{_PACKAGE}.")


def _base_names(target: ast.expr) -> set[str]:
    """Names that an assignment binds or mutates: ``a``, ``a.b = …`` and ``a[0] = …`` all belong to ``a``."""
    if isinstance(target, ast.Name):
        return {target.id}
    if isinstance(target, ast.Attribute | ast.Subscript | ast.Starred):
        return _base_names(target.value)
    if isinstance(target, ast.Tuple | ast.List):
        return set().union(*(_base_names(element) for element in target.elts)) if target.elts else set()
    return set()


def _is_docstring(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Expr)
        and isinstance(statement.value, ast.Constant)
        and isinstance(statement.value.value, str)
    )


def _digest(statements: list[ast.stmt]) -> str:
    # Unparsed text rather than ast.dump: its spelling has stayed the same from one Python version to the next.
    text = "\n".join(ast.unparse(statement) for statement in statements)
    return hashlib.sha256(text.encode()).hexdigest()


class _WithoutDocstrings(ast.NodeTransformer):
    def _strip(self, node: ast.AST) -> ast.AST:
        self.generic_visit(node)
        body = node.body  # type: ignore[attr-defined]
        # Every bare string goes, not only the first: attribute docstrings are documentation too.
        node.body = [each for each in body if not _is_docstring(each)] or [ast.Pass()]  # type: ignore[attr-defined]
        return node

    visit_FunctionDef = visit_AsyncFunctionDef = visit_ClassDef = visit_Module = _strip
