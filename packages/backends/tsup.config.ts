import { defineConfig } from 'tsup';

// Emits the JavaScript only; the declarations come from `tsc -b tsconfig.lib.json`, hence no dts and no clean.
export default defineConfig({
  // The second entry is a program: createSimulatedEngine starts it by its path beside index.js.
  entry: { index: 'src/index.ts', 'simulated-engine': 'src/simulated-engine/main.ts' },
  format: ['esm'],
  target: 'node20',
  platform: 'node',
  dts: false,
  sourcemap: true,
  clean: false,
  silent: true,
  tsconfig: 'tsconfig.lib.json',
});
