"""What the code and the template say: settings, findings, errors, metrics, tags, fields, parameters.

The sources are read as text, by the few shapes that they have: whoever changes a shape finds that a
list has become empty, which every reader here refuses."""

import re
from functools import cache
from typing import Any

import yaml

from .pages import REPOSITORY


def source(path: str) -> str:
    """A file of the repository."""
    return (REPOSITORY / path).read_text()


def found(pattern: str, text: str) -> list[Any]:
    """All matches; there must be one at least."""
    matches = re.findall(pattern, text)
    assert matches, f"nothing matches {pattern}"
    return matches


@cache
def settings() -> dict[str, str]:
    """The environment variables that the functions read, with their defaults."""
    calls = found(
        r'variables\.(?:text|parsed)\(\s*"([A-Z_]+)",\s*"([^"]*)"',
        source("shared/core/src/settings.rs"),
    )
    return dict(calls)


@cache
def errors() -> list[str]:
    """The types of errors."""
    return found(r'Self::\w+ => "([A-Za-z]+)"', source("shared/core/src/diagnostic.rs"))


@cache
def finding_kinds() -> dict[str, str]:
    """The kinds of findings, by the names of their variants."""
    pairs = found(
        r'Self::(\w+) \{ \.\. \} => "([a-z_]+)"', source("functions/audit/src/finding/kind.rs")
    )
    return dict(pairs)


@cache
def severities() -> dict[str, set[str]]:
    """How grave each variant of a finding may be."""
    text = source("functions/audit/src/finding/kind.rs")
    body = text[text.index("fn severity(") :]
    body = body[: body.index("\n    }\n")]
    grave: dict[str, set[str]] = {}
    variants: list[str] = []
    for variant, severity in found(r"Self::(\w+) \{|Severity::(\w+)", body):
        if variant:
            if variants and variants[-1] == "":
                variants = []
            variants.append(variant)
        else:
            for name in filter(None, variants):
                grave.setdefault(name, set()).add(severity.lower())
            variants.append("")
            # An `if` gives two severities to the same variants.
            variants = [*[name for name in variants if name], ""]
    return grave


@cache
def evidence() -> dict[str, list[str]]:
    """The fields of each kind's evidence, by the kind's name."""
    text = source("functions/audit/src/finding/kind.rs")
    body = text[text.index("pub enum Kind {") :]
    body = body[: body.index("\n}\n")]
    fields: dict[str, list[str]] = {}
    for variant, inner in found(r"\n    (\w+) \{\n((?s:.*?))\n    \},", body):
        # What is kept for the message alone is no evidence.
        kept = re.sub(r"#\[serde\(skip\)\]\s+\w+: [^\n]+(\n|$)", "", inner)
        names = []
        for flatten, name, kind in found(
            r"(#\[serde\(flatten\)\]\s+)?(?<!\w)(\w+): ([\w<>:&' ]+?),?\n", kept + "\n"
        ):
            names += struct_fields("functions/audit/src/finding/kind.rs", kind) if flatten else [name]
        fields[finding_kinds()[variant]] = names
    return fields


def struct_fields(path: str, struct: str) -> list[str]:
    """The public fields of a struct, as JSON has them."""
    text = source(path)
    start = re.search(rf"pub struct {struct}(?:<'a>)? \{{", text)
    assert start, f"{path} has no struct {struct}"
    body = text[start.end() :]
    body = body[: body.index("\n}\n")]
    fields = []
    for attributes, name in found(r"((?:#\[serde\([^\n]*\)\]\s*)*)pub (?:r#)?(\w+):", body):
        renamed = re.search(r'rename = "(\w+)"', attributes)
        # `skip_serializing` alone still reads the field.
        is_skipped = re.search(r"\bskip\b|\bflatten\b", attributes)
        if not is_skipped:
            fields.append(renamed.group(1) if renamed else name)
    return fields


def enum_variants(path: str, enum: str) -> list[str]:
    """The variants of an enum without data, in lower case."""
    text = source(path)
    body = text[text.index(f"pub enum {enum} {{") :]
    body = body[: body.index("\n}\n")]
    return [re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower() for name in found(r"\n    ([A-Z]\w*),", body)]


@cache
def metrics() -> dict[str, str]:
    """The metrics with their units."""
    units: dict[str, str] = {}
    for file in sorted((REPOSITORY / "functions").glob("*/src/**/metrics.rs")):
        text = file.read_text().split("#[cfg(test)]")[0]
        units |= dict(found(r'\(\s*"([A-Z]\w+)",\s*Unit::(\w+)', text))
        # Counts that get their unit together.
        units |= dict.fromkeys(re.findall(r'\("([A-Z]\w+)", (?!Unit)', text), "Count")
    return units


@cache
def own_tags() -> set[str]:
    """The keys of the tags that the project writes or reads as its own; one that ends in a slash is
    followed by something."""
    keys = {found(r'MANAGED_BY: &str = "([^"]+)"', source("shared/core/src/lifecycle_policy.rs"))[0]}
    for folder in ("shared/core/src", "shared/aws/src", "functions"):
        for file in sorted((REPOSITORY / folder).rglob("*.rs")):
            if "/tests/" in str(file) or file.name == "tests.rs":
                continue
            text = file.read_text()
            constants = re.findall(r'const \w+: &str = "(etcd-backup/[^"]+)"', text)
            keys.update(constants)
    assert len(keys) > 10
    return keys


class _Loader(yaml.SafeLoader):
    """Reads CloudFormation's short forms as mappings."""


def _short_form(loader: yaml.SafeLoader, suffix: str, node: yaml.Node) -> dict[str, Any]:
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    if isinstance(node, yaml.SequenceNode):
        return {suffix: loader.construct_sequence(node, deep=True)}
    assert isinstance(node, yaml.MappingNode)
    return {suffix: loader.construct_mapping(node, deep=True)}


_Loader.add_multi_constructor("!", _short_form)


@cache
def template() -> dict[str, Any]:
    """The template."""
    return yaml.load(source("template.yaml"), _Loader)


@cache
def parameters() -> dict[str, str]:
    """The template's parameters with their defaults."""
    declared = template()["Parameters"]
    return {name: str(declared[name]["Default"]) for name in declared}


@cache
def variables_of_parameters() -> dict[str, str]:
    """The parameter that each environment variable is set from, by variable."""
    resources = template()["Resources"].values()
    environments = [template()["Globals"]["Function"]["Environment"]["Variables"]]
    for resource in resources:
        if resource["Type"] == "AWS::Serverless::Function":
            environment = resource["Properties"].get("Environment", {})
            environments.append(environment.get("Variables", {}))
    found_in = {}
    for environment in environments:
        for variable, value in environment.items():
            names = [name for name in references(value) if name in parameters()]
            # A resource of the stack's own stands in where the parameter is empty.
            found_in[variable] = names[0] if names else ""
    return found_in


def references(value: Any) -> list[str]:
    """What a value refers to."""
    if isinstance(value, dict):
        own = [value["Ref"]] if "Ref" in value else []
        return own + [name for part in value.values() for name in references(part)]
    if isinstance(value, list):
        return [name for part in value for name in references(part)]
    return []


def resources_of(resource_type: str) -> list[str]:
    """The logical ids of all resources of a type."""
    resources = template()["Resources"]
    return [name for name in resources if resources[name]["Type"] == resource_type]


def statements(resource: str) -> dict[str, set[str]]:
    """The actions of each statement of a role's or a function's policy, by its Sid, conditional ones
    among them."""
    by_sid: dict[str, set[str]] = {}
    for statement in _statements(resource):
        by_sid.setdefault(statement["Sid"], set()).update(_texts(statement["Action"]))
    assert by_sid, resource
    return by_sid


def statement(resource: str, sid: str) -> dict[str, Any]:
    """The one statement of this Sid."""
    (found,) = (statement for statement in _statements(resource) if statement["Sid"] == sid)
    return found


def _statements(resource: str) -> list[dict[str, Any]]:
    policies = template()["Resources"][resource]["Properties"]["Policies"]
    documents = [policy.get("PolicyDocument", policy) for policy in policies if isinstance(policy, dict)]
    return [part for document in documents for part in _alternatives(document.get("Statement", []))]


def _alternatives(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value] if "Sid" in value else _alternatives(value.get("If", [])[1:])
    if isinstance(value, list):
        return [statement for part in value for statement in _alternatives(part)]
    return []


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for part in value.get("If", [])[1:] for text in _texts(part)]
    return [text for part in value for text in _texts(part)]
