/**
 * Whether this host is a virtual machine. A card passed through to one is an ordinary amdgpu device, but its layout is
 * its host's: get and set are for bare metal only (amd-smi manual, docs-10.2.0).
 */
import type { FileTree } from './file-tree.js';

/** True, false, or null where the tree does not say. Reads the head of `proc/cpuinfo` only. */
export async function isVirtualMachine(tree: FileTree): Promise<boolean | null> {
  const head = await tree.readHead('proc/cpuinfo');
  if (head.kind !== 'text') return null;
  const flags = /^flags\s*:(.*)$/m.exec(head.text)?.[1];
  return flags === undefined ? null : /\shypervisor(?:\s|$)/.test(flags);
}
