import { defineConfig } from 'tsup';

// Emits the JavaScript only; the declarations come from `tsc -b tsconfig.lib.json`, hence no dts and no clean.
export default defineConfig({
  entry: ['src/index.ts', 'src/products/index.ts', 'src/testing/index.ts', 'src/node/index.ts'],
  format: ['esm'],
  target: 'node20',
  platform: 'node',
  dts: false,
  sourcemap: true,
  clean: false,
  silent: true,
  tsconfig: 'tsconfig.lib.json',
});
