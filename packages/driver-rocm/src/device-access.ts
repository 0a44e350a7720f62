/**
 * Whether this process may use the GPUs' device files. Engines open them; that they may not is better said before a
 * plan is made than by an engine that dies.
 */
import { AimError, type Inventory } from '@aim-gpu/core';
import { type FileTree, namesIn } from './file-tree.js';

/**
 * Throws `ERR_DRIVER_PERMISSION` (denied) when a device file of the inventory's partitions is there and may not be
 * opened, or when nothing can be seen because the kernel's files may not be read; `ERR_DEVICE_UNKNOWN` (missing) when
 * there is no card. Absent files are not judged: a recorded tree has none.
 */
export async function assertDeviceAccess(tree: FileTree, inventory: Inventory): Promise<void> {
  const unseen = inventory.problems.find((problem) => problem.code === 'PERMISSION_DENIED');
  if (inventory.cards.length === 0 && unseen !== undefined) {
    throw new AimError({
      code: 'ERR_DRIVER_PERMISSION',
      kind: 'denied',
      message: `this user may not see the GPUs: ${unseen.message} (${unseen.where})`,
      hint: 'run it as root; `aim-gpu doctor` tells more',
      details: { file: unseen.where },
    });
  }
  if (inventory.cards.length === 0) {
    throw new AimError({
      code: 'ERR_DEVICE_UNKNOWN',
      kind: 'missing',
      message: 'there is no GPU that this driver can see',
      hint: '`aim-gpu doctor` tells why; with `driver: simulated` a fleet file needs no GPU',
      details: { problems: inventory.problems },
    });
  }
  const minors = new Set(
    inventory.cards.flatMap((card) => card.partitions.map((entry) => entry.renderMinor)),
  );
  const nodes = (await namesIn(tree, 'dev/dri')).filter((name) =>
    [...minors].some((minor) => name === `renderD${minor}`),
  );
  for (const file of ['dev/kfd', ...nodes.map((name) => `dev/dri/${name}`)]) {
    const access = await tree.access(file);
    if (access === null || access.usable) continue;
    throw new AimError({
      code: 'ERR_DRIVER_PERMISSION',
      kind: 'denied',
      message: `this user may not open /${file}, which engines need (mode 0${(access.mode % 0o1000).toString(8)}, group ${access.gid})`,
      hint: `add the user to group ${access.gid} (mostly render and video) and log in anew`,
      details: { file: `/${file}`, mode: access.mode % 0o1000, uid: access.uid, gid: access.gid },
    });
  }
}
