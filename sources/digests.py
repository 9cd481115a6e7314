"""The digest of a function in a file: of what it is made of, and of nothing else there."""

import ast
import hashlib
import symtable
from pathlib import Path

DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def source_digest(path: Path, name: str) -> str:
    """Return the SHA-256 of a function and of whatever of its file it refers to, without comments
    and layout. Another seed in `models()` leaves the digest of `measure` alone."""
    source = path.read_bytes()
    body = ast.parse(source).body
    top = symtable.symtable(source.decode("utf-8", "replace"), str(path), "exec")
    wanted, parts = {name}, set()
    while more := {n for n, part in enumerate(body) if names_bound(part) & wanted} - parts:
        parts |= more
        wanted |= {name for n in more for name in names_used(body[n], top)}
    text = "\n".join(ast.dump(body[n]) for n in sorted(parts))
    return hashlib.sha256(text.encode()).hexdigest()


def names_bound(part: ast.stmt) -> set[str]:
    """Return the names to which a statement gives a value."""
    if isinstance(part, DEFINITIONS):
        return {part.name}
    if isinstance(part, (ast.Import, ast.ImportFrom)):
        return {(a.asname or a.name).partition(".")[0] for a in part.names}
    return {
        x.id for x in ast.walk(part) if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)
    }


def names_used(part: ast.stmt, top: symtable.SymbolTable) -> set[str]:
    """Return the names of the file that a statement refers to: of a definition not its own ones."""
    if not isinstance(part, DEFINITIONS):
        return names_in(part)
    found = {n for t in top.get_children() if t.get_name() == part.name for n in outer_names(t)}
    outside = [*part.decorator_list, *getattr(part, "bases", ())]
    if not isinstance(part, ast.ClassDef):
        outside += [*part.args.defaults, *(d for d in part.args.kw_defaults if d)]
    return found.union(*map(names_in, outside))


def names_in(node: ast.AST) -> set[str]:
    """Return every name in a part of a file."""
    return {x.id for x in ast.walk(node) if isinstance(x, ast.Name)}


def outer_names(table: symtable.SymbolTable) -> set[str]:
    """Return the names that a definition, and what is defined in it, takes from the file."""
    mine = {s.get_name() for s in table.get_symbols() if s.is_global()}
    return mine.union(*map(outer_names, table.get_children()))
