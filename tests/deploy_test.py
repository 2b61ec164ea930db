#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What lies in deploy/ is what Kubernetes, the Gateway API and HAProxy take: tests/deploy_test.py DAMSO.

The manifests against the schemas of kubernetes-validate and of tests/data/crd; the Helm chart, rendered here (there is
no helm: of its language it uses values, quote and if), against the same, and equal to the manifests with its default
values; the arguments that all of them give to damso against `damso conf`."""
import glob, json, os, re, shutil, subprocess, sys
import unittest

import yaml

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
DAMSO = os.path.abspath(sys.argv.pop(1))
VERSIONS = ('1.29', '1.33')  # the oldest and a late one of what is in use
CRDS = {'InferencePool': 'inferencepool', 'HTTPRoute': 'httproute'}
try:
    import jsonschema, kubernetes_validate
except ImportError:
    if os.environ.get('DAMSO_TEST_CLIENTS'):
        raise
    print('kubernetes-validate is not there: tools/clients.sh', file=sys.stderr)
    sys.exit(77)


def documents(text):
    return [d for d in yaml.safe_load_all(text) if d]


def manifests():
    base = f'{ROOT}/deploy/kubernetes'
    with open(f'{base}/kustomization.yaml') as f:
        names = yaml.safe_load(f)['resources']
    assert sorted(names + ['kustomization.yaml']) == sorted(os.listdir(base)), 'a file that is in no list'
    out = []
    for name in names:
        with open(f'{base}/{name}') as f:
            out += documents(f.read())
    return out


def value(values, path):
    for name in path.split('.')[2:]:
        values = values[name]
    return values


def render(text, values):
    def block(m):
        return m[2] if value(values, m[1]) else ''

    def one(m):
        v = value(values, m[1])
        return json.dumps(str(v)) if m[2] else str(v)
    text = re.sub(r'\{\{- if (\.Values\.\w+) \}\}\n(.*)\{\{- end \}\}\n', block, text, flags=re.S)
    text = re.sub(r'\{\{ (\.Values\.\w+)( \| quote)? \}\}', one, text)
    assert '{{' not in text, 'what this test cannot render'
    return text


def chart(**changes):
    folder = f'{ROOT}/deploy/helm/damso'
    with open(f'{folder}/values.yaml') as f:
        values = {**yaml.safe_load(f), **changes}
    out = []
    for path in sorted(glob.glob(f'{folder}/templates/*.yaml')):
        with open(path) as f:
            out += documents(render(f.read(), values))
    return out


def check(o):
    if o['kind'] in CRDS:
        with open(f'{ROOT}/tests/data/crd/{CRDS[o["kind"]]}.json') as f:
            jsonschema.validate(o, json.load(f))
        return
    for version in VERSIONS:
        kubernetes_validate.validate(o, version, strict=True)


def named(all):
    return {(o['kind'], o['metadata']['name']): o for o in all}


class Deploy(unittest.TestCase):
    def test_manifests(self):
        all = named(manifests())
        for o in all.values():
            check(o)
        kinds = {k for k, _ in all}
        self.assertEqual(kinds, {'Deployment', 'Service', 'PodDisruptionBudget', 'HorizontalPodAutoscaler',
                                 'NetworkPolicy', 'InferencePool', 'HTTPRoute'})

    def test_a_fault_is_found(self):
        all = named(manifests())
        bad = json.loads(json.dumps(all['Deployment', 'damso']))
        bad['spec']['template']['spec']['containers'][0]['imagePolicy'] = 'Always'
        with self.assertRaises(kubernetes_validate.ValidationError):
            check(bad)
        bad = json.loads(json.dumps(all['InferencePool', 'damso']))
        bad['spec']['targetPortNumber'] = 8080  # as it was before v1
        with self.assertRaises(jsonschema.ValidationError):
            check(bad)

    def test_safe(self):
        """Nothing runs as root, writes to its image, or talks to the API of the cluster."""
        pod = named(manifests())['Deployment', 'damso']['spec']['template']['spec']
        self.assertFalse(pod['automountServiceAccountToken'])
        self.assertTrue(pod['securityContext']['runAsNonRoot'])
        for c in pod['containers']:
            s = c['securityContext']
            self.assertEqual((s['readOnlyRootFilesystem'], s['allowPrivilegeEscalation'], s['capabilities']),
                             (True, False, {'drop': ['ALL']}))

    def test_time_to_end(self):
        """A pod is killed only after --linger and --drain."""
        for all in (manifests(), chart()):
            pod = named(all)['Deployment', 'damso']['spec']['template']['spec']
            args = pod['containers'][0]['args']
            took = sum(int(args[args.index(a) + 1]) for a in ('--linger', '--drain'))
            self.assertGreater(pod['terminationGracePeriodSeconds'], took)

    def test_chart(self):
        self.assertEqual(named(chart()), named(manifests()))
        for o in chart(replicas=5, image='example.org/damso:1', memory='64Gi'):
            check(o)
        kinds = {o['kind'] for o in chart(autoscaling=False, networkPolicy=False, inferencePool=False)}
        self.assertEqual(kinds, {'Deployment', 'Service', 'PodDisruptionBudget'})

    def test_arguments(self):
        """damso knows each of them."""
        for all in (manifests(), chart()):
            args = named(all)['Deployment', 'damso']['spec']['template']['spec']['containers'][0]['args']
            r = subprocess.run([DAMSO, 'conf', *args[1:]], capture_output=True, text=True)
            self.assertEqual(r.returncode, 0, r.stderr)

    @unittest.skipUnless(shutil.which('haproxy'), 'no haproxy')
    def test_haproxy(self):
        env = {'DAMSO_LISTEN': ':8080', 'DAMSO_ADMIN': '/tmp/admin', 'PATH': os.environ['PATH'],
               **{f'DAMSO_{i}': f'10.0.0.{i}:8080' for i in (1, 2, 3)}}
        r = subprocess.run(['haproxy', '-c', '-f', f'{ROOT}/deploy/haproxy/haproxy.cfg'], env=env, capture_output=True,
                           text=True)
        self.assertEqual(r.returncode, 0, r.stdout + r.stderr)
        self.assertNotIn('WARNING', r.stderr)


if __name__ == '__main__':
    unittest.main()
