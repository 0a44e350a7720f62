/**
 * Render nodes that exist, from the DRM class and from the platform devices of partitions, whose name has a dot on older
 * kernels (`amdgpu_xcp.29`) and an underscore on newer ones (`amdgpu_xcp_29`). A platform device does not say which
 * card it belongs to, and exists in SPX too: it proves a minor, never a partition.
 */
import { type FileTree, namesIn } from './file-tree.js';

const DRM = 'sys/class/drm';
const PLATFORM = 'sys/devices/platform';

/** What the host has of DRM devices. */
export interface DrmDevices {
  /** Names in the DRM class, such as `card1`. */
  readonly names: readonly string[];
  /** N of every `renderDN`; null where the tree tells none at all. */
  readonly renderMinors: ReadonlySet<number> | null;
  /** Platform devices of partitions, whichever way they are named. */
  readonly platformDevices: number;
}

/** Lists DRM devices; reads no file. */
export async function readDrmDevices(tree: FileTree): Promise<DrmDevices> {
  const [names, platform] = await Promise.all([namesIn(tree, DRM), namesIn(tree, PLATFORM)]);
  const devices = platform.filter((name) => /^amdgpu_xcp[._]\d+$/.test(name));
  const below = await Promise.all(
    devices.map((device) => namesIn(tree, `${PLATFORM}/${device}/drm`)),
  );
  const minors = [...names, ...below.flat()].flatMap((name) => {
    const minor = /^renderD(\d{1,6})$/.exec(name)?.[1];
    return minor === undefined ? [] : [Number(minor)];
  });
  return {
    names,
    renderMinors: minors.length === 0 ? null : new Set(minors),
    platformDevices: devices.length,
  };
}
