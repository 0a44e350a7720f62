/**
 * A command line in memory: streams are strings, the state directory is temporary, the home directory does not exist.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { CommandIo } from '../../src/io.js';

/** A command line under a test's control. */
export interface FakeIo extends CommandIo {
  readonly directory: string;
  out(): string;
  error(): string;
  /** Writes a file below the current directory and returns its path. */
  write(name: string, content: string): string;
  /** Sends a stop signal to whoever listens. */
  stop(name: string): void;
  remove(): void;
}

/** Makes one. */
export function createFakeIo(env: Readonly<Record<string, string>> = {}): FakeIo {
  const directory = mkdtempSync(path.join(tmpdir(), 'aim-gpu-cli-'));
  const listeners = new Set<(name: string) => void>();
  let out = '';
  let error = '';
  return {
    env: { XDG_STATE_HOME: path.join(directory, 'state'), ...env },
    cwd: directory,
    hostName: 'test-host',
    homeDirectory: path.join(directory, 'home'),
    program: ['node', '/opt/aim gpu/aim-gpu.mjs'],
    isTerminal: false,
    writeOut: (text) => {
      out += text;
    },
    writeError: (text) => {
      error += text;
    },
    exitNow: (code) => {
      error += `exit ${code}\n`;
    },
    onStopSignal: (listener) => {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    directory,
    out: () => out,
    error: () => error,
    write: (name, content) => {
      const file = path.join(directory, name);
      writeFileSync(file, content);
      return file;
    },
    stop: (name) => {
      for (const listener of listeners) listener(name);
    },
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}

/** One model on one simulated MI300X. */
export const SMALL_FLEET = `apiVersion: aim-gpu/v1alpha1
kind: Fleet
metadata: { name: small }
nodes:
  - { name: node-a, driver: simulated, cards: { product: MI300X, count: 1 } }
models:
  - { name: tiny, source: meta-llama/Llama-3.2-1B-Instruct, concurrency: 2, maxModelLen: 2048 }
`;
