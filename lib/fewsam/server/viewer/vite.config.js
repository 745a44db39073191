// The panel: one classic script without imports, since OHIF's configuration script is read as such. With `--mode model`
// what works without a viewer, as a module for the tests in Node. The first line of each holds a digest of the
// sources, by which a test sees that it was built from them.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { defineConfig } from 'vite';

const digest = createHash('sha256');
const files = readdirSync('src', { recursive: true, withFileTypes: true }).filter(entry => entry.isFile());
for (const path of files.map(entry => `${entry.parentPath}/${entry.name}`).sort()) digest.update(readFileSync(path));
const banner = `/* fewsam panel, built from sources ${digest.digest('hex')} */`;

const panel = { entry: 'src/main.ts', formats: ['iife'], name: 'fewsam', fileName: () => 'fewsam.js' };
const model = { entry: 'src/model.ts', formats: ['es'], fileName: () => 'model.mjs' };

export default defineConfig(({ mode }) => ({
  build: {
    outDir: 'dist',
    emptyOutDir: false,
    minify: false,
    target: 'es2022',
    lib: mode === 'model' ? model : panel,
    rollupOptions: { output: { banner } },
  },
}));
