// SPDX-License-Identifier: MIT
// The unit tests: bundles src/**/*.test.ts with Vite's own esbuild and runs them with node:test.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';

const here = new URL('.', import.meta.url).pathname;
const tests = readdirSync(join(here, 'src'), { recursive: true })
  .filter((f) => f.endsWith('.test.ts'))
  .map((f) => join(here, 'src', f));
const out = mkdtempSync(join(tmpdir(), 'damso-web-'));
try {
  await build({
    entryPoints: tests,
    outdir: out,
    outbase: join(here, 'src'),
    bundle: true,
    platform: 'node',
    format: 'esm',
    outExtension: { '.js': '.mjs' },
    logLevel: 'warning',
    jsx: 'automatic',
    jsxImportSource: 'preact',
    external: ['./pdf', './docx'],
    define: { 'import.meta.env.DEV': 'false' },
  });
  const files = readdirSync(out, { recursive: true }).filter((f) => f.endsWith('.test.mjs'));
  const run = spawnSync(process.execPath, ['--test', ...files.map((f) => join(out, f))], {
    stdio: 'inherit',
  });
  process.exitCode = run.status ?? 1;
} finally {
  rmSync(out, { recursive: true, force: true });
}
