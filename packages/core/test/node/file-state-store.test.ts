import {
  appendFileSync,
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { createFileStateStore } from '../../src/node/index.js';
import { createManualClock } from '../../src/testing/index.js';
import { startProgram } from './start-program.js';
import { temporaryDirectory } from './temporary-directory.js';

const storeIn = (directory: string) => createFileStateStore({ directory });

describe('the directory', () => {
  it('is made at the first write, private, with its parents', async () => {
    const directory = join(temporaryDirectory(), 'a', 'b');
    const store = storeIn(directory);
    expect(await store.snapshot('state').read()).toBeNull();
    expect(await store.journal('steps').read()).toEqual([]);
    expect(existsSync(directory)).toBe(false);
    await store.snapshot('state').write(1);
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    expect(statSync(join(directory, 'state.json')).mode & 0o777).toBe(0o600);
  });

  it('keeps names inside itself', async () => {
    const store = storeIn(temporaryDirectory());
    for (const name of ['../x', '', 'a/b', 'A', '.hidden', 'x'.repeat(101)]) {
      expect(() => store.snapshot(name)).toThrow(/cannot name/);
      expect(() => store.journal(name)).toThrow(/cannot name/);
      await expect(store.lock(name)).rejects.toMatchObject({ code: 'ERR_STATE_NAME' });
    }
  });

  it('loses the temporary files of processes that were killed, and no others', async () => {
    const directory = temporaryDirectory();
    const dead = startProgram('hold-lock', [directory]);
    await dead.next();
    await dead.kill();
    for (const entry of [`state.json.1.${dead.child.pid}.tmp`, `state.json.9.${process.pid}.tmp`]) {
      writeFileSync(join(directory, entry), 'half');
    }
    writeFileSync(join(directory, 'state.json.1.1.tmp'), 'of pid 1, which always runs');
    writeFileSync(join(directory, 'notes.tmp'), 'somebody else’s');
    await storeIn(directory).snapshot('state').write('new');
    const left = readdirSync(directory).filter((entry) => !entry.includes('.lock.'));
    expect(left.sort()).toEqual(['notes.tmp', 'state.json', 'state.json.1.1.tmp']);
  });
});

describe('snapshot', () => {
  it('gives back what another store of the directory wrote', async () => {
    const directory = temporaryDirectory();
    await storeIn(directory)
      .snapshot('state')
      .write({ text: 'zwölf\n', list: [1, null] });
    expect(await storeIn(directory).snapshot('state').read()).toEqual({
      text: 'zwölf\n',
      list: [1, null],
    });
  });

  it('orders writes that were not awaited', async () => {
    const snapshot = storeIn(temporaryDirectory()).snapshot<number>('state');
    await Promise.all([1, 2, 3].map((value) => snapshot.write(value)));
    expect(await snapshot.read()).toBe(3);
  });

  it('has another version after every write, whoever wrote, and none within moments of one', async () => {
    const directory = temporaryDirectory();
    const later = createManualClock({ epochMs: Date.now() + 3_600_000 });
    const snapshot = createFileStateStore({ directory, clock: later }).snapshot('state');
    const versions = [await snapshot.version?.()];
    for (const value of ['a', 'b', 'a']) {
      await storeIn(directory).snapshot('state').write(value);
      versions.push(await snapshot.version?.());
    }
    expect(new Set(versions).size).toBe(4);
    expect(await snapshot.version?.()).toBe(versions.at(-1));
    await storeIn(directory).snapshot('state').write('c');
    expect(await storeIn(directory).snapshot('state').version?.()).toBeNull();
  });

  it('reports every kind of damage instead of believing it', async () => {
    const directory = temporaryDirectory();
    const snapshot = storeIn(directory).snapshot('state');
    await snapshot.write({ mode: 'CPX' });
    const file = join(directory, 'state.json');
    const good = readFileSync(file, 'utf8');
    const damaged = ['', '\n', good.slice(0, -1), good.replace('CPX', 'SPX'), good.slice(5), '{}'];
    for (const content of damaged) {
      writeFileSync(file, content);
      await expect(snapshot.read()).rejects.toMatchObject({
        code: 'ERR_STATE_CORRUPT',
        kind: 'internal',
        details: { path: file },
      });
    }
    await snapshot.write({ mode: 'SPX' });
    expect(await snapshot.read()).toEqual({ mode: 'SPX' });
  });

  it('keeps the old value when the new one cannot be written', async () => {
    const directory = temporaryDirectory();
    const snapshot = storeIn(directory).snapshot<unknown>('state');
    await snapshot.write('old');
    await expect(snapshot.write(undefined)).rejects.toMatchObject({ code: 'ERR_INVARIANT' });
    await expect(snapshot.write(1n)).rejects.toThrow(TypeError);
    expect(await snapshot.read()).toBe('old');
    expect(readdirSync(directory)).toEqual(['state.json']);
  });
});

describe('journal', () => {
  it('keeps records in the order of their appends, across stores', async () => {
    const directory = temporaryDirectory();
    const journal = storeIn(directory).journal<number>('steps');
    await Promise.all([0, 1, 2].map((step) => journal.append(step)));
    const reopened = storeIn(directory).journal<number>('steps');
    await reopened.append(3);
    await journal.append(4);
    expect(await reopened.read()).toEqual([0, 1, 2, 3, 4]);
    const lines = readFileSync(join(directory, 'steps.jsonl'), 'utf8').trimEnd().split('\n');
    expect(lines.map((line) => JSON.parse(line).record)).toEqual([0, 1, 2, 3, 4]);
  });

  it('compacts atomically and goes on from there', async () => {
    const directory = temporaryDirectory();
    const journal = storeIn(directory).journal<string>('steps');
    await journal.append('old');
    await journal.compact(['kept', 'kept too']);
    await journal.append('new');
    expect(await journal.read()).toEqual(['kept', 'kept too', 'new']);
    await journal.compact([]);
    expect(await journal.read()).toEqual([]);
  });

  it('drops a tail torn at any byte, and appends after what was whole', async () => {
    const directory = temporaryDirectory();
    const file = join(directory, 'steps.jsonl');
    const journal = storeIn(directory).journal<string>('steps');
    await journal.append('first');
    const whole = statSync(file).size;
    await journal.append('second');
    const content = readFileSync(file);
    for (let cut = whole; cut < content.length; cut += 1) {
      writeFileSync(file, content.subarray(0, cut));
      const reopened = storeIn(directory).journal<string>('steps');
      expect(await reopened.read()).toEqual(['first']);
      await reopened.append('third');
      expect(await storeIn(directory).journal('steps').read()).toEqual(['first', 'third']);
    }
  });

  it('drops a tail of zeros, which blocks that never reached the disk read as', async () => {
    const directory = temporaryDirectory();
    const file = join(directory, 'steps.jsonl');
    const journal = storeIn(directory).journal<string>('steps');
    await journal.append('first');
    const whole = readFileSync(file);
    for (const tail of ['\0'.repeat(40), `${'\0'.repeat(40)}"}\n`]) {
      writeFileSync(file, Buffer.concat([whole, Buffer.from(tail)]));
      expect(await journal.read()).toEqual(['first']);
      await journal.append('second');
      expect(await journal.read()).toEqual(['first', 'second']);
    }
  });

  it('reports a damaged record, in the middle or last, with its place', async () => {
    const directory = temporaryDirectory();
    const file = join(directory, 'steps.jsonl');
    const journal = storeIn(directory).journal<string>('steps');
    for (const step of ['one', 'two', 'three']) await journal.append(step);
    const good = readFileSync(file, 'utf8');
    const scenarios = [
      { content: good.replace('one', 'eno'), line: 1 },
      { content: good.replace('two', 't\0o'), line: 2 },
      { content: good.replace('three', 'trhee'), line: 3 },
      { content: `${good}\n`, line: 4 },
    ];
    for (const { content, line } of scenarios) {
      writeFileSync(file, content);
      const reopened = storeIn(directory).journal('steps');
      const corrupt = { code: 'ERR_STATE_CORRUPT', details: { path: file, line } };
      await expect(reopened.read()).rejects.toMatchObject(corrupt);
      await expect(reopened.append('more')).rejects.toMatchObject(corrupt);
      expect(readFileSync(file, 'utf8')).toBe(content);
    }
  });

  it('holds every record that was promised when the process is killed', async () => {
    const directory = temporaryDirectory();
    const program = startProgram('append-forever', [directory]);
    let promised = -1;
    while (promised < 20) promised = Number(await program.next());
    await program.kill();
    const records = await storeIn(directory).journal<{ step: number }>('steps').read();
    expect(records.length).toBeGreaterThan(promised);
    expect(records.map((record) => record.step)).toEqual(records.map((_, index) => index));
  });
});

describe('failures of the file system', () => {
  it.runIf(existsSync('/dev/full'))('say what to do on a full disk', async () => {
    const directory = temporaryDirectory();
    symlinkSync('/dev/full', join(directory, 'steps.jsonl'));
    await expect(storeIn(directory).journal('steps').append(1)).rejects.toMatchObject({
      code: 'ERR_STATE_IO',
      kind: 'unavailable',
      details: { errno: 'ENOSPC', path: join(directory, 'steps.jsonl') },
      hint: expect.stringContaining('disk is full'),
    });
  });

  it('say what to do when part of the path is a file, and recover when it is gone', async () => {
    const parent = temporaryDirectory();
    writeFileSync(join(parent, 'file'), '');
    const store = storeIn(join(parent, 'file', 'state'));
    const refused = { code: 'ERR_STATE_IO', details: { errno: 'ENOTDIR' } };
    await expect(store.snapshot('state').write(1)).rejects.toMatchObject(refused);
    await expect(store.lock('agent')).rejects.toMatchObject(refused);
    await expect(store.snapshot('state').read()).rejects.toMatchObject(refused);

    rmSync(join(parent, 'file'));
    await store.snapshot('state').write(1);
    expect(await store.snapshot('state').read()).toBe(1);
  });

  it.runIf(process.getuid?.() !== 0)('say who may not write', async () => {
    const directory = temporaryDirectory();
    chmodSync(directory, 0o500);
    await expect(storeIn(directory).snapshot('state').write(1)).rejects.toMatchObject({
      code: 'ERR_STATE_IO',
      kind: 'denied',
    });
  });

  it('are told from a second writer without the lock', async () => {
    const directory = temporaryDirectory();
    const [one, other] = [storeIn(directory), storeIn(directory)].map((store) =>
      store.journal<number>('steps'),
    );
    const outcomes = await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? one : other)?.append(index)),
    );
    const kept = outcomes.flatMap((outcome, index) =>
      outcome.status === 'fulfilled' ? [index] : [],
    );
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason.code).toBe('ERR_STATE_CONFLICT');
    }
    expect(await one?.read()).toEqual(expect.arrayContaining(kept));
  });
});

describe('lock', () => {
  it('is held by one, told apart by name, and free again after its release', async () => {
    const directory = temporaryDirectory();
    const clock = createManualClock({ epochMs: 1234 });
    const store = createFileStateStore({ directory, clock });
    const lease = await store.lock('agent');
    await (await store.lock('machine')).release();
    await expect(storeIn(directory).lock('agent')).rejects.toMatchObject({
      code: 'ERR_STATE_LOCKED',
      kind: 'conflict',
      details: { pid: process.pid, sinceEpochMs: 1234 },
      hint: expect.stringContaining(String(process.pid)),
    });
    await lease.release();
    await lease.release();
    await (await storeIn(directory).lock('agent')).release();
  });

  it('leaves one file behind, however often it was taken', async () => {
    const directory = temporaryDirectory();
    for (let round = 0; round < 5; round += 1) {
      await (await storeIn(directory).lock('agent')).release();
    }
    expect(readdirSync(directory)).toEqual(['agent.lock.5']);
    expect(statSync(join(directory, 'agent.lock.5')).size).toBe(0);
  });

  it('goes to one of many takers in one process', async () => {
    const directory = temporaryDirectory();
    const outcomes = await Promise.allSettled(
      Array.from({ length: 16 }, () => storeIn(directory).lock('agent')),
    );
    expect(outcomes.filter((outcome) => outcome.status === 'fulfilled')).toHaveLength(1);
    for (const outcome of outcomes) {
      if (outcome.status === 'rejected') expect(outcome.reason.code).toBe('ERR_STATE_LOCKED');
      else await outcome.value.release();
    }
  });

  it('is refused to an aborted caller', async () => {
    const directory = join(temporaryDirectory(), 'state');
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(storeIn(directory).lock('agent', { signal })).rejects.toThrow('enough');
    expect(existsSync(directory)).toBe(false);
  });

  it('does not pass between processes while the holder lives, and does when it is killed', async () => {
    const directory = temporaryDirectory();
    const holder = startProgram('hold-lock', [directory]);
    expect(await holder.next()).toBe('held');
    await expect(storeIn(directory).lock('agent')).rejects.toMatchObject({
      code: 'ERR_STATE_LOCKED',
      details: { pid: holder.child.pid },
    });
    await holder.kill();
    await (await storeIn(directory).lock('agent')).release();
  });

  it.each(['release', 'exit'])('is free after the holder’s %s', async (word) => {
    const directory = temporaryDirectory();
    const holder = startProgram('hold-lock', [directory]);
    expect(await holder.next()).toBe('held');
    holder.tell(word);
    await new Promise((resolve) => holder.child.once('exit', resolve));
    expect(statSync(join(directory, 'agent.lock.1')).size).toBe(0);
    await (await storeIn(directory).lock('agent')).release();
  });

  it('goes to exactly one of several processes that find a dead holder', async () => {
    const directory = temporaryDirectory();
    const dead = startProgram('hold-lock', [directory]);
    await dead.next();
    await dead.kill();
    const racers = Array.from({ length: 4 }, () => startProgram('hold-lock', [directory]));
    const words = await Promise.all(racers.map((racer) => racer.next()));
    expect(words.sort()).toEqual([
      'ERR_STATE_LOCKED',
      'ERR_STATE_LOCKED',
      'ERR_STATE_LOCKED',
      'held',
    ]);
  }, 30_000);

  it('never has two holders while processes fight for it', async () => {
    const directory = temporaryDirectory();
    const racers = Array.from({ length: 3 }, () =>
      startProgram('race-for-lock', [directory, '60']),
    );
    expect(await Promise.all(racers.map((racer) => racer.next()))).toEqual([
      'done',
      'done',
      'done',
    ]);
  }, 60_000);
});

describe('a lock file', () => {
  const ownRecord = async (directory: string): Promise<Record<string, unknown>> => {
    const lease = await storeIn(directory).lock('agent');
    const record = JSON.parse(readFileSync(join(directory, 'agent.lock.1'), 'utf8'));
    await lease.release();
    return record;
  };

  it.runIf(existsSync('/proc/self/stat'))('is believed only as far as it is true', async () => {
    const record = await ownRecord(temporaryDirectory());
    expect(record).toMatchObject({ pid: process.pid, startTicks: expect.stringMatching(/^\d+$/) });
    const scenarios = [
      { name: 'the same process', change: {}, free: false },
      { name: 'a recycled pid', change: { startTicks: '1' }, free: true },
      { name: 'a boot before this one', change: { bootId: 'another' }, free: true },
      { name: 'a pid nobody has', change: { pid: 2 ** 22 + 1 }, free: true },
      { name: 'another container', change: { pidNamespace: 'pid:[1]' }, free: false },
      { name: 'a host without /proc', change: { startTicks: null, bootId: null }, free: false },
    ];
    for (const { name, change, free } of scenarios) {
      const directory = temporaryDirectory();
      writeFileSync(join(directory, 'agent.lock.7'), JSON.stringify({ ...record, ...change }));
      const outcome = await storeIn(directory)
        .lock('agent')
        .then((lease) => lease.release().then(() => true))
        .catch((error) => error.code);
      expect([name, outcome]).toEqual([name, free ? true : 'ERR_STATE_LOCKED']);
    }
  });

  it('is free when it says nothing, as after a power cut', async () => {
    for (const content of ['', '{"pid":', 'null', '{}']) {
      const directory = temporaryDirectory();
      writeFileSync(join(directory, 'agent.lock.3'), content);
      const lease = await storeIn(directory).lock('agent');
      expect(readdirSync(directory)).toEqual(['agent.lock.4']);
      await lease.release();
    }
  });

  it('removed by hand costs the next holder nothing when the first one lets go', async () => {
    const directory = temporaryDirectory();
    const first = await storeIn(directory).lock('agent');
    rmSync(join(directory, 'agent.lock.1'));
    const second = await storeIn(directory).lock('agent');
    await first.release();
    expect(statSync(join(directory, 'agent.lock.1')).size).toBeGreaterThan(0);
    await second.release();
  });

  it('that cannot be read is a coded error', async () => {
    const directory = temporaryDirectory();
    mkdirSync(join(directory, 'agent.lock.1'));
    await expect(storeIn(directory).lock('agent')).rejects.toMatchObject({
      code: 'ERR_STATE_IO',
      details: { errno: 'EISDIR' },
    });
    expect(readdirSync(directory)).toEqual(['agent.lock.1']);
  });
});

describe('a journal that was cut by hand', () => {
  it('is read again before the next append', async () => {
    const directory = temporaryDirectory();
    const journal = storeIn(directory).journal<string>('steps');
    await journal.append('one');
    await journal.append('two');
    const file = join(directory, 'steps.jsonl');
    truncateSync(file, statSync(file).size - 3);
    await journal.append('three');
    expect(await journal.read()).toEqual(['one', 'three']);
    appendFileSync(file, 'torn');
    await journal.append('four');
    expect(await journal.read()).toEqual(['one', 'three', 'four']);
  });
});
