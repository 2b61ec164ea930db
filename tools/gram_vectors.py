#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Vectors for src/gram from outside: PyPI `jsonschema` (Draft 2020-12, with its format checker) says
which instances a schema allows; `regress` gives `pattern` its ECMA-262 meaning.

  tools/gram_vectors.py OUT.json [SEED [COUNT]]

needs  pip install 'jsonschema[format]' regress.  An instance is left out where the text that
src/gram admits is narrower than JSON (gram.h): properties out of order, integers with a fraction,
exponents beside bounds, formats that the checker takes loosely.  Schemas by hand, one group a
keyword, then COUNT random ones."""
import copy, json, random, re, sys

import jsonschema, regress
from jsonschema import Draft202012Validator


def find(pattern, text):
    return regress.Regex(pattern, 'u').find(text) is not None


def pattern(validator, want, instance, schema):
    if isinstance(instance, str) and not find(want, instance):
        yield jsonschema.ValidationError('pattern')


def pattern_properties(validator, want, instance, schema):
    if isinstance(instance, dict):
        for p, sub in want.items():
            for k, v in instance.items():
                if find(p, k):
                    yield from validator.descend(v, sub)


def additional(validator, want, instance, schema):
    if isinstance(instance, dict):
        for k, v in instance.items():
            if k not in schema.get('properties', {}) and \
                    not any(find(p, k) for p in schema.get('patternProperties', {})):
                yield from validator.descend(v, want)


Validator = jsonschema.validators.extend(Draft202012Validator, {
    'pattern': pattern, 'patternProperties': pattern_properties, 'additionalProperties': additional})

# (schema, instances)
HAND = [
    ({}, [1, 'a', None, [1, {'x': [2]}], {'a': {'b': []}}, 1.5, -3, True]),
    (True, [1, 'x', {}]),
    ({'type': 'null'}, [None, 0, 'null', False]),
    ({'type': 'boolean'}, [True, False, None, 0]),
    ({'type': 'integer'}, [0, 1, -1, 12345, 1.5, '1', None]),
    ({'type': 'number'}, [0, 1.5, -2.25, 100, '1', 0.001]),
    ({'type': 'string'}, ['', 'a', '"\\/\b\f\n\r\t', '\u00e9\u6f22\U0001f600', '\u0001\u001f', 1]),
    ({'type': ['string', 'null']}, ['x', None, 1]),
    ({'type': ['integer', 'array']}, [1, [], {}, [1]]),
    ({'enum': [1, 'a', None, True, [1, 2], {'k': 'v'}, 2.5]},
     [1, 'a', None, True, False, [1, 2], [1], {'k': 'v'}, {}, 2.5, 2]),
    ({'const': 'x"y'}, ['x"y', 'x']),
    ({'const': {'a': [1, {'b': None}]}}, [{'a': [1, {'b': None}]}, {'a': [1]}]),
    ({'enum': ['a', 'b', 'cc'], 'minLength': 2}, ['a', 'cc']),
    ({'enum': [1, 5, 10, 'a'], 'minimum': 3, 'multipleOf': 5}, [1, 5, 10, 'a']),
    ({'type': 'string', 'enum': ['a', 1, 'b']}, ['a', 1, 'b']),
    ({'enum': ['x', 'y'], 'const': 'y'}, ['x', 'y']),
    ({'type': 'integer', 'minimum': 3}, [2, 3, 4, 30, -3, 1000]),
    ({'type': 'integer', 'maximum': 25}, [24, 25, 26, 0, -1, -100, 250, 3]),
    ({'type': 'integer', 'minimum': -12, 'maximum': 130}, list(range(-20, 140, 3)) + [-12, -13, 130, 131]),
    ({'type': 'integer', 'exclusiveMinimum': 3, 'exclusiveMaximum': 6}, [2, 3, 4, 5, 6, 7]),
    ({'type': 'integer', 'minimum': 2.5, 'maximum': 4.5}, [2, 3, 4, 5]),
    ({'type': 'integer', 'maximum': -5}, [-4, -5, -6, -50, 0, 5]),
    ({'type': 'integer', 'multipleOf': 7}, [0, 7, -7, 14, 15, 700, 701]),
    ({'type': 'integer', 'multipleOf': 1000, 'minimum': 500}, [0, 1000, 5000, 1500, -1000]),
    ({'type': 'number', 'minimum': 1.5}, [1.4, 1.5, 1.51, 2, 15, 0, -2, 1.499]),
    ({'type': 'number', 'exclusiveMinimum': 0, 'maximum': 1}, [0, 0.0001, 0.5, 1, 1.0001, -0.5]),
    ({'type': 'number', 'minimum': -2.25, 'exclusiveMaximum': 10.5}, [-2.25, -2.26, -2.2, 0, 10.5, 10.49, 10, 11]),
    ({'type': 'number', 'multipleOf': 0.25}, [0.25, 0.5, 1, 1.3, -0.75, 10.125]),
    ({'minimum': 5}, [4, 5, 'a', None, [1]]),
    ({'type': 'string', 'minLength': 2, 'maxLength': 4}, ['', 'a', 'ab', 'abcd', 'abcde', '\U0001f600\u00e9', '\U0001f600', '""""', '\n\n\n\n\n']),
    ({'type': 'string', 'maxLength': 0}, ['', 'a']),
    ({'type': 'string', 'minLength': 40}, ['a' * 39, 'a' * 40, 'a' * 90]),
    ({'type': 'string', 'minLength': 70, 'maxLength': 75}, ['a' * n for n in (69, 70, 75, 76)]),
    ({'type': 'string', 'format': 'date'}, ['2024-02-29', '2023-02-29', '2000-02-29', '1900-02-29', '2024-04-31', '2024-12-31', '2024-13-01', '24-01-01', '2024-00-10']),
    ({'type': 'string', 'format': 'time'}, ['10:20:30Z', '10:20:30+09:00', '24:00:00Z', '10:60:00Z', '10:20:30', '10:20:30.25Z']),
    ({'type': 'string', 'format': 'date-time'}, ['2024-02-29T10:20:30Z', '2024-02-30T10:20:30Z', '2024-02-28 10:20:30Z', '2024-02-28T10:20:30.5-08:00', '2024-02-28T10:20:30']),
    ({'type': 'string', 'format': 'uuid'}, ['123e4567-e89b-12d3-a456-426614174000', '123E4567-E89B-12D3-A456-426614174000', '123e4567e89b12d3a456426614174000', '123e4567-e89b-12d3-a456-42661417400', 'g23e4567-e89b-12d3-a456-426614174000']),
    ({'type': 'string', 'format': 'email'}, ['a@b.org', 'first.last+tag@sub.example.com', 'nobody', '']),
    ({'type': 'string', 'format': 'ipv4'}, ['1.2.3.4', '255.255.255.255', '256.1.1.1', '1.2.3', '01.2.3.4', '1.2.3.4.5']),
    ({'type': 'string', 'format': 'ipv6'}, ['::', '::1', '1::', '2001:db8::8a2e:370:7334', '1:2:3:4:5:6:7:8', '1:2:3:4:5:6:7', '1:2:3:4:5:6:7:8:9', '::ffff:1.2.3.4', '1::2::3', '12345::', 'fe80::g', '1:2:3:4:5:6:1.2.3.4', '1:2:3:4:5:6:7::', '::2:3:4:5:6:7:8']),
    ({'type': 'string', 'format': 'hostname'}, ['example.org', 'a-b.c', '-a.b', 'a.b-', 'x' * 64 + '.org', 'localhost', 'a_b.org', '']),
    ({'type': 'string', 'format': 'uri'}, ['http://a.b/c?d=e#f', 'mailto:x@y.z', 'urn:isbn:123', '/rel', 'http://[::1]:80/', 'a b:c', 'http://a/%zz', 'http://a/%20']),
    ({'type': 'string', 'format': 'duration'}, ['P1Y2M3D', 'PT1H2M', 'P1W', 'P', 'PT', 'P1DT12H', '1D', 'P1D2W']),
    ({'type': 'string', 'format': 'date', 'pattern': '^2024'}, ['2024-01-01', '2023-01-01', '2024']),
    ({'type': 'array'}, [[], [1, 'a', [2]], {}, 'x']),
    ({'type': 'array', 'items': {'type': 'integer'}}, [[], [1], [1, 2, 3], ['a'], [1, 'a'], [1.5]]),
    ({'type': 'array', 'items': {'type': 'integer'}, 'minItems': 2}, [[], [1], [1, 2], [1, 2, 3, 4, 5]]),
    ({'type': 'array', 'maxItems': 2}, [[], [1], [1, 2], [1, 2, 3]]),
    ({'type': 'array', 'minItems': 1, 'maxItems': 1, 'uniqueItems': True}, [[], [1], [1, 2]]),
    ({'type': 'array', 'maxItems': 0}, [[], [1]]),
    ({'type': 'array', 'prefixItems': [{'type': 'integer'}, {'type': 'string'}]}, [[], [1], [1, 'a'], ['a'], [1, 2], [1, 'a', None, {}]]),
    ({'type': 'array', 'prefixItems': [{'type': 'integer'}, {'type': 'string'}], 'items': False, 'minItems': 1}, [[], [1], [1, 'a'], [1, 'a', 2]]),
    ({'type': 'array', 'prefixItems': [{'type': 'integer'}], 'items': {'type': 'string'}, 'minItems': 3, 'maxItems': 4}, [[1, 'a'], [1, 'a', 'b'], [1, 'a', 'b', 'c'], [1, 'a', 'b', 'c', 'd'], [1, 2, 'b']]),
    ({'items': False}, [[], [1], 'x']),
    ({'type': 'object'}, [{}, {'a': 1}, {'': {'b': None}}, []]),
    ({'type': 'object', 'properties': {'a': {'type': 'integer'}, 'b': {'type': 'string'}}, 'required': ['a'], 'additionalProperties': False},
     [{}, {'a': 1}, {'a': 1, 'b': 'x'}, {'b': 'x'}, {'a': 1, 'c': 2}, {'a': 'x'}]),
    ({'type': 'object', 'properties': {'a': {'type': 'integer'}}, 'additionalProperties': {'type': 'string'}},
     [{}, {'a': 1}, {'a': 1, 'aa': 'x'}, {'b': 'x', 'c': 'y'}, {'b': 1}, {'a': 'x'}, {'a"': 'x', '\n': 'y', '\u00e9': 'z'}]),
    ({'type': 'object', 'properties': {'a': True, 'ab': True, 'b': False}}, [{}, {'a': 1}, {'ab': 1}, {'b': 1}, {'a': 1, 'abc': 1}]),
    ({'type': 'object', 'properties': {'a': {}}, 'required': ['z', 'a']}, [{'a': 1}, {'a': 1, 'z': 2}, {'a': 1, 'z': 2, 'q': 3}, {'z': 1}]),
    ({'type': 'object', 'required': ['z'], 'additionalProperties': {'type': 'integer'}}, [{}, {'z': 1}, {'z': 'x'}, {'z': 1, 'y': 2}]),
    ({'type': 'object', 'patternProperties': {'^s': {'type': 'string'}, 'n$': {'minLength': 2}}, 'additionalProperties': {'type': 'integer'}},
     [{'s': 'x'}, {'s': 1}, {'sn': 'xy'}, {'sn': 'x'}, {'n': 'x'}, {'n': 'xy'}, {'n': 1}, {'q': 1}, {'q': 'x'}, {'s1': 'a', 'q': 2, 's2': 'b'}]),
    ({'type': 'object', 'properties': {'s1': {'maxLength': 3}}, 'patternProperties': {'^s': {'type': 'string'}}, 'additionalProperties': False},
     [{'s1': 'abc'}, {'s1': 'abcd'}, {'s1': 1}, {'s2': 'abcd'}, {'t': 1}]),
    ({'type': 'object', 'properties': {'a': {}, 'b': {}, 'c': {}}, 'additionalProperties': False, 'minProperties': 2, 'maxProperties': 2},
     [{}, {'a': 1}, {'a': 1, 'b': 1}, {'a': 1, 'c': 1}, {'b': 1, 'c': 1}, {'a': 1, 'b': 1, 'c': 1}]),
    ({'type': 'object', 'maxProperties': 2, 'properties': {'a': {}}}, [{}, {'a': 1, 'b': 1}, {'a': 1, 'b': 1, 'c': 1}, {'x': 1, 'y': 2}, {'x': 1, 'y': 2, 'z': 3}]),
    ({'type': 'object', 'minProperties': 1}, [{}, {'a': 1}, {'a': 1, 'b': 2}]),
    ({'anyOf': [{'type': 'string'}, {'type': 'integer', 'minimum': 5}]}, ['a', 5, 4, None]),
    ({'anyOf': [{'type': 'string', 'minLength': 3}, {'type': 'string', 'maxLength': 1}], 'pattern': '^a*$'}, ['', 'a', 'aa', 'aaa', 'aab', 'b']),
    ({'anyOf': [{'properties': {'a': {'type': 'string'}}, 'required': ['a']}, {'properties': {'a': {'type': 'integer'}, 'b': {'type': 'null'}}, 'required': ['a', 'b']}], 'type': 'object', 'additionalProperties': True},
     [{'a': 'x'}, {'a': 1}, {'a': 1, 'b': None}, {'a': 'x', 'b': 1}, {'a': 1, 'b': 1}]),
    ({'oneOf': [{'type': 'string'}, {'type': 'null'}]}, ['a', None, 1]),
    ({'oneOf': [{'type': 'object', 'properties': {'t': {'const': 'a'}, 'x': {'type': 'integer'}}, 'required': ['t', 'x']}, {'type': 'object', 'properties': {'t': {'const': 'b'}, 'y': {'type': 'string'}}, 'required': ['t', 'y']}]},
     [{'t': 'a', 'x': 1}, {'t': 'b', 'y': 's'}, {'t': 'a', 'y': 's'}, {'t': 'b', 'y': 1}, {'t': 'c'}, {'t': 'a', 'x': 1, 'y': 5}]),
    ({'oneOf': [{'type': 'integer', 'maximum': 3}, {'type': 'integer', 'exclusiveMinimum': 3}]}, [3, 4, 'a']),
    ({'allOf': [{'type': 'integer', 'minimum': 3}, {'maximum': 5}]}, [2, 3, 5, 6]),
    ({'allOf': [{'properties': {'a': {'type': 'integer'}}, 'required': ['a']}, {'properties': {'b': {'type': 'string'}, 'a': {'minimum': 3}}}], 'type': 'object'},
     [{'a': 3}, {'a': 2}, {'a': 3, 'b': 'x'}, {'a': 3, 'b': 1}, {'b': 'x'}]),
    ({'allOf': [{'anyOf': [{'type': 'string'}, {'type': 'integer'}]}, {'anyOf': [{'type': 'integer'}, {'type': 'null'}]}]}, [1, 'a', None]),
    ({'$defs': {'pos': {'type': 'integer', 'minimum': 1}}, 'type': 'array', 'items': {'$ref': '#/$defs/pos'}}, [[1, 2], [0], []]),
    ({'$defs': {'pos': {'type': 'integer', 'minimum': 1}}, '$ref': '#/$defs/pos', 'maximum': 3}, [0, 1, 3, 4]),
    ({'type': 'object', 'properties': {'v': {'type': 'integer'}, 'next': {'$ref': '#'}}, 'required': ['v'], 'additionalProperties': False},
     [{'v': 1}, {'v': 1, 'next': {'v': 2, 'next': {'v': 3}}}, {'v': 1, 'next': {}}, {'v': 1, 'next': {'v': 2, 'x': 1}}]),
    ({'$defs': {'t': {'type': 'array', 'items': {'$ref': '#/$defs/t'}}}, '$ref': '#/$defs/t'}, [[], [[], [[]]], [1], [[1]]]),
    ({'$defs': {'a/b': {'type': 'string'}, 'c~d': {'type': 'null'}}, 'prefixItems': [{'$ref': '#/$defs/a~1b'}, {'$ref': '#/$defs/c~0d'}], 'type': 'array'}, [['x', None], [1], ['x', 1]]),
]
PATTERNS = {
    'abc': ['abc', 'xabcx', 'ab', ''], '^abc$': ['abc', 'abcd', 'xabc'], '^a|b$': ['a', 'b', 'ax', 'xb', 'xay'],
    '': ['', 'x'], '^$': ['', 'x'], '^[a-z]+[0-9]*$': ['a', 'a1', '1', 'aA'], '^[^a-z]$': ['A', 'a', '\n', '\u00e9', '"', '\\'],
    '^.$': ['a', '\n', '\r', '\u2028', '\U0001f600', ''], r'^\d{3}-\d{4}$': ['555-1234', '555-123', '5555-1234'],
    r'^\w+@\w+\.com$': ['a@b.com', 'a@b.org', '\u00e9@b.com'], r'^\s*$': [' \t\n', '\u00a0\ufeff', 'x'], r'^\S\D\W$': ['a--', '1 a'],
    '^(ab|cd)*$': ['', 'ab', 'abcd', 'abc'], '^(?:a{2,3}){2}$': ['aaaa', 'aaa', 'aaaaaa', 'aaaaaaa'], '^a??b*?$': ['', 'ab', 'aab'],
    r'^\u00e9\u{1F600}\x41$': ['\u00e9\U0001f600A', 'e'], r'^[\u4e00-\u9fff]+$': ['\u6f22\u5b57', 'a'], r'^\p{L}+$': ['a\u00e9\u6f22', '1'],
    r'^\p{Lu}\P{Lu}$': ['Aa', 'AA', '\u00c9\u00e9'], r'^[\d\-_]+$': ['1-2_3', 'a'], r'^\/\.\*$': ['/.*', '/x*'], r'\bx': [],
    '^"\\\\$': ['"\\', '"'], '^\n\t$': ['\n\t', 'n'], '(^a|^b)c': ['ac', 'bc', 'xac'], 'a$|^b': ['xa', 'bx', 'ab', 'xb'],
    '^(a|ab)(c|bcd)(d*)$': ['abcd', 'acd', 'abbcd', 'abc', 'ad'], '[^\\s]': ['', ' ', 'a'], '^(?<n>x)y$': ['xy', 'x'], '^[]$': ['', 'a'], '^[^]$': ['\n', ''],
    '(a+)+$': ['aaaa', 'aaab'], '^.{0,5}$': ['', 'abcde', 'abcdef'], '^[ -~]*$': ['abc ~', '\u00e9'], r'\0': ['\0', '0'], r'^\cJ$': ['\n', 'J'],
}


# ---- what src/gram writes narrower ----

def numbers_fit(schema, x):
    """No instance whose text is not admitted though its value may be: 1.0, 1e+20, long fractions."""
    if isinstance(x, bool):
        return True
    if isinstance(x, float):
        return x != int(x) and 'e' not in repr(x) and len(repr(x)) < 18
    if isinstance(x, int):
        return abs(x) < 10 ** 18
    if isinstance(x, list):
        return all(numbers_fit(schema, v) for v in x)
    if isinstance(x, dict):
        return all(numbers_fit(schema, v) for v in x.values())
    return True


def ordered(schema, x, root, depth=0):
    """Properties in the order that every schema which may apply gives them."""
    if depth > 8 or not isinstance(schema, dict):
        return True
    parts = list(schema.get('allOf', [])) + list(schema.get('anyOf', [])) + list(schema.get('oneOf', []))
    if '$ref' in schema:
        at = root
        for p in schema['$ref'][2:].split('/') if len(schema['$ref']) > 1 else []:
            at = at[p.replace('~1', '/').replace('~0', '~')]
        parts.append(at)
    if isinstance(x, dict):
        def names(s, d=0):
            out = [*s.get('properties', {})] if isinstance(s, dict) else []
            if isinstance(s, dict) and d < 4:
                for p in s.get('allOf', []) + s.get('anyOf', []) + s.get('oneOf', []):
                    out += names(p, d + 1)
            return out
        def required(s, d=0):
            out = [*s.get('required', [])] if isinstance(s, dict) else []
            if isinstance(s, dict) and d < 4:
                for p in s.get('allOf', []) + s.get('anyOf', []) + s.get('oneOf', []):
                    out += required(p, d + 1)
            return out
        order = list(dict.fromkeys(names(schema) + required(schema)))
        place = [order.index(k) if k in order else len(order) for k in x]
        if place != sorted(place):
            return False
        for k, v in x.items():
            subs = [schema.get('properties', {}).get(k), schema.get('additionalProperties')]
            subs += list(schema.get('patternProperties', {}).values())
            if not all(ordered(s, v, root, depth + 1) for s in subs):
                return False
    if isinstance(x, list):
        for i, v in enumerate(x):
            subs = [schema.get('items'), *schema.get('prefixItems', [])]
            if not all(ordered(s, v, root, depth + 1) for s in subs):
                return False
    return all(ordered(p, x, root, depth + 1) for p in parts)


# ---- random schemas ----

class Maker:
    def __init__(self, seed):
        self.r = random.Random(seed)

    def pick(self, *xs):
        return self.r.choice(xs)

    def schema(self, depth=0):
        r = self.r
        kinds = ['integer', 'number', 'string', 'enum', 'null', 'boolean', 'pattern', 'multi']
        if depth < 3:
            kinds += ['object', 'object', 'array', 'array', 'anyOf', 'allOf', 'oneOf', 'ref', 'any', 'map']
        k = r.choice(kinds)
        if k in ('integer', 'number'):
            s = {'type': k}
            step = 1 if k == 'integer' else 0.25
            lo = r.randint(-40, 200) * step
            if r.random() < .6:
                s[self.pick('minimum', 'exclusiveMinimum')] = lo
            if r.random() < .6:
                s[self.pick('maximum', 'exclusiveMaximum')] = lo + r.randint(0, 300) * step
            if r.random() < .25:
                s['multipleOf'] = r.choice([2, 3, 5, 10]) if k == 'integer' else r.choice([.5, .25, 2])
            return s
        if k == 'string':
            s = {'type': 'string'}
            if r.random() < .5:
                s['minLength'] = r.randint(0, 4)
            if r.random() < .5:
                s['maxLength'] = s.get('minLength', 0) + r.randint(0, 5)
            return s
        if k == 'pattern':
            s = {'type': 'string', 'pattern': r.choice(['^a', 'b$', '^[a-c]*$', 'a.b', '^(ab|c)+$', '[0-9]'])}
            if r.random() < .4:
                s['maxLength'] = r.randint(1, 6)
            return s
        if k == 'enum':
            return {'enum': r.sample([1, 2, 'a', 'b', 'ab', None, True, [1], {'a': 1}], r.randint(1, 4))}
        if k in ('null', 'boolean'):
            return {'type': k}
        if k == 'multi':
            return {'type': r.sample(['null', 'boolean', 'integer', 'string'], r.randint(1, 3))}
        if k == 'any':
            return r.choice([{}, True, {'minimum': 3}, {'maxLength': 2}])
        if k == 'ref':
            return {'$ref': r.choice(['#/$defs/d0', '#/$defs/d1'])}
        if k == 'array':
            s = {'type': 'array'}
            if r.random() < .3:
                s['prefixItems'] = [self.schema(depth + 1) for _ in range(r.randint(1, 2))]
            if r.random() < .8:
                s['items'] = self.schema(depth + 1) if r.random() < .9 else False
            if r.random() < .4:
                s['minItems'] = r.randint(0, 2)
            if r.random() < .4:
                s['maxItems'] = s.get('minItems', 0) + r.randint(0, 3)
            return s
        if k == 'map':
            s = {'type': 'object', 'patternProperties': {r.choice(['^a', 'b$', '[0-9]']): self.schema(depth + 1)}}
            if r.random() < .6:
                s['additionalProperties'] = r.choice([False, self.schema(depth + 1)])
            return s
        if k == 'object':
            names = r.sample(['a', 'b', 'ab', 'c"', 'd1'], r.randint(0, 4))
            s = {'type': 'object', 'properties': {n: self.schema(depth + 1) for n in names}}
            if r.random() < .7:
                s['required'] = [n for n in names if r.random() < .5]
            if r.random() < .7:
                s['additionalProperties'] = r.choice([False, False, self.schema(depth + 1)])
            if r.random() < .15:
                s['maxProperties'] = r.randint(0, 3)
            if r.random() < .15:
                s['minProperties'] = r.randint(0, 1)
            return s
        branches = [self.schema(depth + 1) for _ in range(2)]
        s = {k: branches}
        if r.random() < .3:
            s.update(r.choice([{'type': 'object'}, {'type': ['string', 'integer']}, {'maximum': 50}, {'maxLength': 3}]))
        return s

    def top(self):
        s = self.schema()
        s = s if isinstance(s, dict) else {'allOf': [s]}
        s = {**s, '$defs': {'d0': self.schema(1), 'd1': self.schema(2)}}
        return s

    def instance(self, s, root, depth=0):
        """Something near to what s allows."""
        r = self.r
        if depth > 6 or not isinstance(s, dict) or r.random() < .06:
            return r.choice([None, True, 1, 7, 'a', 'ab', '', [], {}, [1], {'a': 1}, 0.5, 'abc1'])
        if '$ref' in s:
            at = root
            for p in s['$ref'][2:].split('/'):
                at = at[p]
            return self.instance(at, root, depth + 1)
        for k in ('anyOf', 'oneOf', 'allOf'):
            if k in s:
                return self.instance(r.choice(s[k]), root, depth + 1)
        if 'enum' in s:
            return copy.deepcopy(r.choice(s['enum']))
        t = s.get('type', r.choice(['integer', 'string', 'object', 'array']))
        t = r.choice(t) if isinstance(t, list) else t
        if t in ('integer', 'number'):
            lo = s.get('minimum', s.get('exclusiveMinimum', s.get('maximum', s.get('exclusiveMaximum', 0)) - 10))
            hi = s.get('maximum', s.get('exclusiveMaximum', lo + 20))
            v = r.choice([lo, hi, lo + r.randint(-2, 3), hi + r.randint(-2, 2), r.randint(-300, 300), int((lo + hi) / 2)])
            if t == 'number' and r.random() < .5:
                v += r.choice([.25, .5, .125, -.01])
            v *= s.get('multipleOf', 1) if r.random() < .6 else 1
            return int(v) if v == int(v) else v
        if t == 'string':
            n = r.choice([s.get('minLength', 0), s.get('maxLength', 3), r.randint(0, 7)])
            return ''.join(r.choice('aaabbbcc01"\u00e9\n\U0001f600' if r.random() < .4 else 'aabbc') for _ in range(n))
        if t == 'array':
            n = r.choice([s.get('minItems', 0), s.get('maxItems', 2), r.randint(0, 4)])
            pre = s.get('prefixItems', [])
            return [self.instance(pre[i] if i < len(pre) else s.get('items', {}), root, depth + 1) for i in range(n)]
        if t == 'object':
            out = {}
            for k, sub in s.get('properties', {}).items():
                if k in s.get('required', []) and r.random() < .95 or r.random() < .4:
                    out[k] = self.instance(sub, root, depth + 1)
            for k in r.sample(['a', 'b', 'aa', 'xb', '7', 'zz', '"q'], r.choice([0, 0, 1, 2])):
                if k not in s.get('properties', {}):
                    sub = s.get('additionalProperties', {})
                    for p, v in s.get('patternProperties', {}).items():
                        sub = v if find(p, k) else sub
                    out[k] = self.instance(sub, root, depth + 1)
            return out
        return {'null': None, 'boolean': True}.get(t, None)


STYLES = [dict(separators=(',', ':')), dict(), dict(indent=2)]


def case(schema, instances, r, loose=False):
    check = Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    rows, seen = [], set()
    for x in instances:
        try:
            valid = check.is_valid(x)
        except RecursionError:
            return None
        if not numbers_fit(schema, x) or not ordered(schema, x, schema):
            continue
        text = json.dumps(x, ensure_ascii=False, **r.choice(STYLES))
        if text not in seen:
            seen.add(text)
            rows.append([text, int(valid)])
    return {'schema': schema, 'cases': rows}


def main():
    out, seed = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 1
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 300
    r, maker, cases = random.Random(seed), Maker(seed), []
    for schema, instances in HAND:
        cases.append({**case(schema, instances, r), 'hand': 1})
    for p, texts in PATTERNS.items():
        schema = {'type': 'string', 'pattern': p}
        cases.append({**case(schema, texts, r), 'hand': 1})
    while count > 0:
        s = maker.top()
        try:
            c = case(s, [maker.instance(s, s) for _ in range(16)], r)
        except Exception as e:  # the oracle's own faults: numbers against strings and so on
            print('left out:', type(e).__name__, e, file=sys.stderr)
            continue
        if c and c['cases']:
            cases.append(c)
            count -= 1
    with open(out, 'w', encoding='utf-8') as f:
        f.write('[\n' + ',\n'.join(json.dumps(c, ensure_ascii=True, separators=(',', ':'), sort_keys=False)
                                   for c in cases) + '\n]\n')
    n = [v for c in cases for _, v in c['cases']]
    print(f'{len(cases)} schemas, {len(n)} instances, {sum(n)} of them valid')


if __name__ == '__main__':
    main()
