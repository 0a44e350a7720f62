/**
 * What a user without rights sees. Root reads everything, so these run as nobody whoever runs the gate.
 */
import { chmodSync } from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { driverDirectory, writeFullNode } from '../support/full-node.js';
import { createTree, type TestTree } from '../support/trees.js';
import { asNobody } from '../support/unprivileged.js';

const NODES = 'sys/class/kfd/kfd/topology/nodes';

let tree: TestTree;
beforeEach(() => {
  tree = createTree();
  chmodSync(tree.root, 0o755);
  writeFullNode(tree);
});
afterEach(() => tree.remove());

const shut = (file: string, mode = 0): void => chmodSync(path.join(tree.root, file), mode);
const DRIVER = (): string =>
  `const driver = rocm.createRocmDriver({ node: core.nodeName('n'), clock: core.systemClock, root: ${JSON.stringify(tree.root)} });`;

interface Seen {
  readonly cards: number;
  readonly partitions: number;
  readonly problems: readonly { readonly code: string; readonly where: string }[];
}

const discover = (): Seen =>
  asNobody(`${DRIVER()}
    const { cards, problems } = await driver.discover();
    return {
      cards: cards.length,
      partitions: cards.reduce((sum, card) => sum + card.partitions.length, 0),
      problems: problems.map(({ code, where }) => ({ code, where })),
    };`) as Seen;

const failure = (call: string): unknown =>
  asNobody(`${DRIVER()}
    const { cards, generation } = await driver.discover();
    try { await ${call}; return 'done'; } catch (error) { return { code: error.code, kind: error.kind, file: error.details.file }; }`);

describe('files and directories that may not be read', () => {
  it('are problems with code and place, and the rest is read', () => {
    shut(`${NODES}/2/properties`);
    shut(`${NODES}/3/mem_banks/0/properties`);
    shut(`${driverDirectory(1)}/current_memory_partition`);
    const seen = discover();
    expect(seen).toMatchObject({ cards: 8, partitions: 63 });
    expect(seen.problems.filter(({ code }) => code === 'PERMISSION_DENIED')).toEqual([
      { code: 'PERMISSION_DENIED', where: `${NODES}/2/properties` },
      { code: 'PERMISSION_DENIED', where: `${NODES}/3/mem_banks/0/properties` },
      { code: 'PERMISSION_DENIED', where: `${driverDirectory(1)}/current_memory_partition` },
    ]);
  });

  it('that are directories are told once', () => {
    shut(NODES);
    shut(path.dirname(driverDirectory(0)));
    expect(discover()).toEqual({
      cards: 0,
      partitions: 0,
      problems: [
        { code: 'PERMISSION_DENIED', where: NODES },
        { code: 'PERMISSION_DENIED', where: path.dirname(driverDirectory(0)) },
      ],
    });
    expect(failure('driver.assertUsable()')).toMatchObject({
      code: 'ERR_DRIVER_PERMISSION',
      kind: 'denied',
      file: NODES,
    });
  });
});

describe('device files', () => {
  it.each(['dev/kfd', 'dev/dri/renderD130'])(
    '%s that may not be opened is told before engines die of it',
    (file) => {
      for (const name of ['dev/kfd', 'dev/dri/renderD128', 'dev/dri/renderD130']) {
        tree.write(name, '');
        shut(name, name === file ? 0o660 : 0o666);
      }
      const root = JSON.stringify(tree.root);
      const seen = asNobody(`${DRIVER()}
        const commands = rocm.createHostCommands({ clock: core.systemClock });
        const files = rocm.createHostFiles(${root});
        const { findings } = await rocm.examineHost({ node: core.nodeName('n'), root: ${root}, files, commands });
        const refusal = await driver.assertUsable().catch((error) => error);
        return {
          refusal: [refusal.code, refusal.kind, refusal.details.file],
          errors: findings.filter((finding) => finding.level === 'error'),
        };`);
      expect(seen).toMatchObject({
        refusal: ['ERR_DRIVER_PERMISSION', 'denied', `/${file}`],
        errors: [
          {
            code: 'DEVICE_FILES_DENIED',
            kind: 'denied',
            evidence: `/${file} has mode 0660 and group ${process.getgid?.()}`,
          },
        ],
      });
    },
  );

  it('that may be opened, and a tree without any, are no reason to complain', () => {
    expect(failure('driver.assertUsable()')).toBe('done');
    tree.write('dev/kfd', '');
    shut('dev/kfd', 0o666);
    expect(failure('driver.assertUsable()')).toBe('done');
  });
});

describe('changes', () => {
  it('of files that only root may write are denied and change nothing', () => {
    const file = `${driverDirectory(0)}/current_compute_partition`;
    shut(file, 0o644);
    const call = "driver.setComputeMode(cards[0].id, 'QPX', { expect: generation })";
    expect(failure(call)).toEqual({ code: 'ERR_DRIVER_PERMISSION', kind: 'denied', file });
    expect(discover()).toMatchObject({ cards: 8, partitions: 64 });
  });
});

describe('programs', () => {
  it('that may not be executed are a problem', () => {
    tree.write('usr/bin/amd-smi', '#!/bin/sh\n');
    shut('usr/bin/amd-smi', 0o644);
    const codes = asNobody(`
      const commands = rocm.createHostCommands({ clock: core.systemClock });
      const files = rocm.createHostFiles(${JSON.stringify(tree.root)});
      const { tools } = await rocm.examineHost({ node: core.nodeName('n'), root: ${JSON.stringify(tree.root)}, files, commands });
      return tools.problems.map((problem) => problem.code);`);
    expect(codes).toEqual(['TOOL_NOT_EXECUTABLE']);
  });
});
