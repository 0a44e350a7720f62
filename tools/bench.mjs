#!/usr/bin/env node
// `npm run -s bench -- list | <name> [--full] [--key value]… [--json]`. What a bench has to export is in bench.d.ts.
import path from 'node:path';
import { runFromCommandLine } from './runner.mjs';

process.exitCode = await runFromCommandLine({
  root: path.resolve(import.meta.dirname, '..'),
  kind: 'bench',
  argv: process.argv.slice(2),
  toOptions: ({ full, values }) => ({ full, values }),
});
