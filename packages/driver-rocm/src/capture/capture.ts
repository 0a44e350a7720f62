/**
 * A capture: what this package read of a host, as one JSON document that a user can attach to an issue and a test can
 * load. Owns the format and its check; what goes in is in record-capture.ts, what is taken out in redaction.ts.
 */
import { AimError } from '@aim-gpu/core';
import type { FileAccess } from '../file-tree.js';

/** A run of a tool, as it was; `failure` says why there is no whole output. */
export interface CapturedCommand {
  readonly argv: readonly string[];
  readonly exitCode: number | null;
  readonly stdout: string;
  readonly stderr: string;
  readonly failure: string | null;
}

/** Answers that a host gave, by path. A path that is nowhere in it was absent. */
export interface Capture {
  readonly format: 'aim-gpu-capture/1';
  readonly files: Readonly<Record<string, string>>;
  readonly unreadable: Readonly<Record<string, string>>;
  readonly lists: Readonly<Record<string, readonly string[]>>;
  readonly links: Readonly<Record<string, string>>;
  readonly access: Readonly<Record<string, FileAccess>>;
  readonly commands: readonly CapturedCommand[];
}

/** Writes a capture as text that people can read through before they send it. */
export function formatCapture(capture: Capture): string {
  return `${JSON.stringify(capture, null, 2)}\n`;
}

/** Reads a capture. Throws `ERR_CONFIG_INVALID` (invalid) for a text that is none. */
export function parseCapture(text: string): Capture {
  let document: unknown;
  try {
    document = JSON.parse(text);
  } catch (error) {
    throw invalid('it is no JSON', error);
  }
  if (!isRecord(document) || document['format'] !== 'aim-gpu-capture/1')
    throw invalid('its format is not aim-gpu-capture/1');
  const part = <T>(name: string, isEntry: (value: unknown) => boolean): Record<string, T> => {
    const value = document[name];
    if (!isRecord(value) || !Object.values(value).every(isEntry)) throw invalid(`${name} is wrong`);
    // Names are data here: none of them may reach the prototype.
    return Object.assign(Object.create(null), value) as Record<string, T>;
  };
  const commands = document['commands'];
  if (!Array.isArray(commands) || !commands.every(isCommand)) throw invalid('commands is wrong');
  return {
    format: 'aim-gpu-capture/1',
    files: part('files', isText),
    unreadable: part('unreadable', isText),
    lists: part('lists', isTexts),
    links: part('links', isText),
    access: part('access', isAccess),
    commands,
  };
}

function invalid(why: string, cause?: unknown): AimError {
  return new AimError({
    code: 'ERR_CONFIG_INVALID',
    kind: 'invalid',
    message: `not a capture: ${why}`,
    hint: 'make one with `aim-gpu capture --out capture.json`',
    ...(cause === undefined ? {} : { cause }),
  });
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === 'string';
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every(isText);
}

function isAccess(value: unknown): value is FileAccess {
  return (
    isRecord(value) &&
    typeof value['usable'] === 'boolean' &&
    ['mode', 'uid', 'gid'].every((name) => Number.isSafeInteger(value[name]))
  );
}

function isCommand(value: unknown): value is CapturedCommand {
  return (
    isRecord(value) &&
    isTexts(value['argv']) &&
    isText(value['stdout']) &&
    isText(value['stderr']) &&
    (value['exitCode'] === null || Number.isSafeInteger(value['exitCode'])) &&
    (value['failure'] === null || isText(value['failure']))
  );
}
