import { defineConfig } from 'vitest/config';

// `npm run test:integration` sets this to run tests/integration alone: those need real components.
const integration = process.env['AIM_GPU_INTEGRATION'] === '1';

export default defineConfig({
  test: {
    projects: integration
      ? ['tests/integration']
      : ['packages/*', 'examples/*', 'tests/*', '!tests/integration', 'tools'],
    maxWorkers: 2,
    coverage: {
      provider: 'v8',
      include: ['packages/*/src/**/*.ts'],
      exclude: ['**/index.ts'],
      reporter: ['text-summary', 'json-summary', 'lcov'],
    },
  },
});
