/**
 * The file that says that a directory is the tree of a simulated machine, and where its device is served. Owns its name
 * and form.
 */
import { readFileSync } from 'node:fs';
import path from 'node:path';

/** Name of the file in the directory. A directory that has it may be written over. */
export const MARKER = '.aim-gpu-simulated-machine';

/** The text of the file. */
export function toMarkerText(deviceSocket: string): string {
  return `${JSON.stringify({ deviceSocket })}\n`;
}

/**
 * Where engines that run on the tree of a simulated machine find its device, so that they take memory and hold cards as
 * engines on real ones do. Null for a directory that is no such tree.
 */
export function readDeviceSocket(directory: string): string | null {
  try {
    const text = readFileSync(path.join(directory, MARKER), 'utf8');
    const { deviceSocket } = JSON.parse(text) as { readonly deviceSocket?: unknown };
    return typeof deviceSocket === 'string' ? deviceSocket : null;
  } catch {
    // No tree of ours, or one that is being made.
    return null;
  }
}
