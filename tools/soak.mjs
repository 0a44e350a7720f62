#!/usr/bin/env node
// `npm run soak -- list | <name> [--seconds N] [--key value]… [--json]`. What a soak test has to export is in soak.d.ts.
import path from 'node:path';
import { runFromCommandLine, UsageError } from './runner.mjs';

const DEFAULT_SECONDS = 300;

process.exitCode = await runFromCommandLine({
  root: path.resolve(import.meta.dirname, '..'),
  kind: 'soak',
  argv: process.argv.slice(2),
  toOptions: ({ values: { seconds: text, ...values } }) => {
    const seconds = text === undefined ? DEFAULT_SECONDS : Number(text);
    if (!(seconds > 0)) throw new UsageError(`--seconds has to be a positive number, not ${text}`);
    return { seconds, values };
  },
});
