"""The SAM template as CloudFormation gets it, transformed without any call to AWS.

    python -m deployment.transform [TEMPLATE] [NAME=VALUE ...] > transformed.json

Globals, functions, roles: all that SAM makes of the template stands in what this prints. A
parameter given replaces its default. Needs aws-sam-cli, which brings SAM's own translator and
the reader of CloudFormation's short tags.
"""

import json
import sys
from pathlib import Path
from typing import Any

from samcli.yamlhelper import yaml_parse
from samtranslator.parser.parser import Parser
from samtranslator.translator.translator import Translator

from .location import PACKAGED

TEMPLATE = Path(__file__).parents[1] / "template.yaml"


def transform(template: Path = TEMPLATE, parameters: dict[str, str] | None = None) -> dict[str, Any]:
    """The transformed template."""
    source = yaml_parse(template.read_text())
    for name, value in (parameters or {}).items():
        source["Parameters"][name]["Default"] = value
    # The translator refuses a local folder.
    source["Globals"]["Function"]["CodeUri"] = PACKAGED
    return Translator({}, Parser()).translate(source, {})


def main() -> None:
    paths = [argument for argument in sys.argv[1:] if "=" not in argument]
    parameters = dict(argument.split("=", 1) for argument in sys.argv[1:] if "=" in argument)
    template = Path(paths[0]) if paths else TEMPLATE
    json.dump(transform(template, parameters), sys.stdout, indent=1, sort_keys=True)


if __name__ == "__main__":
    main()
