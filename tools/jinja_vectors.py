#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/data/jinja/vectors.json: templates, variables, and what Python's jinja2 makes of
them when it is configured as Hugging Face transformers configures it for chat templates
(transformers/utils/chat_template_utils.py, version 5.24).  out is null where it raises.

  tools/jinja_vectors.py > tests/data/jinja/vectors.json
  tools/jinja_vectors.py --random 30000 --seed 7 --only-random > /tmp/more.json
  DAMSO_VECTORS=/tmp/more.json build/tests/jinja_vectors_test
"""
import argparse
import copy
import datetime
import json
import random
import re
import sys
import warnings

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

sys.path.insert(0, __file__.rsplit("/", 1)[0])
from jinja_cases import FAMILIES, HAND, VARS  # noqa: E402

warnings.simplefilter("ignore")
NOW = datetime.datetime(2024, 11, 24, 0, 0, 0)


class GenerationTag(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        call = self.call_method("_support")
        return jinja2.nodes.CallBlock(call, [], [], body).set_lineno(lineno)

    @jinja2.pass_eval_context
    def _support(self, context, caller):
        return caller()


class TemplateDict:
    def __call__(self, *args, **kwargs):
        return dict(*args, **kwargs)


class TemplateNamespace(jinja2.utils.Namespace):
    def __init__(*args, **kwargs):
        self, args = args[0], args[1:]
        attrs = dict(*args, **kwargs)
        for name in attrs:
            TemplateNamespace._check_name(name)
        jinja2.utils.Namespace.__init__(self, attrs)

    def __setitem__(self, name, value):
        TemplateNamespace._check_name(name)
        jinja2.utils.Namespace.__setitem__(self, name, value)

    @staticmethod
    def _check_name(name):
        if isinstance(name, str) and name.startswith("_"):
            raise jinja2.exceptions.SecurityError(name)


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators,
                          sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[GenerationTag, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    env.globals["strftime_now"] = lambda fmt: NOW.strftime(fmt)
    env.globals["dict"] = TemplateDict()
    env.globals["namespace"] = TemplateNamespace
    return env


def folded_slice(self, eval_ctx=None, fold=jinja2.nodes.Getitem.as_const):
    """jinja2 makes (1)[0:2] an undefined value where all of it is constant, and a TypeError at run
    time otherwise.  We have the error in both cases: constants are not folded here."""
    if isinstance(self.arg, jinja2.nodes.Slice):
        raise jinja2.nodes.Impossible()
    return fold(self, eval_ctx)


jinja2.nodes.Getitem.as_const = folded_slice
ENV = environment()
# What depends on addresses, or needs more than 64 bits, is no case.
ADDRESS = re.compile(r" at 0x|<built-in|<function|<generator|<class|object>|<bound|_iterator|<jinja2", re.I)


def render(template, variables):
    """The text, None for an error; False for what is no case."""
    try:
        out = ENV.from_string(template).render(**copy.deepcopy(variables))
    except RecursionError:
        return False
    except BaseException as e:  # SyntaxError, TypeError, ... : all of them end a render
        if isinstance(e, KeyboardInterrupt):
            raise
        return None
    if ADDRESS.search(out) or len(out) > 20000:
        return False
    try:
        out.encode()
    except UnicodeEncodeError:
        return False
    for number in re.findall(r"\d{19,}", out):
        if int(number) >= 1 << 63:
            return False
    return out


# ---- random templates ----

NAMES = ["messages", "tools", "name", "n", "f", "flag", "nothing", "missing", "items", "d", "ko",
         "text", "nested", "empty", "m", "x", "y", "ns"]
ATTRS = ["role", "content", "name", "items", "keys", "values", "get", "x", "upper", "count", "a",
         "index", "function", "0", "list", "split", "loop"]
STRINGS = ["''", "'a'", '"b c"', "'안녕'", "'😀x'", "'a\\nb'", "\"it's\"", "'<|im_start|>'", "' pad '",
           "'A-b_c'", "'%s'", "'{}'", "'x,y,z'", "'ß'", "'\\u00e9'", "'tab\\there'", "'1'", "'3.5'",
           "'role'", "'content'", "'user'"]
NUMBERS = ["0", "1", "2", "3", "-1", "7", "10", "1.5", "0.1", "2.0", "1e3", "100", "-2.5", "1_000"]
FILTERS = ["trim", "upper", "lower", "title", "capitalize", "length", "count", "first", "last",
           "list", "join", "join(', ')", "join('-', attribute='role')", "default('d')",
           "default('d', true)", "d", "tojson", "tojson(indent=2)", "tojson(sort_keys=true)",
           "tojson(ensure_ascii=true)", "tojson(separators=(',', ':'))", "string", "int", "float",
           "abs", "round", "round(1)", "round(0, 'floor')", "round(1, 'ceil')", "sum", "min", "max",
           "reverse|list", "reverse|join", "sort", "sort(reverse=true)",
           "sort(attribute='role')", "unique|list", "unique|join('|')", "map('upper')|list",
           "map(attribute='role')|list", "map(attribute='content.0')|list", "map('length')|list",
           "map(attribute='zz', default='q')|join", "select|list", "reject|list",
           "select('string')|list", "selectattr('role', 'equalto', 'user')|list|length",
           "selectattr('role')|map(attribute='content')|list", "rejectattr('role', 'in', ['user'])|list",
           "replace('a', 'b')", "replace('', '.')", "replace('a', 'xx', 1)", "dictsort",
           "dictsort(by='value')", "items|list", "indent", "indent(2, true)",
           "indent(first=false, blank=true)", "safe", "escape", "e", "batch(2)|list",
           "batch(2, 'z')|list", "slice(2)|list", "slice(3, 'q')|list", "groupby('role')",
           "groupby('role')|map(attribute='grouper')|list", "wordcount", "truncate(5)",
           "truncate(6, true, '!')", "urlencode", "center(11)", "format('q')", "format(1)",
           "attr('role')", "filesizeformat", "xmlattr", "forceescape", "map('nofilter')|list",
           "select('odd')|list", "reject('divisibleby', 2)|list", "sum(start=5)",
           "max(attribute='role')", "int(7)", "int(base=16)", "float(1.5)", "title", "wordcount"]
TESTS = ["defined", "undefined", "none", "string", "number", "integer", "float", "boolean", "true",
         "false", "mapping", "iterable", "sequence", "odd", "even", "divisibleby(3)",
         "divisibleby 2", "lower", "upper", "eq 1", "equalto('a')", "in ['a', 1]", "ne(2)", "lt 3",
         "gt(1)", "ge 2", "callable", "sameas none", "sameas(true)", "escaped", "filter", "test"]
METHODS = ["upper()", "lower()", "strip()", "lstrip()", "rstrip('c')", "split()", "split(',')",
           "split('a', 1)", "rsplit(' ', 1)", "splitlines()", "startswith('a')",
           "endswith(('b', 'c'))", "replace('a', 'b')", "replace('a', '', 1)", "title()",
           "capitalize()", "find('a')", "rfind('b')", "index('a')", "count('a')", "join(['p', 'q'])",
           "format(1, x=2)", "isdigit()", "isalpha()", "isalnum()", "isspace()", "isupper()",
           "islower()", "removeprefix('a')", "removesuffix('c')", "partition(' ')",
           "rpartition(',')", "zfill(6)", "center(9, '*')", "ljust(5)", "rjust(5, '.')", "get('a')",
           "get('zz', 'dflt')", "items()", "keys()|list", "values()|list", "keys()", "append(1)",
           "pop()", "update({})", "index(1)", "count(1)", "swapcase()", "casefold()", "istitle()",
           "strip(' ab')", "lstrip('안')"]
BINARY = ["+", "-", "*", "/", "//", "%", "**", "~", "and", "or", "==", "!=", "<", ">", "<=", ">=",
          "in", "not in", "~", "+", "and", "=="]


class Gen:
    def __init__(self, rng):
        self.r = rng

    def pick(self, xs):
        return self.r.choice(xs)

    def atom(self):
        k = self.r.random()
        if k < 0.42:
            return self.pick(NAMES)
        if k < 0.62:
            return self.pick(STRINGS)
        if k < 0.78:
            return self.pick(NUMBERS)
        return self.pick(["true", "false", "none", "True", "None", "[]", "{}", "[1, 2, 3]",
                          "('a', 'b')", "{'a': 1, 'b': [2]}", "()", "range(4)", "['b', 'a', 'C']",
                          "messages[0]", "messages[-1].content", "tools[0].function.name",
                          "d.a", "items[1:]", "loop.index", "text[::-1]", "namespace(x=1)", "(1,)"])

    def expr(self, depth=0):
        if depth > 3:
            return self.atom()
        k = self.r.random()
        sub = lambda: self.expr(depth + 1)
        if k < 0.22:
            return self.atom()
        if k < 0.36:
            return f"{sub()} {self.pick(BINARY)} {sub()}"
        if k < 0.40:
            return f"({sub()})"
        if k < 0.56:
            return f"{self.wrap(sub())}|{self.pick(FILTERS)}"
        if k < 0.63:
            return f"{self.wrap(sub())} is {self.pick(['', 'not '])}{self.pick(TESTS)}"
        if k < 0.70:
            return f"{self.wrap(sub())}.{self.pick(ATTRS)}"
        if k < 0.80:
            return f"{self.wrap(sub())}.{self.pick(METHODS)}"
        if k < 0.84:
            return f"{self.wrap(sub())}[{sub()}]"
        if k < 0.89:
            part = lambda: self.pick(["", "", "0", "1", "-1", "2", "-2", "n"])
            step = self.pick(["", "", ":-1", ":2", ":-2", ":0" if self.r.random() < 0.1 else ":"])
            return f"{self.wrap(sub())}[{part()}:{part()}{step}]"
        if k < 0.93:
            return f"({sub()} if {sub()}{' else ' + sub() if self.r.random() < 0.7 else ''})"
        if k < 0.95:
            return f"{self.pick(['not ', '-', '+'])}{sub()}"
        if k < 0.97:
            return f"[{sub()}, {sub()}]"
        if k < 0.98:
            return "{" + f"{self.pick(STRINGS)}: {sub()}, 'k': {sub()}" + "}"
        return self.pick([f"dict(a={sub()})", f"range({sub()})", "joiner(', ')()", "m0(1)",
                          f"m0({sub()}, b={sub()})", f"{self.pick(STRINGS)} {self.pick(STRINGS)}",
                          "strftime_now('%Y-%m-%d')", "raise_exception('no')"])

    def wrap(self, e):
        return e if re.fullmatch(r"[\w.]+|'[^']*'|\[[^\[\]]*\]", e) and not e[0].isdigit() else f"({e})"

    def tag(self, body, block=True):
        a, b = ("{%", "%}") if block else ("{{", "}}")
        r = self.r.random
        left = self.pick(["-", "-", "+"]) if r() < 0.35 else ""
        right = self.pick(["-", "-", "+"]) if r() < 0.35 and block else self.pick(["-", ""])
        return f"{a}{left} {body} {right}{b}"

    def space(self):
        return self.pick(["", "", " ", "\n", "\n  ", "  \n", "\t", " \n\n ", "\r\n", "x", "한 ", "\n\n"])

    def body(self, depth, in_loop=False):
        return "".join(self.node(depth, in_loop) for _ in range(self.r.randint(1, 4)))

    def block(self, opening, closing, depth, in_loop=False):
        return self.tag(opening) + self.body(depth + 1, in_loop) + self.tag(closing)

    def target(self):
        return self.pick(["x", "y", "x", "ns.x", "x, y", "item"])

    def node(self, depth, in_loop):
        k = self.r.random()
        if k < 0.30:
            return self.space() + self.pick(["text", "가나", "<|end|>", "}", "{", "", "😀", "# %"])
        if k < 0.62 or depth > 3:
            return self.space() + self.tag(self.expr(), False)
        if k < 0.70:
            s = self.tag(f"if {self.expr()}") + self.body(depth + 1, in_loop)
            if self.r.random() < 0.3:
                s += self.tag(f"elif {self.expr()}") + self.body(depth + 1, in_loop)
            if self.r.random() < 0.5:
                s += self.tag("else") + self.body(depth + 1, in_loop)
            return self.space() + s + self.tag("endif")
        if k < 0.80:
            t = self.pick(["x", "x", "m", "k, v", "i, (a, b)"])
            it = self.pick(["messages", "items", "d.items()", "d|dictsort", "text", "range(3)",
                            "messages[::-1]", "tools", "nested", "empty", self.expr(2)])
            cond = f" if {self.expr(2)}" if self.r.random() < 0.2 else ""
            s = self.tag(f"for {t} in {it}{cond}")
            s += self.pick(["", "{{ loop.index }}", "{{ loop.last }}{{ loop.revindex0 }}", "{{ x }}",
                            "{% if loop.first %}F{% endif %}", "{{ loop.cycle('a', 'b') }}",
                            "{{ loop.changed(x) }}", "{{ loop.previtem }}{{ loop.nextitem }}",
                            "{{ loop.length }}", "{{ m.role }}: {{ m['content'] }}"])
            s += self.body(depth + 1, True)
            if self.r.random() < 0.15:
                s += self.tag("else") + self.body(depth + 1, in_loop)
            return self.space() + s + self.tag("endfor")
        if k < 0.87:
            t = self.target()
            if self.r.random() < 0.2:
                flt = self.pick(["", "", " | trim", " | upper", "|replace('a', 'b')|length"])
                return self.space() + self.block(f"set {t}{flt}", "endset", depth, in_loop)
            return self.space() + self.tag(f"set {t} = {self.expr()}")
        if k < 0.90:
            head = self.pick(["m0(a, b='z')", "m0(a)", "m0()", "m0(a=1, b=a)"])
            extra = self.pick(["", "{{ a }}", "{{ b }}{{ varargs }}", "{{ caller() if caller }}",
                               "{{ kwargs }}"])
            return self.space() + self.tag(f"macro {head}") + extra + self.body(depth + 1) + \
                self.tag("endmacro") + self.pick(["", "{{ m0(1) }}", "{{ m0('q', 2) }}", "{{ m0() }}",
                                                  "{% call m0(1) %}C{{ x }}{% endcall %}"])
        if k < 0.92:
            return self.block(f"filter {self.pick(['upper', 'trim', 'indent(2)', 'length'])}",
                              "endfilter", depth, in_loop)
        if k < 0.94:
            return self.block("generation", "endgeneration", depth)
        if k < 0.95:
            return self.block(f"with x = {self.expr()}, q = x", "endwith", depth, in_loop)
        if k < 0.97:
            return self.pick(["{# note #}", "{#- note -#}", " {# a\nb #}\n", "{% raw %}{{ x }}{% endraw %}",
                              "{%- raw -%} {% a {%- endraw -%} ", "{#+ z +#}\n"])
        if k < 0.99:
            tag = self.tag(self.pick(["break", "continue"]))
            return f"{{% if {self.expr(2)} %}}{tag}{{% endif %}}" if in_loop else self.space()
        return self.pick(["{% endfor %}", "{{", "{% if %}", "{{ 'a }}", "{% foo %}", "{{ x | nofilter }}",
                          "{# open", "{% set %}", "}}", "{{ }}", "{{ (1 }}", "{% break %}"])

    def template(self):
        head = self.pick(["", "", "{% set ns = namespace(x=0, y='q') %}", "{%- set x = 5 -%}\n"])
        return head + self.body(0) + self.pick(["", "\n", "\n\n", "  "])


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--random", type=int, default=900)
    ap.add_argument("--seed", type=int, default=1)
    ap.add_argument("--only-random", action="store_true")
    a = ap.parse_args()
    cases = []
    if not a.only_random:
        for template in HAND:
            out = render(template, VARS[0])
            if out is False:
                sys.exit(f"not a case: {template!r}")
            cases.append({"template": template, "vars": 0, "out": out})
        for name, template in FAMILIES.items():
            for i, v in enumerate(VARS):
                out = render(template, v)
                assert out is not False, name
                cases.append({"template": template, "vars": i, "out": out})
    rng = random.Random(a.seed)
    gen = Gen(rng)
    n = n_errors = 0
    while n < a.random:
        template = gen.template()
        if len(template) > 700:
            continue
        out = render(template, VARS[0])
        if out is False or (out is None and n_errors > n * 0.35):
            continue
        n += 1
        n_errors += out is None
        cases.append({"template": template, "vars": 0, "out": out})
    body = ",\n".join(json.dumps(c, ensure_ascii=False, separators=(",", ":")) for c in cases)
    shared = ",\n".join(json.dumps(v, ensure_ascii=False, separators=(",", ":")) for v in VARS)
    print('{"vars": [\n%s\n],\n"cases": [\n%s\n]}' % (shared, body))


if __name__ == "__main__":
    main()
