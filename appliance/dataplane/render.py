"""From shape to program text: Jinja over templates/bpf, with `#line` marks so compiler errors name the template."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import jinja2

from appliance.dataplane.header import c_source
from appliance.dataplane.shape import Shape
from appliance.dataplane.text import FUNCTIONS, REPLACED, declared, parse
from appliance.errors import RenderError

__all__ = ["FUNCTIONS", "render"]

MAIN = "program.c"
_TAG = re.compile(r"/\*[%{#]")


class _MarkedLoader(jinja2.FileSystemLoader):
    """Adds a `#line` mark at the top of each file and behind each line with a tag."""

    def get_source(self, environment: jinja2.Environment, template: str):  # type: ignore[no-untyped-def]
        source, filename, uptodate = super().get_source(environment, template)
        lines = [f'#line 1 "{template}"']
        for number, line in enumerate(source.splitlines(), 1):
            lines.append(line)
            if _TAG.search(line):
                lines.append(f'#line {number + 1} "{template}"')
        return "\n".join(lines) + "\n", filename, uptodate


def render(shape: Shape, templates: Path) -> str:
    """Return the C text of a program of this shape; raises RenderError where a template is broken."""
    environment = jinja2.Environment(
        loader=_MarkedLoader(templates),
        undefined=jinja2.StrictUndefined,
        block_start_string="/*%",
        block_end_string="%*/",
        variable_start_string="/*{",
        variable_end_string="}*/",
        comment_start_string="/*#",
        comment_end_string="#*/",
        keep_trailing_newline=True,
        autoescape=False,
    )
    try:
        return environment.get_template(MAIN).render(shape=shape, abi=c_source(shape))
    except (jinja2.TemplateError, UnicodeDecodeError) as error:
        where = f"{error.name}:{error.lineno}: " if isinstance(error, jinja2.TemplateSyntaxError) else ""
        raise RenderError(f"{where}cannot render {templates / MAIN}: {error}") from error


if __name__ == "__main__":
    try:
        wanted = parse(sys.argv[1])
        if sys.argv[3:] and sys.argv[3] != declared(wanted):
            raise RenderError(REPLACED)
        sys.stdout.write(render(wanted, Path(sys.argv[2])))
    except RenderError as error:
        sys.exit(str(error))
    except (TypeError, ValueError, KeyError):
        sys.exit(REPLACED)  # the shape is of a version that knows others
