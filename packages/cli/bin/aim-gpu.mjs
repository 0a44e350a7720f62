#!/usr/bin/env -S node --max-semi-space-size=4
// The `aim-gpu` command. Committed (npm links only files that exist at install time); it only starts dist/main.js.
// Starting it grows the space for young objects to 32 MB, which a daemon that idles keeps; 8 MB cost it no time.
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
