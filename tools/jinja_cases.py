"""Hand-written cases of tools/jinja_vectors.py: every construct, and templates in the style of
# SPDX-License-Identifier: MIT
the families of models (ours, with the constructs that theirs use)."""

TOOL = {"type": "function", "function": {
    "name": "get_weather", "description": "날씨를 알려 준다 <now> & \"here\"",
    "parameters": {"type": "object", "properties": {
        "city": {"type": "string", "description": "도시", "enum": ["서울", "Paris"]},
        "days": {"type": "integer", "default": 3},
        "units": {"type": ["string", "null"]},
        "tags": {"type": "array", "items": {"type": "string"}}},
        "required": ["city"]}}}
TOOL2 = {"type": "function", "function": {
    "name": "noop", "description": "", "parameters": {"type": "object", "properties": {}}}}
CALL = {"role": "assistant", "content": "", "tool_calls": [
    {"id": "call00001", "type": "function",
     "function": {"name": "get_weather", "arguments": {"city": "서울", "days": 2, "f": 1.0}}}]}

VARS = [
    {"messages": [{"role": "system", "content": " You are 담소. "},
                  {"role": "user", "content": "Hello <b>'world'</b>!"},
                  {"role": "assistant", "content": "<think>\n음…\n</think>\n\n안녕 😀"},
                  {"role": "user", "content": "a b c\n 두 번째 줄"}],
     "tools": [TOOL], "name": "damso", "n": 3, "f": 2.5, "flag": True, "nothing": None,
     "items": [3, 1, 2, 1], "d": {"b": 2, "a": 1, "C": "x"}, "ko": "가나다", "text": "abc aBc",
     "nested": [[1, ["a", "b"]], [2, ["c", "d"]]], "empty": [], "m": {"role": "r", "content": ["t"]},
     "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True},
    {"messages": [{"role": "user", "content": "날씨?"}, CALL,
                  {"role": "tool", "name": "get_weather", "tool_call_id": "call00001",
                   "content": "{\"t\": 21}"},
                  {"role": "assistant", "content": "21도입니다.", "reasoning_content": "쉽다"},
                  {"role": "user", "content": "고마워"}],
     "tools": [TOOL, TOOL2], "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True,
     "enable_thinking": False},
    {"messages": [{"role": "user", "content": [{"type": "text", "text": "첫째 "},
                                                {"type": "image"},
                                                {"type": "text", "text": "둘째"}]},
                  {"role": "assistant", "content": "  ok  "}],
     "tools": None, "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": False},
    {"messages": [{"role": "system", "content": "sys"}, {"role": "user", "content": "q1"},
                  {"role": "assistant", "content": "a1"}, {"role": "user", "content": "q2"}],
     "bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True,
     "enable_thinking": True, "reasoning_effort": "high"},
    {"messages": [{"role": "assistant", "content": "first"}, {"role": "assistant", "content": "no"}],
     "bos_token": "<s>", "eos_token": "</s>"},
]

EXPRESSIONS = r"""
1 + 2 * 3 - 4 / 2
7 // 2, -7 // 2, 7 // -2, 7 % 3, -7 % 3, 7 % -3, 7.5 // 2, -7.5 % 2, 2 ** 10, 2 ** -1, 2 ** 3 ** 2
-2 ** 2
- 3 | abs
1.0, 0.1 + 0.2, 1e16, 1e15, 1e-5, 0.0001, 123456789.123, 1/3, 2.5e300, 1e22, -0.0
10 / 2, 3.0 * 2, 1_000_000, 0x1f, 0b101, 0o17, 1e3
'a' ~ 1 ~ none ~ true ~ 1.5 ~ [1]
'ab' * 3, [0] * 2, 3 * 'x'
'a' 'b' "c"
[1, 'a', "it's", 'q"', "both'\"", none, true, 1.0, (1,), {}]
{'k': 'v', 1: 2, 'l': [1, {'z': none}]}
(), (1,), (1, 2)
'\n\t\\\'\x41\u00e9\U0001F600\101\q'
'\é 한\
x'
['\n', '\x00', '\x7f', 'é', '\u200b', '\u3000', '😀', '\\']
1 < 2 < 3, 1 < 2 > 3, 1 == 1.0 == true, 'a' < 'b', [1, 2] < [1, 3], (1, 2) >= (1, 2)
1 in [1, 2], 'b' in 'abc', 'k' in {'k': 1}, 3 not in (1, 2), not 1 in [1]
true and 0, 0 or 'x', not none, '' or [] or {}, 1 and 2
'yes' if flag else 'no', 'x' if false
('x' if false) is defined
missing is defined, missing is undefined, name is defined, missing
missing ~ 'x'
[missing, missing.x is defined] if false else missing
missing | default('d'), '' | default('d'), '' | default('d', true), none | d('x')
text[0], text[-1], text[1:3], text[::-1], text[::2], text[-2:], text[5:1:-2], text[10:]
ko[0], ko[::-1], ko[1:], ko|length, '😀한a'[1], '😀한a'[::-1], '😀한a'|length
items[0], items[-1], items[1:], items[::-1], items[10], items['x']
(1, 2, 3)[::-1], range(10)[2:8:2]|list, range(5)[-1]
d.a, d['a'], d.missing, d.get('a'), d.get('q'), d.get('q', 5), d['items'] is callable
d.items()|list, d.keys()|list, d.values()|list, d|items|list, d|dictsort, d
d.items(), d.keys(), d.values()
d|dictsort(true), d|dictsort(false, 'value') if false else '', {'b': 1, 'a': 2}|dictsort(by='value', reverse=true)
items|sort, items|sort(reverse=true), items|unique|list, items|sum, items|min, items|max
['b', 'A', 'c']|sort, ['b', 'A', 'c']|sort(case_sensitive=true), ['b', 'B', 'a']|unique|list
messages|map(attribute='role')|list, messages|map(attribute='role')|unique|join(',')
messages|selectattr('role', 'equalto', 'user')|map(attribute='content')|list
messages|rejectattr('role', 'eq', 'user')|list|length
messages|selectattr('role', 'in', ['system', 'user'])|list|length
messages|groupby('role')|map('first')|list
messages|map(attribute='content.0')|list, messages|map(attribute='zz', default='q')|list
items|select('odd')|list, items|reject('gt', 1)|list, items|map('string')|join('+'), [1, 0, '']|select|list
items|batch(3, 'x')|list, items|slice(3)|list, items|slice(3, 'f')|list
tools|tojson
tools|tojson(indent=2)
tools[0]|tojson(indent=4, ensure_ascii=true)
{'b': 1, 'a': [1, 2.0, none, true, 'é<>&\'"'], 'c': {}, 'd': []}|tojson(sort_keys=true)
{'b': [], 'a': {'x': 1}}|tojson(separators=(',', ':')), [1, [2]]|tojson(indent=1, separators=(', ', ' : '))
{1: 2, none: 3, true: 4, 1.5: 5}|tojson
'\u2028\x7f\x01\b\f/'|tojson, 1e400|tojson, (1, 2)|tojson, '😀'|tojson(ensure_ascii=true)
'  a b '|trim, 'xxaxx'|trim('x'), 'Hello World'|upper, 'Hello World'|lower, 'hello wORLD-foo (bar)'|title
'hello WORLD'|capitalize, 'ßﬁ'|upper, 'ΑΣ'|lower, 'İ'|lower|length, 'ǆ'|title, "they're bill's"|title
'abc'|first, []|first, 'abc'|last, (1, 2)|last, 'abc'|reverse, [1, 2]|reverse|list, d|reverse|list
'a-b-c'|replace('-', '+'), 'aaa'|replace('a', 'b', 2), 'abc'|replace('', '-'), 12|replace(1, 3)
'3'|int, '3.7'|int, 'x'|int, 'x'|int(5), '0x1f'|int(base=16), '1f'|int(0, 16), 3.99|int, true|int, none|int(9), ' 42 '|int
'0b11'|int(0, 2), '0b11'|int(0, 0), '1_000'|int, '1__0'|int, '-5'|int, '１２'|length
'3.5'|float, 'x'|float, '1e3'|float, 3|float, '1_0.5'|float, ' -2. '|float, '1e'|float, text|float
2.5|round, 3.5|round, 2.675|round(2), 1234.567|round(-2), 42|round, 42.55|round(1, 'floor'), 42.55|round(1, 'ceil'), -2.5|round
-5|abs, 5.5|abs, true|abs
'a\nb\n\nc'|indent, 'a\nb\n\nc'|indent(2, true), 'a\nb\n\nc'|indent(2, blank=true), 'a\n'|indent('> ', true), ''|indent(first=true)
'<a href="x">\'&'|escape, '<a>'|e|e, '<a>'|safe, '<'|safe + '<', '<'|escape ~ '<', '<a>'|forceescape
'foo bar baz qux'|truncate(9), 'foo bar baz qux'|truncate(9, true), 'foo bar baz qux'|truncate(11), 'foo bar baz qux'|truncate(11, false, '...', 0)
'hello 안녕 world_2'|wordcount, 'a b/c?d=é'|urlencode, {'a b': 1, 'c': '/'}|urlencode, 'x'|center(7) ~ '|'
'%s is %d, %05.2f %x %r %%'|format('a', 3, 2.5, 255, 'q'), '%(a)s'|format(a=1), '%-5s|%5s|%+d' % ('a', 'b', 3)
'%s' % 'x', '%s %s' % (1, 2), '%.3s|%c|%e|%g' % ('abcdef', 'x', 12345.678, 0.00001)
'{} {}'.format(1, 'a'), '{0}{1}{0}'.format('x', 'y'), '{a.b} {c[0]}'.format(a={'b': 1}, c=[2])
'{:>5}|{:<5}|{:^5}|{:*^7}'.format('a', 'b', 'c', 'd'), '{:05d} {:+} {:x} {:#x} {:,}'.format(42, 3, 255, 255, 1234567)
'{:.2f} {:e} {:g} {:%} {!r}'.format(3.14159, 1234.5, 0.5, 0.25, 'q'), '{{}}'.format(), '{:{}}|'.format('a', 4)
{'class': 'a', 'id': none, 'x': '<'}|xmlattr, 1000000|filesizeformat, 1024|filesizeformat(true), 1|filesizeformat
'a,b,,c'.split(','), ' a  b '.split(), 'a,b,c'.split(',', 1), 'a b c'.rsplit(None, 1), 'a,b,c'.rsplit(',', 1), ''.split(), ''.split(',')
'abc'.startswith('ab'), 'abc'.endswith(('x', 'c')), 'abc'.startswith('b', 1), 'abc'.find('c'), 'abc'.find('z'), '가나다'.find('다')
'xxabcxx'.strip('x'), '  a'.lstrip(), 'a  '.rstrip(), 'abcba'.lstrip('ab'), '\u3000a\xa0'.strip()
'a\nb\r\nc\x0bd'.splitlines(), 'a\nb'.splitlines(true), 'a=b=c'.partition('='), 'a=b=c'.rpartition('='), 'abc'.partition('x'), 'abc'.rpartition('x')
'abc'.upper(), 'ABC'.lower(), 'a bc'.title(), 'abC'.capitalize(), 'aBc'.swapcase(), 'straße'.casefold()
'abc'.replace('b', 'x'), 'aaa'.replace('a', 'b', 2), 'banana'.count('an'), 'aaaa'.count('aa'), '-'.join(['a', 'b']), 'abc'.index('c')
'12'.isdigit(), '²'.isdigit(), '²'.isdecimal(), '½'.isnumeric(), 'a1'.isalnum(), 'ab'.isalpha(), ' \t'.isspace(), 'AB'.isupper(), 'ab1'.islower(), ''.isdigit()
'prefix-x'.removeprefix('prefix-'), 'x.txt'.removesuffix('.txt'), '42'.zfill(5), '-42'.zfill(5), 'a'.center(4, '*'), 'a'.ljust(3) ~ '|', 'a'.rjust(3), 'a'.center(5) ~ '|'
[1, 2, 1].count(1), [1, 2].index(2), (1, 2).count(2), 'a\tb'.expandtabs(4), 'Ab Cd'.istitle()
1 is odd, 2 is even, 6 is divisibleby 3, 6 is divisibleby(4), 'a' is string, 1 is number, true is number, 1.5 is float, 1 is integer, true is integer
none is none, d is mapping, items is sequence, items is iterable, 1 is iterable, 'a' is sequence, d is sequence, range is callable, 'AB' is upper, 'ab' is lower
1 is sameas 1, none is sameas none, 'trim' is filter, 'zz' is filter, 'odd' is test, 1 is eq 1, 1 is not ne(2), 2 is gt 1, 'a' is in 'abc', 1 is not in [2]
true is true, 1 is true, false is false, true is boolean, '<'|e is escaped, d.items() is sequence, missing is sequence, missing is callable
range(3)|list, range(1, 4)|list, range(5, 0, -2)|list, range(3), range(0, 6, 2), range(3)|length
dict(a=1, b=2), dict({'x': 1}, y=2), dict([('a', 1)]), namespace(a=1).a, namespace({'b': 2}).b
strftime_now('%Y-%m-%d %B %d %A %H:%M'), strftime_now('%d %b %Y'), strftime_now('')
items|join(', '), 'abc'|join('.'), [1, none, true]|join, d|join(','), messages|join('|', attribute='role')
{'a': 1} == {'a': 1.0}, [1, 2] == (1, 2), 'a' == 1, none == false, missing == missing, [] == []
{'b': 1, 'a': 2}|list, {'x': 1}|length, {'x': {'y': 2}}.x.y, {'a': 1, 'a': 2}, {1: 'a', true: 'b', 1.0: 'c'}
not true == false, 1 + 1 if true else 2, (1 if false else 2 if false else 3)
5 is divisibleby 5 and not false, 'a' in ['a'] and 'b' not in ['a'], 1 if 'a' is defined else 0
[1,2,3]|length > 2, (items|first) + (items|last), items|sort|first
'a'|upper|lower ~ 'B'|lower, ('a' ~ 'b')|upper, -1|abs, (-1)|abs, not 'a'|upper
messages[0]['content'].strip(), messages[-1].content.split('\n')[0], messages[1:]|length, messages[0].role == 'system'
messages[2].content.split('</think>')[-1].lstrip('\n'), '</think>' in messages[2].content
tools[0].function.parameters.properties.keys()|list, tools[0]['function']['name']
loop is defined, caller is defined, cycler is defined
items.append, d.pop, d.update is defined, items.append is undefined
"\u00e9" == 'é', '가' < '나', 'z' < '가', '😀' > '가', 'é'|upper, 'É'.lower(), 'ÉÀ'|title
'a%b' % (), '%d%%' % 5, '%s' % (none,), '%s' % [1, 2], '%r' % 'a"b'
[[1, 2], [3]]|sum(start=[]), [1.5, 2]|sum, []|sum, [{'a': 1}, {'a': 2}]|sum(attribute='a')
[{'a': 2, 'b': 'x'}, {'a': 1, 'b': 'X'}]|sort(attribute='b,a'), [{'a': {'b': 1}}]|map(attribute='a.b')|list
'x'.__class__, [].__len__, d.__class__ is defined, name._x is defined
1.real is defined, 'a'.b.c is defined if false else 'n'
1000000 * 1000000, 9223372036854775807, -9223372036854775807
0.1 * 3, 1e100, 1.5e-7, 100000000000000000000.0, 5e-324, 1.7976931348623157e308, 12345678901234567.0
""".strip("\n").split("\n")

ERRORS = r"""
{{ missing.x }}|{{ missing + 1 }}|{{ missing() }}|{{ 'a' + 1 }}|{{ 1 / 0 }}|{{ 1 // 0 }}|{{ 1 % 0 }}
{{ [1] < ['a'] }}|{{ none < 1 }}|{{ none + 1 }}|{{ items.append(1) }}|{{ d.pop('a') }}|{{ d.update({}) }}|{{ items.sort() }}
{{ raise_exception('boom') }}|{{ x | nofilter }}|{{ 1 is notest }}|{{ {[]: 1} }}|{{ [1]|first|first }}|{{ none|length }}|{{ 5|list }}
{% for a, b in [1] %}{% endfor %}|{% for a, b in [(1, 2, 3)] %}{% endfor %}|{% for a in none %}{% endfor %}|{% set a, b = 1, 2, 3 %}
{% set x.y = 1 %}|{% set d.a = 1 %}|{% break %}|{% for x in [1] %}{% macro m() %}{% break %}{% endmacro %}{% endfor %}
{{ range(1000000) }}|{{ namespace(_x=1) }}|{{ 'a'|tojson(foo=1) }}|{{ missing|tojson }}|{{ range(3)|tojson }}|{{ d.keys()|tojson }}
{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}|{% macro m(a) %}{% endmacro %}{{ m(b=1) }}|{% macro m() %}{% endmacro %}{% call m() %}{% endcall %}
{% if %}{% endif %}|{{|{%|{#|{{ 'a }}|{% if x %}|{% for x in y %}|{% endif %}|{{ 1 + }}|{{ (1 }}|{{ [1 }}|{{ {1: }}}}|{{ a b }}
{% set 1 = 2 %}|{{ ]}}|{% raw %}|{% foo %}|{{ a.1b }}|{{ a..b }}|{{ f(a=1, 2) }}|{{ f(a=1, a=2) }}|{{ 01 }}|{{ '\x4' }}|{{ x is }}
{{ 'abc'.index('z') }}|{{ [1].index(5) }}|{{ ''.split('') }}|{{ 'a'.center() }}|{{ 'a'.strip(1) }}|{{ '%d' % 'a' }}|{{ '%s %s' % 'a' }}
{{ '{} {}'.format(1) }}|{{ '{x}'.format(1) }}|{{ '{'.format() }}|{{ 'a'|truncate(1, end='...') }}|{{ 3|items|list }}|{{ 'a'|round }}
{{ 'a' is divisibleby 2 }}|{{ [1,'a']|sort }}|{{ {1: 1, 'a': 2}|tojson(sort_keys=true) }}|{{ (1).append }}{{ (1).append.x }}
{{ [1]|map('upper', 2)|list }}|{{ [1]|map|list }}|{{ dict(1) }}|{{ loop.index }}|{{ 'a'[missing] }}{{ missing[0] }}|{{ messages|groupby }}
""".strip("\n").replace("\n", "|").split("|{")
ERRORS = [e if e.startswith("{") else "{" + e for e in ERRORS]

BLOCKS = [
    "a\n", "a\n\n", "", "\n", "{{ 1 }}\n", "  {% if true %}\n  x\n  {% endif %}\n  y",
    "  {%- if true -%}\n  x\n  {%- endif -%}\n  y", "  {%+ if true +%}\n  x\n  {%+ endif +%}\n  y",
    "a {{- 1 -}} b {{ 2 }} c", "a\n{# c #}\nb\n  {#- c -#}  \nd {# e #} f", "{% raw %} {{ a }} {% b %}{# c #} {% endraw %}",
    "  {% raw -%}  x {%- endraw %}  \n y", "x{{ '\n' }}\n{{ 'y' }}", "{% if false %}a{% elif 1 %}b{% else %}c{% endif %}",
    "{%if n%}{%endif%}{%for x in[1]%}{{x}}{%endfor%}", "a\r\nb\rc{{ 'd\r\ne' }}\r\n",
    "{% for x in items %}{{ loop.index }}{{ loop.index0 }}{{ loop.revindex }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }}{{ loop.depth }}{{ loop.depth0 }};{% endfor %}",
    "{% for x in items %}{{ loop.previtem }}<{{ x }}>{{ loop.nextitem }} {% endfor %}",
    "{% for x in items %}{{ loop.cycle('a', 'b') }}{{ loop.changed(x) }} {% endfor %}",
    "{% for x in [] %}a{% else %}none{% endfor %}{% for x in [1] %}{% break %}{% else %}no{% endfor %}",
    "{% for x in items if x > 1 %}{{ loop.index }}/{{ loop.length }}:{{ x }} {% else %}z{% endfor %}",
    "{% for x in items if x > 9 %}{{ x }}{% else %}z{% endfor %}",
    "{% for x in range(10) %}{% if x == 2 %}{% continue %}{% endif %}{% if x == 5 %}{% break %}{% endif %}{{ x }}{% endfor %}",
    "{% for k, v in d.items() %}{{ k }}={{ v }};{% endfor %}{% for k in d %}{{ k }}{% endfor %}",
    "{% for i, (a, b) in nested %}{{ i }}{{ a }}{{ b }}{% endfor %}", "{% for c in ko %}[{{ c }}]{% endfor %}",
    "{% set x = 1 %}{% for i in [1, 2] %}{{ x }}{% set x = x + i %}{{ x }}{% endfor %}{{ x }}",
    "{% set ns = namespace(n=0, s='') %}{% for i in [1, 2, 3] %}{% set ns.n = ns.n + i %}{% set ns.s = ns.s ~ i %}{% endfor %}{{ ns.n }} {{ ns.s }} {{ ns }}",
    "{% set a, b = 1, 'x' %}{{ a }}{{ b }}{% set (c, d) = [3, 4] %}{{ c }}{{ d }}",
    "{% set x %}a{{ n }}b{% endset %}{{ x|upper }}{% set y | upper | replace('A', 'z') %}abc{% endset %}{{ y }}",
    "{% if true %}{% set q = 1 %}{% endif %}{{ q }}{% if false %}{% set w = 1 %}{% endif %}{{ w is defined }}",
    "{% for i in [1, 2] %}{% if loop.first %}{% set z = i %}{% endif %}{{ z }}{% endfor %}",
    "{% macro m(a, b='d', c=a) %}[{{ a }}{{ b }}{{ c }}]{% endmacro %}{{ m() }}{{ m(1) }}{{ m(1, 2) }}{{ m(b=3) }}{{ m(1, c=5) }}{{ m.name }}{{ m }}",
    "{% macro m() %}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1, 2, x=3) }}{{ m(*[1, 2], **{'a': 1}) }}",
    "{% macro box(t) %}<{{ t }}:{{ caller('p') }}>{% endmacro %}{% call(x) box('q') %}in {{ x }}{% endcall %}",
    "{% macro rec(x, depth=0) %}{{ depth }}{% if x is iterable and x is not string %}({% for i in x %}{{ rec(i, depth + 1) }}{% endfor %}){% else %}{{ x }}{% endif %}{% endmacro %}{{ rec([1, [2, ['a']]]) }}",
    "{% macro m() %}{{ later }}{% endmacro %}{% set later = 'ok' %}{{ m() }}",
    "{% macro f(x) -%}\n  {{ x }}\n{%- endmacro %}{{ f('a') ~ f('b') }}{{ f(f(1))|length }}",
    "{% filter upper %}a{{ name }}b{% endfilter %}{% filter replace('a', 'b')|trim %} aa {% endfilter %}",
    "{% with a = 1, b = n %}{{ a }}{{ b }}{% set c = 2 %}{{ c }}{% endwith %}{{ a is defined }}{{ c is defined }}",
    "{% generation %}x{% set g = 1 %}{{ g }}{% endgeneration %}{{ g is defined }}",
    "{% for x in [1, 2] recursive %}{{ x }}{% if x == 1 %}[{{ loop([5, 6]) }}]{% endif %}{{ loop.depth }}{% endfor %}",
    "{% for m in messages recursive %}{{ loop.index }}{% endfor %}",
    "{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.next() }}{{ c.reset() }}{% set j = joiner('|') %}{{ j() }}{{ j() }}",
    "{% set it = items|map('string') %}{{ it|first }}{{ it|list }}{{ it|list }}",
    "{% for g in messages|groupby('role') %}{{ g.grouper }}{{ g.list|length }}{{ g[0] }} {% endfor %}",
    "{% for a in [1, 2] %}{% for b in 'xy' %}{{ loop.index }}{{ a }}{{ b }}{% endfor %}{{ loop.index }}{% endfor %}",
    "{% for a in [[1, 2], [3]] %}{% set outer = loop %}{% for b in a %}{{ outer.index }}.{{ loop.index }} {% endfor %}{% endfor %}",
    "{% for x in [1] %}{% set loop = 1 %}{% endfor %}", "{% set loop = 1 %}{{ loop }}", "{% for loop in [1] %}{% endfor %}",
    "{{ '%a' % 'é😀' }}{{ '{!a}'.format('한') }}{{ '{:5}|{}'.format(true, true) }}", "{% print 1, 'a' %}{% block foo %}b{{ n }}{% endblock foo %}", "{{ '{{' }}{{ '%}' }}{{ \"}}\" }}",
    "{% if x is not defined %}u{% endif %}{{ x }}", "{{ {'a': {'b': 1}}['a']['b'] }}{{ {'a': 1}.a }}",
    "{% if n %}{{ y | nofilter }}{% endif %}", "{% if not n %}{{ y | nofilter }}{% endif %}ok",
    "{{ 'a' if n else ('b' | nofilter) }}", "{{ 1\n+\n2 }}{%\nif\nn\n%}z{% endif %}", "{{ n }}\n\n{{ n }}\n",
    "{%- for m in messages -%}\n    {{- m.role -}}\n{%- endfor -%}", "{{ m.content[0] }}{{ m['role'] }}{{ m.get('role') }}",
    "{% set x = [1, 2] + [3] %}{{ x }}{% set x = x + [x] %}{{ x }}", "{% for i in [0, 1] %}{{ items[i] }}{{ items[-(i + 1)] }}{% endfor %}",
    "\ufeff한글 {{ ko }} \u2028 {{- 'x' -}} \u3000 y", "{# {{ x }} {% y %} #}z", "{{ '#}' }}{# a -#}  b",
    "{% set 이름 = 'v' %}{{ 이름 }}", "{% if true %}\n\n a {% endif %}\n\n b", "a{% if true %}  \n b{% endif %}  \n c",
    "{% for x in [1, 2, 3] %}\n{{ x }}\n{% endfor %}\nend", "   {{ 1 }}   {% set x = 1 %}   \n   {# c #}   \n   x",
]

HAND = ["{{ (%s) }}" % e if ", " in e and "," in e else "{{ %s }}" % e for e in EXPRESSIONS]
HAND += ["{%% set t = (%s) %%}{%% for v in (t if t is iterable and t is not string and t is not mapping else [t]) %%}{{ v }};{%% endfor %%}" % e
         for e in EXPRESSIONS]
HAND += ERRORS + BLOCKS

FAMILIES = {}
FAMILIES["chatml"] = """{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
FAMILIES["qwen-tools"] = """{%- if tools %}
    {{- '<|im_start|>system\\n' }}
    {%- if messages[0]['role'] == 'system' %}
        {{- messages[0]['content'] }}
    {%- else %}
        {{- 'You are a helper.' }}
    {%- endif %}
    {{- "\\n\\n# Tools\\n\\n<tools>" }}
    {%- for tool in tools %}
        {{- "\\n" }}
        {{- tool | tojson }}
    {%- endfor %}
    {{- "\\n</tools>\\n{\\"name\\": <name>}<|im_end|>\\n" }}
{%- else %}
    {%- if messages[0].role == 'system' %}
        {{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}
    {%- endif %}
{%- endif %}
{%- set ns = namespace(multi_step=true, last=messages|length - 1) %}
{%- for message in messages[::-1] %}
    {%- set index = (messages|length - 1) - loop.index0 %}
    {%- if ns.multi_step and message.role == "user" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
        {%- set ns.multi_step = false %}
        {%- set ns.last = index %}
    {%- endif %}
{%- endfor %}
{%- for message in messages %}
    {%- if message.content is string %}
        {%- set content = message.content %}
    {%- else %}
        {%- set content = '' %}
    {%- endif %}
    {%- if (message.role == "user") or (message.role == "system" and not loop.first) %}
        {{- '<|im_start|>' + message.role + '\\n' + content + '<|im_end|>' + '\\n' }}
    {%- elif message.role == "assistant" %}
        {%- set reasoning = '' %}
        {%- if message.reasoning_content is string %}
            {%- set reasoning = message.reasoning_content %}
        {%- elif '</think>' in content %}
            {%- set reasoning = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}
            {%- set content = content.split('</think>')[-1].lstrip('\\n') %}
        {%- endif %}
        {%- if loop.index0 > ns.last and (loop.last or reasoning) %}
            {{- '<|im_start|>' + message.role + '\\n<think>\\n' + reasoning.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}
        {%- else %}
            {{- '<|im_start|>' + message.role + '\\n' + content }}
        {%- endif %}
        {%- if message.tool_calls %}
            {%- for tool_call in message.tool_calls %}
                {%- if (loop.first and content) or (not loop.first) %}{{- '\\n' }}{%- endif %}
                {%- if tool_call.function %}{%- set tool_call = tool_call.function %}{%- endif %}
                {{- '<tool_call>\\n{"name": "' }}
                {{- tool_call.name }}
                {{- '", "arguments": ' }}
                {%- if tool_call.arguments is string %}
                    {{- tool_call.arguments }}
                {%- else %}
                    {{- tool_call.arguments | tojson }}
                {%- endif %}
                {{- '}\\n</tool_call>' }}
            {%- endfor %}
        {%- endif %}
        {{- '<|im_end|>\\n' }}
    {%- elif message.role == "tool" %}
        {%- if loop.first or (messages[loop.index0 - 1].role != "tool") %}
            {{- '<|im_start|>user' }}
        {%- endif %}
        {{- '\\n<tool_response>\\n' }}{{- content }}{{- '\\n</tool_response>' }}
        {%- if loop.last or (messages[loop.index0 + 1].role != "tool") %}
            {{- '<|im_end|>\\n' }}
        {%- endif %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\\n' }}
    {%- if enable_thinking is defined and enable_thinking is false %}
        {{- '<think>\\n\\n</think>\\n\\n' }}
    {%- endif %}
{%- endif %}
"""
FAMILIES["llama3-tools"] = """{{- bos_token }}
{%- if custom_tools is defined %}{%- set tools = custom_tools %}{%- endif %}
{%- if not date_string is defined %}
    {%- if strftime_now is defined %}{%- set date_string = strftime_now("%d %b %Y") %}{%- else %}{%- set date_string = "26 Jul 2024" %}{%- endif %}
{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- if messages[0]['role'] == 'system' %}
    {%- set system_message = messages[0]['content']|trim %}
    {%- set messages = messages[1:] %}
{%- else %}
    {%- set system_message = "" %}
{%- endif %}
{{- "<|start_header_id|>system<|end_header_id|>\\n\\n" }}
{%- if tools is not none %}{{- "Environment: ipython\\n" }}{%- endif %}
{{- "Today Date: " + date_string + "\\n\\n" }}
{%- if tools is not none %}
    {%- for t in tools %}{{- t | tojson(indent=4) }}{{- "\\n\\n" }}{%- endfor %}
{%- endif %}
{{- system_message }}
{{- "<|eot_id|>" }}
{%- for message in messages %}
    {%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}
        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
        {%- if message['content'] is string %}{{- message['content'] | trim }}
        {%- else %}{%- for c in message['content'] %}{%- if c['type'] == 'image' %}{{- '<|image|>' }}{%- elif c['type'] == 'text' %}{{- c['text'] | trim }}{%- endif %}{%- endfor %}{%- endif %}
        {{- '<|eot_id|>' }}
    {%- elif 'tool_calls' in message %}
        {%- if not message.tool_calls|length == 1 %}{{- raise_exception("only single tool-calls") }}{%- endif %}
        {%- set tool_call = message.tool_calls[0].function %}
        {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' -}}
        {{- '{"name": "' + tool_call.name + '", "parameters": ' }}{{- tool_call.arguments | tojson }}{{- "}<|eot_id|>" }}
    {%- elif message.role == "tool" or message.role == "ipython" %}
        {{- "<|start_header_id|>ipython<|end_header_id|>\\n\\n" }}
        {%- if message.content is mapping or (message.content is iterable and message.content is not string) %}{{- message.content | tojson }}{%- else %}{{- message.content }}{%- endif %}
        {{- "<|eot_id|>" }}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}
"""
FAMILIES["mistral"] = """{%- if messages[0]["role"] == "system" %}{%- set system_message = messages[0]["content"] %}{%- set loop_messages = messages[1:] %}{%- else %}{%- set loop_messages = messages %}{%- endif %}
{%- if not tools is defined %}{%- set tools = none %}{%- endif %}
{%- set user_messages = loop_messages | selectattr("role", "equalto", "user") | list %}
{%- set ns = namespace() %}{%- set ns.index = 0 %}
{%- for message in loop_messages %}
    {%- if not (message.role == "tool" or message.role == "tool_results" or (message.tool_calls is defined and message.tool_calls is not none)) %}
        {%- if (message["role"] == "user") != (ns.index % 2 == 0) %}{{- raise_exception("roles must alternate") }}{%- endif %}
        {%- set ns.index = ns.index + 1 %}
    {%- endif %}
{%- endfor %}
{{- bos_token }}
{%- for message in loop_messages %}
    {%- if message["role"] == "user" %}
        {%- if tools is not none and (message == user_messages[-1]) %}
            {{- "[AVAILABLE_TOOLS] [" }}
            {%- for tool in tools %}
                {%- set tool = tool.function %}
                {{- '{"type": "function", "function": {' }}
                {%- for key, val in tool.items() if key != "return" %}
                    {%- if val is string %}{{- '"' + key + '": "' + val + '"' }}{%- else %}{{- '"' + key + '": ' + val|tojson }}{%- endif %}
                    {%- if not loop.last %}{{- ", " }}{%- endif %}
                {%- endfor %}
                {{- "}}" }}{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" }}{%- endif %}
            {%- endfor %}
            {{- "[/AVAILABLE_TOOLS]" }}
        {%- endif %}
        {%- if loop.last and system_message is defined %}{{- "[INST] " + system_message + "\\n\\n" + message["content"] + "[/INST]" }}{%- else %}{{- "[INST] " + message["content"] + "[/INST]" }}{%- endif %}
    {%- elif message.tool_calls is defined and message.tool_calls is not none %}
        {{- "[TOOL_CALLS] [" }}
        {%- for tool_call in message.tool_calls %}
            {%- set out = tool_call.function|tojson %}{{- out[:-1] }}
            {%- if not tool_call.id is defined or tool_call.id|length != 9 %}{{- raise_exception("bad id") }}{%- endif %}
            {{- ', "id": "' + tool_call.id + '"}' }}{%- if not loop.last %}{{- ", " }}{%- else %}{{- "]" + eos_token }}{%- endif %}
        {%- endfor %}
    {%- elif message["role"] == "assistant" %}{{- " " + message["content"]|trim + eos_token}}
    {%- elif message["role"] == "tool" %}
        {%- if message.content is defined and message.content.content is defined %}{%- set content = message.content.content %}{%- else %}{%- set content = message.content %}{%- endif %}
        {{- '[TOOL_RESULTS] {"content": ' + content|string + ", " }}{{- '"call_id": "' + message.tool_call_id + '"}[/TOOL_RESULTS]' }}
    {%- else %}{{- raise_exception("unknown role") }}{%- endif %}
{%- endfor %}
"""
FAMILIES["gemma"] = """{{ bos_token }}{% if messages[0]['role'] == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\\n'}}{% endif %}"""
FAMILIES["gemma3"] = """{{ bos_token }}
{%- if messages[0]['role'] == 'system' -%}
    {%- if messages[0]['content'] is string -%}{%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}{%- else -%}{%- set first_user_prefix = messages[0]['content'][0]['text'] + '\\n\\n' -%}{%- endif -%}
    {%- set loop_messages = messages[1:] -%}
{%- else -%}{%- set first_user_prefix = "" -%}{%- set loop_messages = messages -%}{%- endif -%}
{%- for message in loop_messages -%}
    {%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) -%}{{ raise_exception("alternate") }}{%- endif -%}
    {%- if (message['role'] == 'assistant') -%}{%- set role = "model" -%}{%- else -%}{%- set role = message['role'] -%}{%- endif -%}
    {{ '<start_of_turn>' + role + '\\n' + (first_user_prefix if loop.first else "") }}
    {%- if message['content'] is string -%}{{ message['content'] | trim }}
    {%- elif message['content'] is iterable -%}{%- for item in message['content'] -%}{%- if item['type'] == 'image' -%}{{ '<start_of_image>' }}{%- elif item['type'] == 'text' -%}{{ item['text'] | trim }}{%- endif -%}{%- endfor -%}
    {%- else -%}{{ raise_exception("Invalid content type") }}{%- endif -%}
    {{ '<end_of_turn>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{'<start_of_turn>model\\n'}}{%- endif -%}
"""
FAMILIES["deepseek"] = """{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='', is_first_sp=true) %}{%- for message in messages %}{%- if message['role'] == 'system' %}{%- if ns.is_first_sp %}{% set ns.system_prompt = ns.system_prompt + message['content'] %}{% set ns.is_first_sp = false %}{%- else %}{% set ns.system_prompt = ns.system_prompt + '\\n\\n' + message['content'] %}{%- endif %}{%- endif %}{%- endfor %}{{ bos_token }}{{ ns.system_prompt }}{%- for message in messages %}{%- if message['role'] == 'user' %}{%- set ns.is_tool = false -%}{{'<｜User｜>' + message['content']}}{%- endif %}{%- if message['role'] == 'assistant' and 'tool_calls' in message %}{%- set ns.is_tool = false -%}{%- for tool in message['tool_calls'] %}{%- if not ns.is_first %}{{'<｜Assistant｜><｜tool▁calls▁begin｜>' + tool['type'] + '<｜tool▁sep｜>' + tool['function']['name'] + '\\n' + '```json' + '\\n' + tool['function']['arguments']|tojson + '\\n' + '```'}}{%- set ns.is_first = true -%}{%- else %}{{'\\n' + tool['type']}}{%- endif %}{%- endfor %}{%- endif %}{%- if message['role'] == 'assistant' and 'tool_calls' not in message %}{%- if ns.is_tool %}{{'<｜tool▁outputs▁end｜>' + message['content'] + eos_token}}{%- set ns.is_tool = false -%}{%- else %}{% set content = message['content'] %}{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}{{'<｜Assistant｜>' + content + eos_token}}{%- endif %}{%- endif %}{%- if message['role'] == 'tool' %}{%- set ns.is_tool = true -%}{%- if ns.is_output_first %}{{'<｜tool▁output▁begin｜>' + message['content'] + '<｜tool▁output▁end｜>'}}{%- set ns.is_output_first = false %}{%- endif %}{%- endif %}{%- endfor -%}{% if ns.is_tool %}{{'<｜tool▁outputs▁end｜>'}}{% endif %}{% if add_generation_prompt and not ns.is_tool %}{{'<｜Assistant｜><think>\\n'}}{% endif %}"""
FAMILIES["harmony"] = """{%- macro render_type(spec, required_params, is_nullable=false) -%}
    {%- if spec.type == "array" -%}
        {%- if spec['items'] -%}{{- render_type(spec['items'], required_params) + "[]" }}{%- else -%}{{- "any[]" }}{%- endif -%}
    {%- elif spec.type is defined and spec.type is iterable and spec.type is not string and spec.type is not mapping and spec.type[0] is defined -%}
        {{- spec.type | join(" | ") }}
    {%- elif spec.type == "string" -%}
        {%- if spec.enum -%}{{- '"' + spec.enum|join('" | "') + '"' -}}{%- else -%}{{- "string" }}{%- endif -%}
    {%- elif spec.type == "object" -%}{%- if spec.properties -%}{{- "{\\n" }}{%- for n, p in spec.properties.items() -%}{{- n + ": " }}{{- render_type(p, spec.required or []) }}{%- if not loop.last %}{{- ", " }}{%- endif -%}{%- endfor -%}{{- "}" }}{%- else -%}{{- "object" }}{%- endif -%}
    {%- elif spec.type == "integer" or spec.type == "number" -%}{{- "number" }}
    {%- else -%}{{- "any" }}{%- endif -%}
{%- endmacro -%}
{%- macro render_tools(ns_name, tools) -%}
    {{- "## " + ns_name + "\\n\\nnamespace " + ns_name + " {\\n\\n" }}
    {%- for tool in tools %}
        {%- set tool = tool.function %}
        {{- "// " + tool.description + "\\n" }}{{- "type "+ tool.name + " = " }}
        {%- if tool.parameters and tool.parameters.properties %}
            {{- "(_: {\\n" }}
            {%- for param_name, param_spec in tool.parameters.properties.items() %}
                {%- if param_spec.description %}{{- "// " + param_spec.description + "\\n" }}{%- endif %}
                {{- param_name }}
                {%- if param_name not in (tool.parameters.required or []) -%}{{- "?" }}{%- endif -%}
                {{- ": " }}{{- render_type(param_spec, tool.parameters.required or []) }}
                {%- if param_spec.default is defined -%}{%- if param_spec.enum %}{{- ", // default: " + param_spec.default }}{%- else %}{{- ", // default: " + param_spec.default|tojson }}{%- endif -%}{%- endif -%}
                {%- if not loop.last %}{{- ",\\n" }}{%- else %}{{- "\\n" }}{%- endif -%}
            {%- endfor %}
            {{- "}) => any;\\n\\n" }}
        {%- else -%}{{- "() => any;\\n\\n" }}{%- endif -%}
    {%- endfor %}
    {{- "} // namespace " + ns_name }}
{%- endmacro -%}
{{- "<|start|>system<|message|>Current date: " + strftime_now("%Y-%m-%d") + "\\n\\nReasoning: " + (reasoning_effort if reasoning_effort is defined else "medium") + "<|end|>" }}
{%- if tools -%}{{- "<|start|>developer<|message|>" }}{{- render_tools("functions", tools) }}{{- "<|end|>" }}{%- endif -%}
{%- set last_tool_call = namespace(name=none) %}
{%- for message in messages -%}
    {%- if message.role == 'assistant' -%}
        {%- if "tool_calls" in message %}
            {%- set tool_call = message.tool_calls[0].function %}
            {{- "<|start|>assistant to=functions." + tool_call.name + "<|channel|>commentary json<|message|>" }}{{- tool_call.arguments|tojson }}{{- "<|call|>" }}
            {%- set last_tool_call.name = tool_call.name %}
        {%- elif loop.last and not add_generation_prompt %}
            {%- if "thinking" in message %}{{- "<|start|>assistant<|channel|>analysis<|message|>" + message.thinking + "<|end|>" }}{%- endif %}
            {{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|return|>" }}
        {%- else %}{{- "<|start|>assistant<|channel|>final<|message|>" + message.content + "<|end|>" }}{%- set last_tool_call.name = none %}{%- endif %}
    {%- elif message.role == 'tool' -%}
        {%- if last_tool_call.name is none %}{{- raise_exception("no previous call") }}{%- endif %}
        {{- "<|start|>functions." + last_tool_call.name }}{{- " to=assistant<|channel|>commentary<|message|>" + message.content|tojson + "<|end|>" }}
    {%- elif message.role == 'user' -%}{{- "<|start|>user<|message|>" + (message.content if message.content is string else message.content|selectattr('type', 'equalto', 'text')|map(attribute='text')|join('')) + "<|end|>" }}
    {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}<|start|>assistant{%- endif -%}
"""
FAMILIES["exaone"] = """{% for message in messages %}{% if loop.first and message['role'] != 'system' %}{{ '[|system|][|endofturn|]\\n' }}{% endif %}{% set content = message['content'] %}{% if '</thought>' in content %}{% set content = content.split('</thought>')[-1].lstrip('\\n') %}{% endif %}{{ '[|' + message['role'] + '|]' + content }}{% if not message['role'] == 'user' %}{{ '[|endofturn|]' }}{% endif %}{% if not loop.last %}{{ '\\n' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '\\n[|assistant|]<thought>\\n' }}{% endif %}"""
FAMILIES["phi"] = """{% for message in messages %}{% if message['role'] == 'system' and 'tools' in message and message['tools'] is not none %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|tool|>' + message['tools'] + '<|/tool|>' + '<|end|>' }}{% else %}{{ '<|' + message['role'] + '|>' + (message['content'] if message['content'] is string else message['content']|map(attribute='type')|join(',')) + '<|end|>' }}{% endif %}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"""
FAMILIES["command-r"] = """{%- macro json_to_python_type(json_spec) %}
{%- set basic_type_map = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"} %}
{%- if basic_type_map[json_spec.type] is defined %}
{{- basic_type_map[json_spec.type] }}
{%- elif json_spec.type == "array" %}
{{- "List[" +  json_to_python_type(json_spec['items']) + "]"}}
{%- elif json_spec.type == "object" %}{{- "Dict" }}
{%- elif json_spec.type is iterable and json_spec.type is not string %}{{- "Union[" }}{%- for t in json_spec.type %}{{- json_to_python_type({"type": t}) }}{%- if not loop.last %}{{- "," }}{%- endif %}{%- endfor %}{{- "]" }}
{%- else %}{{- "Any" }}{%- endif %}
{%- endmacro %}
{%- macro old_tool_parser(tools) %}
{%- for tool in tools %}
    {%- if loop.index0 != 0 %}{{- '\\n\\n' }}{%- endif %}
    {{- '```python\\ndef ' + tool.function.name + '(' }}
    {%- for param_name, param_fields in tool.function.parameters.properties|items %}
        {%- if loop.index0 != 0 %}{{- ', ' }}{%- endif %}
        {{- param_name + ': ' }}
        {%- if not param_name in tool.function.parameters.required %}{{- 'Optional[' + json_to_python_type(param_fields) + '] = None'}}{%- else %}{{- json_to_python_type(param_fields) }}{%- endif %}
    {%- endfor %}
    {{- ') -> List[Dict]:\\n    \\"\\"\\"' }}{{- tool.function.description }}
    {%- if tool.function.parameters.properties|length != 0 %}
        {{- '\\n\\n    Args:\\n        ' }}
        {%- for param_name, param_fields in tool.function.parameters.properties|items %}
            {%- if loop.index0 != 0 %}{{- '\\n        ' }}{%- endif %}
            {{- param_name + ' ('}}{{- json_to_python_type(param_fields) }}{{- '): ' }}{{- param_fields.description }}
        {%- endfor %}
    {%- endif %}
    {{- '\\n    \\"\\"\\"\\n    pass\\n```' }}
{%- endfor %}
{%- endmacro %}
{{- bos_token }}{%- if messages[0].role == "system" %}{% set system_message = messages[0].content %}{% endif %}
{%- if system_message %}{{- system_message.strip() + "\\n" }}{%- endif %}
{% if tools %}{{- old_tool_parser(tools) }}{% endif %}
{%- for message in messages %}
{%- if message.role == 'system' and loop.first %}
{%- elif message.role|lower == 'user' %}{{ "<|USER_TOKEN|>" }}{{ message.content|string }}{{ "<|END_OF_TURN_TOKEN|>" }}
{%- elif message.tool_calls is defined and message.tool_calls is not none %}{{- 'Action: ```json\\n[\\n' }}{% for tc in message.tool_calls %}{{- '{\\n'|indent(4, first=True) }}{{- '"tool_name": '|indent(8, first=True) + tc.function.name|tojson + ',\\n' }}{{- tc.function.arguments|tojson(indent=4)|indent(8) }}{{- '\\n}' }}{% endfor %}{{- '\\n]```' }}
{%- else %}{{ '<|CHATBOT_TOKEN|>' + message.content|trim }}{% endif %}
{%- endfor %}{% if add_generation_prompt %}{{ '<|CHATBOT_TOKEN|>' }}{% endif %}
"""
FAMILIES["content-parts"] = """{% for message in messages %}<|{{ message['role'] }}|>{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% elif part['type'] == 'image' %}<image>{% endif %}{% endfor %}<end>
{% endfor %}{% generation %}{{ 'x' }}{% endgeneration %}"""
