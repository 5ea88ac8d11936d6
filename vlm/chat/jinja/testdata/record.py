"""Records what jinja2 makes of the expressions and templates beside this file, as
transformers sets it up. Run by hand, with a Python that has transformers:

    python record.py

It writes recorded.json, to which the Go test holds the package. In templates.txt a
template stands behind a line "=== NAME VARIABLES", without the line end before the
next; \\r there is a carriage return.
"""
import copy, datetime, json, os, re

from transformers.utils import chat_template_utils as ct

HERE = os.path.dirname(os.path.abspath(__file__))
VARIABLES = json.load(open(f"{HERE}/variables.json"))
NOT_THE_SAME_EACH_TIME = re.compile(r" at 0x[0-9a-f]+")


def render(source, variables):
    """The text and the spans of {% generation %} in bytes, or the error."""
    try:
        variables = copy.deepcopy(variables)  # some filters change a list in its place
        compiled = ct._compile_jinja_template(source)
        text, spans = ct._render_with_assistant_indices(
            compiled_template=compiled, **{"messages": [], "tools": None, "documents": None, "add_generation_prompt": False, **variables}
        )
    except Exception as e:
        out = {"error": type(e).__name__}
        if type(e).__name__ == "TemplateError":  # by raise_exception
            out["message"] = str(e)
        return out
    if NOT_THE_SAME_EACH_TIME.search(text):
        return None
    out = {"want": text}
    size = lambda n: len(text[:n].encode())
    if spans:
        out["spans"] = [[size(lo), size(hi)] for lo, hi in spans]
    return out


def recorded():
    expressions = []
    for line in open(f"{HERE}/expressions.txt"):
        line = line.rstrip("\n")
        if not line or line.startswith("#"):
            continue
        got = render("{{ " + line + " }}", VARIABLES["expressions"])
        if got is None:
            print("left out:", line)
            continue
        expressions.append({"source": line, **got})
    templates = []
    for part in re.split(r"^=== ", open(f"{HERE}/templates.txt").read(), flags=re.M)[1:]:
        head, _, source = part.partition("\n")
        name, variables = head.split()
        source = source.removesuffix("\n").replace("\\r\\n", "\r\n") if name == "crlf" else source.removesuffix("\n")
        got = render(source, VARIABLES[variables])
        if got is None:
            print("left out:", name)
            continue
        templates.append({"name": name, "variables": variables, "source": source, **got})
    times = []
    for t in TIMES:
        for f in FORMATS:
            times.append({"time": t.isoformat(), "format": f, "want": t.strftime(f)})
    return {"variables": VARIABLES, "expressions": expressions, "templates": templates, "times": times}


TIMES = [
    datetime.datetime(2024, 2, 29, 0, 5, 9, 1234),
    datetime.datetime(2025, 12, 31, 23, 59, 59, 999999),
    datetime.datetime(2021, 1, 3, 12, 0, 0),
    datetime.datetime(1999, 7, 4, 9, 30, 1, 50),
]
FORMATS = [f"%{c}" for c in "aAbBcCdDeFgGhHIjklmMnpPrRStTuUVwWxXyYzZ%f"] + [
    "%d %b %Y", "%Y-%m-%d", "%A, %d %B %Y", "%-d %B", "%-I:%M %p", "%_d", "%e", "%^a", "%#p", "%^B", "%05d", "%-H", "%Q", "100%", "%", "plain", "%H:%M:%S.%f", "%-m/%-d/%y", "%Ey", "%Od",
]

if __name__ == "__main__":
    out = recorded()
    # The lines are kept apart, so that a change shows what it changes.
    lines = ['{"variables": ' + json.dumps(out["variables"], ensure_ascii=False)]
    for key in ["expressions", "templates", "times"]:
        lines.append(f'"{key}": [\n' + ",\n".join(json.dumps(one, ensure_ascii=False) for one in out[key]) + "]")
    open(f"{HERE}/recorded.json", "w").write(",\n".join(lines) + "}\n")
    print({key: len(out[key]) for key in out})
