// One classic script without imports: OHIF's configuration script is read as such. Its first line holds a digest of
// the sources, by which a test sees that it was built from them.
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { defineConfig } from 'vite';

const digest = createHash('sha256');
for (const name of readdirSync('src').sort()) digest.update(readFileSync(`src/${name}`));

export default defineConfig({
  build: {
    outDir: 'dist',
    minify: false,
    target: 'es2022',
    lib: { entry: 'src/main.ts', formats: ['iife'], name: 'fewsam', fileName: () => 'fewsam.js' },
    rollupOptions: { output: { banner: `/* fewsam panel, built from sources ${digest.digest('hex')} */` } },
  },
});
