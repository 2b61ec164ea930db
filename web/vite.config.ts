// SPDX-License-Identifier: MIT
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createRequire } from 'node:module';
import { defineConfig, type Plugin } from 'vite';

/** pdf.js' character maps for Korean, which PDFs of Korean offices need, as dist/cmaps/. */
function koreanMaps(): Plugin {
  return {
    name: 'korean-maps',
    apply: 'build',
    generateBundle() {
      const pdfjs = dirname(createRequire(import.meta.url).resolve('pdfjs-dist/package.json'));
      const folder = join(pdfjs, 'cmaps');
      for (const name of readdirSync(folder)) {
        if (!/^(KSC|UniKS|Adobe-Korea1|KS|Identity)/.test(name)) continue;
        const source = readFileSync(join(folder, name));
        this.emitFile({ type: 'asset', fileName: `cmaps/${name}`, source });
      }
    },
  };
}

export default defineConfig({
  base: '/',
  esbuild: { jsx: 'automatic', jsxImportSource: 'preact', legalComments: 'none' },
  build: {
    target: ['chrome111', 'firefox121', 'safari17.5'],
    cssTarget: ['chrome123', 'firefox121', 'safari17.5'],
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    chunkSizeWarningLimit: 1600,
    reportCompressedSize: false,
    rollupOptions: {
      output: {
        // The worker of pdf.js as .js: one type for every script.
        assetFileNames: (asset) =>
          asset.names.some((n) => n.endsWith('.mjs'))
            ? 'assets/[name]-[hash].js'
            : 'assets/[name]-[hash][extname]',
      },
    },
  },
  plugins: [koreanMaps()],
});
