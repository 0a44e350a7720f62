#!/usr/bin/env node
// The `aim-gpu` command. Committed (npm links only files that exist at install time); it only starts dist/main.js.
import { existsSync } from 'node:fs';

const built = new URL('../dist/main.js', import.meta.url);
if (existsSync(built)) {
  const { main } = await import(built.href);
  process.exitCode = await main(process.argv.slice(2));
} else {
  process.stderr.write(
    'aim-gpu is not built yet: run `npm run build` at the root of the repository first.\n',
  );
  process.exitCode = 70;
}
