/**
 * How the executables of a materialized machine reach it: a unix socket with one JSON line each way, and the program
 * behind the executables. Owns the protocol of both ends; what a tool does is the tool's.
 */
import { createServer, type Socket } from 'node:net';
import { type CallOptions, createLease, type Lease } from '@aim-gpu/core';
import type { ToolCall, ToolResult } from './amd-smi.js';

/** A tool of the machine. */
export type Tool = (call: ToolCall) => Promise<ToolResult>;

/** Longest path of a unix socket on every system this runs on. */
export const MAX_SOCKET_PATH = 100;

/**
 * The program behind the executables. It stands alone, as it runs from wherever the tree is; CommonJS, so that no
 * package.json above it changes how it is read.
 */
export const TOOL_PROGRAM = `'use strict';
const { connect } = require('node:net');
const [socketPath, tool, ...argv] = process.argv.slice(2);
const socket = connect(socketPath);
let text = '';
const say = (value) => socket.write(JSON.stringify(value) + '\\n');
socket.on('connect', () => say({ tool, argv }));
socket.on('error', () => {
  process.stderr.write(tool + ': the simulated machine is not running\\n');
  process.exitCode = 69;
});
socket.on('data', (data) => {
  text += data;
  for (let end = text.indexOf('\\n'); end !== -1; end = text.indexOf('\\n')) {
    const message = JSON.parse(text.slice(0, end));
    text = text.slice(end + 1);
    if (message.ask === undefined) {
      process.stdout.write(message.stdout);
      process.stderr.write(message.stderr);
      process.exitCode = message.exitCode;
      process.stdin.unref?.();
      socket.end();
    } else {
      process.stdout.write(message.ask);
      let answer = '';
      let told = false;
      const tell = () => {
        if (told) return;
        told = true;
        say({ answer: answer.split('\\n')[0] });
        process.stdin.pause();
      };
      process.stdin.on('data', (chunk) => {
        answer += chunk;
        if (answer.includes('\\n')) tell();
      });
      process.stdin.on('end', tell);
    }
  }
});
`;

/** The text of an executable that runs a tool. */
export function toExecutable(options: {
  readonly program: string;
  readonly socketPath: string;
  readonly tool: string;
}): string {
  const words = [process.execPath, options.program, options.socketPath, options.tool];
  return `#!/bin/sh\nexec ${words.map(quote).join(' ')} "$@"\n`;
}

function quote(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}

/** Serves tools until the lease is released. */
export async function serveTools(
  options: CallOptions & {
    readonly socketPath: string;
    readonly tools: Readonly<Record<string, Tool>>;
  },
): Promise<Lease> {
  const { socketPath, tools } = options;
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    const gone = new AbortController();
    socket.on('error', () => undefined);
    socket.on('close', () => {
      sockets.delete(socket);
      // Who no longer waits has been killed; the kernel goes on by itself.
      gone.abort();
    });
    void converse(socket, tools, gone.signal);
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(socketPath, () => {
      server.removeListener('error', reject);
      resolve();
    });
  });
  return createLease(async () => {
    const closed = new Promise<void>((resolve) => server.close(() => resolve()));
    for (const socket of sockets) socket.destroy();
    await closed;
  });
}

async function converse(
  socket: Socket,
  tools: Readonly<Record<string, Tool>>,
  signal: AbortSignal,
): Promise<void> {
  const lines = createLines(socket);
  try {
    const { tool, argv } = JSON.parse(await lines.next()) as { tool: string; argv: string[] };
    const run = tools[tool];
    const result = await (run === undefined
      ? Promise.resolve({ exitCode: 127, stdout: '', stderr: `${tool}: unknown tool\n` })
      : run({
          argv,
          signal,
          ask: async (question) => {
            socket.write(`${JSON.stringify({ ask: question })}\n`);
            return String((JSON.parse(await lines.next()) as { answer?: unknown }).answer ?? '');
          },
        }));
    socket.end(`${JSON.stringify(result)}\n`);
  } catch (error) {
    const stderr = `the simulated machine failed: ${error instanceof Error ? error.message : String(error)}\n`;
    if (socket.writable) socket.end(`${JSON.stringify({ exitCode: 70, stdout: '', stderr })}\n`);
  }
}

/** Lines of a socket one after the other; rejects when it ends first. */
function createLines(socket: Socket): { next(): Promise<string> } {
  let text = '';
  let ended = false;
  let wake: () => void = () => undefined;
  socket.setEncoding('utf8');
  socket.on('data', (data) => {
    text += String(data);
    wake();
  });
  socket.on('close', () => {
    ended = true;
    wake();
  });
  return {
    next: async () => {
      for (;;) {
        const end = text.indexOf('\n');
        if (end !== -1) {
          const line = text.slice(0, end);
          text = text.slice(end + 1);
          return line;
        }
        if (ended) throw new Error('the tool is gone');
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    },
  };
}
