/**
 * Errors as the tools print them: Python exceptions, status lines, bracketed statuses and rocm-smi's ERROR lines. What
 * the exit status was does not matter: both tools have printed errors and exited with 0.
 */
import type { AmdSmiError } from './report.js';

// amdsmi_status_t of amdsmi.h, as far as a command can end in it.
const STATUS_BY_NAME: ReadonlyMap<string, number> = new Map([
  ['AMDSMI_STATUS_INVAL', 1],
  ['AMDSMI_STATUS_NOT_SUPPORTED', 2],
  ['AMDSMI_STATUS_NOT_YET_IMPLEMENTED', 3],
  ['AMDSMI_STATUS_API_FAILED', 7],
  ['AMDSMI_STATUS_TIMEOUT', 8],
  ['AMDSMI_STATUS_RETRY', 9],
  ['AMDSMI_STATUS_NO_PERM', 10],
  ['AMDSMI_STATUS_IO', 12],
  ['AMDSMI_STATUS_BUSY', 30],
  ['AMDSMI_STATUS_NOT_FOUND', 31],
  ['AMDSMI_STATUS_NOT_INIT', 32],
  ['AMDSMI_STATUS_DRIVER_NOT_LOADED', 34],
  ['AMDSMI_STATUS_NO_DATA', 40],
  ['AMDSMI_STATUS_UNEXPECTED_DATA', 43],
  ['AMDSMI_STATUS_AMDGPU_RESTART_ERR', 54],
  ['AMDSMI_STATUS_SETTING_UNAVAILABLE', 55],
]);

const NUMBERED = /(?:^|\s)(\d{1,10}) ?\| ?((?:AMDSMI_STATUS|AMD_SMI)_[A-Z_]{1,60}) ?- ?(.*)$/;
const BRACKETED = /\[(AMDSMI_STATUS_[A-Z_]{1,60})\] ?(.*)$/;
const BARE = /(?:^|\s)(AMDSMI_STATUS_[A-Z_]{1,60}): ?(.*)$/;
const ROCM_SMI = /^ERROR: (\d{1,10}) (.{0,200}?)(RSMI_STATUS_[A-Z_]{1,60}): ?(.*)$/;
const EXCEPTION = /^(?:[\w.]{1,120}\.)?([A-Za-z]{0,80}(?:Exception|Error)): ?(.*)$/;
const CHAINED = /^(?:The above exception was the direct cause|During handling of the above)/;
const MAX_LINE = 1024;
const MAX_ERRORS = 200;

interface Draft {
  status: number | null;
  name: string;
  messages: string[];
  bracketed: boolean;
}

/** Errors in a text, in order; exceptions raised from one another are one error, named after the first cause. */
export function findErrors(text: string): readonly AmdSmiError[] {
  const drafts: Draft[] = [];
  let chained = false;
  for (const line of text.split(/\r?\n/)) {
    const found = toDraft(line.slice(0, MAX_LINE).trim());
    if (CHAINED.test(line)) chained = drafts.length > 0;
    if (found === null) continue;
    const last = drafts.at(-1);
    if (last !== undefined && (chained || tellsMore(last, found)))
      last.messages.push(...found.messages);
    else if (drafts.length < MAX_ERRORS) drafts.push(found);
    if (last !== undefined && !found.bracketed) last.bracketed = false;
    chained = false;
  }
  return drafts.map(({ status, name, messages }) => ({
    status,
    name,
    message: [...new Set(messages)].filter((message) => message !== '').join('; '),
  }));
}

/** A bracketed status and the exception with the same status below it are one error. */
function tellsMore(last: Draft, found: Draft): boolean {
  return last.bracketed && !found.bracketed && last.name === found.name;
}

/** The error of `{ "error": …, "code": … }`, which `--json` prints; null when there is no error in it. */
export function toJsonError(error: unknown, code: unknown): AmdSmiError | null {
  if (typeof error !== 'string' || typeof code !== 'number' || !Number.isSafeInteger(code))
    return null;
  const status = toLibraryStatus(code);
  const name = [...STATUS_BY_NAME].find(([, value]) => value === status)?.[0] ?? 'AmdSmiException';
  return { status, name, message: error.slice(0, MAX_LINE) };
}

function toDraft(line: string): Draft | null {
  const rocmSmi = ROCM_SMI.exec(line);
  if (rocmSmi !== null)
    return draft(Number(rocmSmi[1]), rocmSmi[3], `${rocmSmi[2] ?? ''}${rocmSmi[4] ?? ''}`);
  const numbered = NUMBERED.exec(line);
  if (numbered !== null) return draft(Number(numbered[1]), numbered[2], numbered[3]);
  const bracketed = BRACKETED.exec(line);
  if (bracketed !== null) {
    const name = bracketed[1] ?? '';
    // In JSON the text ends with its quote.
    const message = bracketed[2]?.replace(/",?$/, '');
    const found = draft(STATUS_BY_NAME.get(name) ?? null, name, message);
    return { ...found, bracketed: !EXCEPTION.test(line) };
  }
  const exception = EXCEPTION.exec(line);
  if (exception !== null) {
    const code = /^(.*?)\s?Error code: ?(-?\d{1,10})?$/.exec(exception[2] ?? '');
    // The library's exception only announces the status line below it.
    if (code !== null && code[1] === '' && code[2] === undefined) return null;
    const status = code?.[2] === undefined ? null : toLibraryStatus(Number(code[2]));
    return draft(status, exception[1], code?.[1] ?? exception[2]);
  }
  const bare = BARE.exec(line);
  if (bare !== null) return draft(STATUS_BY_NAME.get(bare[1] ?? '') ?? null, bare[1], bare[2]);
  return null;
}

/** The tool adds 1000 to a library's status and turns the sign; its own codes are apart from those. */
function toLibraryStatus(code: number): number {
  return code <= -1000 ? -1000 - code : code;
}

function draft(
  status: number | null,
  name: string | undefined,
  message: string | undefined,
): Draft {
  return { status, name: name ?? '', messages: [(message ?? '').trim()], bracketed: false };
}
