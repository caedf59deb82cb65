"""Commands on schemas: what stored values look like, and whether they do."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

import typer

from holdfast.cli.command import command
from holdfast.cli.exits import ProblemsFoundError
from holdfast.cli.inputs import as_text, parse_value, read_bytes
from holdfast.cli.render import Column, text
from holdfast.cli.session import Session
from holdfast.errors import ConfigurationError, InvalidValueError, UsageError
from holdfast.schemas import (
    Comparison,
    InvalidSchemaError,
    StateSchema,
    compare,
    from_json_schema,
    to_json_schema,
)
from holdfast.schemas.registry import SchemaRegistry
from holdfast.store.lines import to_json as plain
from holdfast.store.policy import ScopePattern
from holdfast.store.scope import ScopeKind, StateScope
from holdfast.store.value import StateClass

PANEL = "Schemas and migrations"

FileArgument = Annotated[
    Path, typer.Argument(metavar="FILE", help="A schema: JSON, TOML, or a JSON Schema.")
]
NameArgument = Annotated[
    str, typer.Argument(metavar="NAME[@VERSION]", help="A registered schema, the latest or one.")
]
SideArgument = Annotated[
    str, typer.Argument(metavar="SCHEMA", help="NAME, NAME@VERSION, or the path of a file.")
]


def register_schema(
    session: Session,
    file: FileArgument,
    bind: Annotated[
        list[str] | None,
        typer.Option(
            "--bind", metavar="SCOPE/KEY", help="Bind it too, as 'user:*/profile'; several."
        ),
    ] = None,
) -> None:
    """Register a schema or its next version, refused where it breaks what it declares."""
    schema = _from_file(file)
    places = [_place(each) for each in bind or ()]
    with session.write(create=True) as state:
        registry = SchemaRegistry(state)
        comparison = registry.register(schema)
        for scope, key in places:
            registry.bind(schema.name, scope=scope, key=key)
    words = f"registered {schema.name} {schema.version} ({schema.semantic_version})"
    fields: dict[str, Any] = {"name": schema.name, "version": schema.version}
    if comparison is not None:
        words += f", {comparison.level.value} against {comparison.old}"
        fields["level"] = comparison.level.value
    session.out.say(words, fields)


def list_schemas(session: Session) -> None:
    """List the schemas, and the keys that they are bound to."""
    rows = []
    with session.read() as state:
        registry = SchemaRegistry(state)
        bindings = registry.bindings()
        for name in registry.names():
            latest = registry.get(name)
            places = [
                f"{each.scope}/{each.key}" + (f" at {each.version}" if each.version else "")
                for each in bindings
                if each.name == name
            ]
            rows.append(
                {
                    "name": name,
                    "version": latest.version,
                    "semantic_version": latest.semantic_version,
                    "compatibility": latest.compatibility.value,
                    "fields": len(latest.fields),
                    "bound": ", ".join(places) or None,
                }
            )
    columns = [
        Column("name", style="bold", wrap="fold"),
        Column("version", right=True),
        Column("semantic_version", "semantic"),
        Column("compatibility"),
        Column("fields", right=True),
        Column("bound", wrap="fold"),
    ]
    session.out.rows(columns, rows)


def show(
    session: Session,
    name: NameArgument,
    json_schema: Annotated[
        bool, typer.Option("--json-schema", help="As JSON Schema 2020-12.")
    ] = False,
) -> None:
    """Show a schema, in the form in which it can be registered."""
    with session.read() as state:
        schema = _registered(SchemaRegistry(state), name)
    data = to_json_schema(schema) if json_schema else plain(schema.to_data())
    if session.json:
        session.out.object(data)
    else:
        session.out.value(data)


def diff(session: Session, old: SideArgument, new: SideArgument) -> None:
    """Compare two versions: what is kept, and why not more. Fails where old data is not read."""
    comparison = compare(_side(session, old), _side(session, new))
    _show_comparison(session, comparison)
    if not comparison.backward:
        raise ProblemsFoundError(
            f"version {comparison.new} of {comparison.name} does not read data of {comparison.old}",
            hint="give new fields a default, or migrate the data",
        )


def check(
    session: Session,
    schema: Annotated[
        str | None,
        typer.Argument(metavar="[SCHEMA]", help="Hold against this one; else what is bound."),
    ] = None,
    scope: Annotated[
        str, typer.Option("--scope", metavar="PATTERN", help="Only scopes like this.")
    ] = "*",
    strict: Annotated[
        bool, typer.Option("--strict", help="Unknown fields are wrong for every class.")
    ] = False,
) -> None:
    """Hold stored values against their schemas. Fails where one does not fit."""
    pattern = ScopePattern.parse(scope)
    checked = wrong = 0
    with session.read() as state:
        registry = SchemaRegistry(state)
        fixed = _side(session, schema, registry) if schema is not None else None
        bindings = [(each, registry.get(each.name, each.version)) for each in registry.bindings()]
        for place in state.scopes():
            if _internal(place) or not pattern.matches(place):
                continue
            for key, found in state.scan(place):
                kind = found.metadata.state_class
                bound = fixed
                if fixed is None and kind is not StateClass.TRUSTED:
                    bound = next((one for b, one in bindings if b.matches(place, key)), None)
                if bound is None:
                    continue
                checked += 1
                checker = registry.checker(bound, strict=strict or kind is StateClass.EXTERNAL)
                problems = checker.problems(found.value)
                wrong += bool(problems)
                for problem in problems:
                    _show_problem(session, place, key, bound, problem)
    if not session.json:
        session.out.line(f"{checked} checked, {wrong} do not fit")
    if wrong:
        raise ProblemsFoundError(
            f"{wrong} of {checked} values do not fit",
            hint="correct them, or register a version that takes them",
        )


def _show_problem(
    session: Session, scope: StateScope, key: str, schema: StateSchema, problem: Any
) -> None:
    fields = {
        "scope": str(scope),
        "key": key,
        "schema": schema.name,
        "version": schema.version,
        "path": problem.path,
        "rule": problem.rule,
        "expected": problem.expected,
        "shape": problem.shape,
    }
    if session.json:
        session.out.object(fields)
    else:
        cells = [f"{scope}/{key}", f"{schema.name}@{schema.version}"]
        cells += [problem.path, problem.rule, f"wants {problem.expected}", f"has {problem.shape}"]
        session.out.line("\t".join(map(text, cells)))


def _show_comparison(session: Session, comparison: Comparison) -> None:
    if session.json:
        reasons = [
            {
                "path": each.path,
                "direction": each.direction,
                "text": each.text,
                "risk": each.risk.name.lower(),
                "breaks": each.breaks,
            }
            for each in comparison.reasons
        ]
        session.out.object(
            {
                "name": comparison.name,
                "old": comparison.old,
                "new": comparison.new,
                "level": comparison.level.value,
                "risk": comparison.risk.name.lower(),
                "reasons": reasons,
            }
        )
        return
    risk = comparison.risk.name.lower()
    session.out.line(
        f"{comparison.name} {comparison.old} to {comparison.new}\t"
        f"{comparison.level.value}\trisk {risk}"
    )
    for reason in comparison.reasons:
        what = "breaks" if reason.breaks else "may hurt"
        cells = (what, reason.direction, reason.path, reason.text, reason.risk.name.lower())
        session.out.line("\t".join(map(text, cells)))


def _from_file(path: Path) -> StateSchema:
    content = as_text(read_bytes(path))
    if path.suffix == ".toml":
        try:
            data: Any = tomllib.loads(content)
        except tomllib.TOMLDecodeError as error:
            raise InvalidSchemaError(f"{path} is not TOML: {error}") from None
    else:
        try:
            data = parse_value(content)
        except InvalidValueError as error:
            raise InvalidSchemaError(f"{path}: {error.message}") from None
    if isinstance(data, dict) and ("$schema" in data or "properties" in data):
        return from_json_schema(data)
    return StateSchema.from_data(data)


def _side(session: Session, word: str, registry: SchemaRegistry | None = None) -> StateSchema:
    if word.endswith((".json", ".toml")):
        return _from_file(Path(word))
    if registry is not None:
        return _registered(registry, word)
    with session.read() as state:
        return _registered(SchemaRegistry(state), word)


def _registered(registry: SchemaRegistry, word: str) -> StateSchema:
    name, at, version = word.partition("@")
    if at and not (version.isascii() and version.isdigit()):
        raise UsageError(f"{word!r} has no version behind the @", hint="write NAME@2")
    return registry.get(name, int(version) if at else None)


def _place(word: str) -> tuple[str, str]:
    scope, slash, key = word.partition("/")
    if not slash or not key:
        raise ConfigurationError(f"{word!r} binds nothing", hint="write SCOPE/KEY, as 'user:*/*'")
    return scope, key


def _internal(scope: StateScope) -> bool:
    """Say whether a scope is one in which features keep their own records."""
    return scope.kind is ScopeKind.CUSTOM and scope.ids[0].startswith("holdfast.")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    group = typer.Typer(no_args_is_help=True, help="Say what stored values look like; check it.")
    command(group, "register", panel=PANEL)(register_schema)
    command(group, "list", panel=PANEL)(list_schemas)
    command(group, "show", panel=PANEL)(show)
    command(group, "diff", panel=PANEL)(diff)
    command(group, "check", panel=PANEL)(check)
    app.add_typer(group, name="schema", rich_help_panel=PANEL)
