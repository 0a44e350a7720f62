import { defineProject } from 'vitest/config';

// The source condition makes sibling packages resolve to their sources, so nothing has to be built first.
const conditions = ['@aim-gpu/source'];

export default defineProject({
  resolve: { conditions },
  ssr: { resolve: { conditions } },
  test: { name: 'planner', include: ['test/**/*.test.ts'], testTimeout: 20_000 },
});
