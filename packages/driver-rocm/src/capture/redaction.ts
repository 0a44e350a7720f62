/**
 * Takes out of a capture what names a machine, a person or their work: ids of cards and hives, serial numbers, UUIDs,
 * commands, users, open files and the words it is told. One and the same id gets one and the same stand-in everywhere,
 * so that what belongs together still does. Layouts, versions and addresses on the bus stay: they are what it is for.
 */
import type { Capture, CapturedCommand } from './capture.js';
import type { NotedAnswers } from './capture-files.js';

const DEVICE = /^\/dev\/(?:kfd|dri\/[A-Za-z0-9]+)$/;
const ROOT_USER = '0';
const SOME_USER = '1000';

/** Makes a capture of noted answers. `words` (host name, user) are taken out wherever they stand. */
export function redact(
  noted: NotedAnswers,
  commands: readonly CapturedCommand[],
  words: readonly string[],
): Capture {
  const names = createStandIns();
  const text = (value: string): string => names.text(withoutWords(value, words));
  const holders = holdersOf(noted);
  const files: Record<string, string> = {};
  for (const [file, content] of Object.entries(noted.files)) {
    const kept = redactFile(file, content, { holders, names });
    if (kept !== null)
      files[file] = file.startsWith('proc/') ? withoutWords(kept, words) : text(kept);
  }
  const lists = Object.fromEntries(
    Object.entries(noted.lists)
      .filter(([directory]) => isKept(directory, holders))
      .map(([directory, list]) => [directory, redactList(directory, list, noted, holders)]),
  );
  const links = Object.fromEntries(
    Object.entries(noted.links).filter(
      ([file, target]) => !file.startsWith('proc/') || DEVICE.test(target),
    ),
  );
  const unreadable = Object.fromEntries(
    Object.entries(noted.unreadable).filter(([file]) => isKept(file, holders)),
  );
  return {
    format: 'aim-gpu-capture/1',
    files,
    unreadable,
    lists,
    links,
    access: { ...noted.access },
    commands: commands.map((command) => ({
      ...command,
      stdout: withoutProcessNames(text(command.stdout)),
      stderr: withoutProcessNames(text(command.stderr)),
    })),
  };
}

/** Processes that have a GPU open; of all others nothing is kept. */
function holdersOf(noted: NotedAnswers): ReadonlySet<string> {
  const pids = new Set<string>();
  for (const [file, target] of Object.entries(noted.links)) {
    const pid = /^proc\/(\d+)\/fd\//.exec(file)?.[1];
    if (pid !== undefined && DEVICE.test(target)) pids.add(pid);
  }
  for (const name of noted.lists['sys/class/kfd/kfd/proc'] ?? []) pids.add(name);
  return pids;
}

function isKept(file: string, holders: ReadonlySet<string>): boolean {
  const pid = /^proc\/(\d+)(?:\/|$)/.exec(file)?.[1];
  return pid === undefined || holders.has(pid);
}

function redactList(
  directory: string,
  list: readonly string[],
  noted: NotedAnswers,
  holders: ReadonlySet<string>,
): readonly string[] {
  if (directory === 'proc') return list.filter((name) => !/^\d+$/.test(name) || holders.has(name));
  if (!/^proc\/\d+\/fd$/.test(directory)) return list;
  return list.filter((name) => DEVICE.test(noted.links[`${directory}/${name}`] ?? ''));
}

function redactFile(
  file: string,
  content: string,
  context: { readonly holders: ReadonlySet<string>; readonly names: StandIns },
): string | null {
  if (!isKept(file, context.holders)) return null;
  if (/^proc\/\d+\/comm$/.test(file)) return `${context.names.process(content.trim())}\n`;
  if (/^proc\/\d+\/status$/.test(file)) {
    const uid = /^Uid:\s+(\d+)/m.exec(content)?.[1] ?? SOME_USER;
    return `Uid:\t${uid === ROOT_USER ? uid : SOME_USER}\n`;
  }
  if (file === 'proc/self/status') return keepLines(content, /^(?:Uid|Gid|Groups|CapEff):/);
  if (file === 'proc/modules')
    return keepLines(content, /^(?:amdgpu|ast|mgag200|nouveau|vfio_pci) /);
  if (file === 'proc/cpuinfo') {
    const guest = /^flags\s*:.*\shypervisor(?:\s|$)/m.test(content);
    return `flags\t\t: fpu${guest ? ' hypervisor' : ''}\n`;
  }
  // Names of containers and pods are their owners' own.
  if (file === 'proc/self/cgroup') return content.replace(/[0-9a-f]{32,64}/g, 'container');
  return file.endsWith('/unique_id') ? `${context.names.hex(content.trim())}\n` : content;
}

function keepLines(content: string, wanted: RegExp): string {
  return content
    .split('\n')
    .filter((line) => wanted.test(line))
    .map((line) => `${line}\n`)
    .join('');
}

function withoutWords(text: string, words: readonly string[]): string {
  return words
    .filter((word) => word.length > 2)
    .reduce((rest, word) => rest.replaceAll(word, 'redacted'), text);
}

/** Names of processes as the tools print them, in JSON and in text. */
function withoutProcessNames(text: string): string {
  return text
    .replace(/("name"\s*:\s*")(?!N\/A)[^"\n]*"/g, '$1process"')
    .replace(/^(\s+NAME: )(?!N\/A).*$/gm, '$1process');
}

/** Stand-ins for ids, the same for the same id in every form it is written in. */
interface StandIns {
  /** Replaces every id that a text of the kernel or of a tool has. */
  text(value: string): string;
  hex(value: string): string;
  process(name: string): string;
}

const FIRST_ID = 0x1000_0000_0000_0000n;

function createStandIns(): StandIns {
  const ids = new Map<bigint, bigint>();
  const uuids = new Map<string, string>();
  const processes = new Map<string, string>();
  const id = (value: bigint): bigint => {
    if (value === 0n) return value;
    const known = ids.get(value);
    if (known !== undefined) return known;
    const made = FIRST_ID + BigInt(ids.size + 1);
    ids.set(value, made);
    return made;
  };
  const hex = (digits: string): string => {
    const bare = digits.replace(/^0x/i, '');
    if (!/^[0-9a-f]{1,16}$/i.test(bare)) return 'redacted';
    return id(BigInt(`0x${bare}`))
      .toString(16)
      .padStart(16, '0');
  };
  const uuid = (value: string): string => {
    const key = value.toLowerCase();
    if (/^[0-]+$/.test(key)) return value;
    const made =
      uuids.get(key) ?? `00000000-0000-4000-8000-${String(uuids.size + 1).padStart(12, '0')}`;
    uuids.set(key, made);
    return made;
  };
  return {
    hex,
    process: (name) => {
      const made = processes.get(name) ?? `process-${processes.size + 1}`;
      processes.set(name, made);
      return made;
    },
    text: (value) =>
      value
        .replace(
          /^(unique_id|hive_id) (\d{1,20})$/gm,
          (_, name: string, digits: string) => `${name} ${id(BigInt(digits))}`,
        )
        .replace(/GPU-([0-9a-f]{16})\b/gi, (_, digits: string) => `GPU-${hex(digits)}`)
        .replace(/\b0x([0-9a-f]{16})\b/gi, (_, digits: string) => `0x${hex(digits)}`)
        .replace(/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/gi, uuid),
  };
}
