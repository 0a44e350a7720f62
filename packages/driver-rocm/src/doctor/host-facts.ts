/**
 * Facts of a host that decide whether its GPUs can be seen and changed: driver, kernel, device files and who may use
 * them, containers and their limits. Reads only; judges nothing. What a tree does not say is null.
 */
import { type FileAccess, type FileTree, linkName, namesIn, textOf } from '../file-tree.js';

/** Facts of one host. */
export interface HostFacts {
  /** Whether amdgpu is loaded (or built in). */
  readonly amdgpuLoaded: boolean;
  /** Version of the out-of-tree driver; the kernel's own has none. */
  readonly amdgpuVersion: string | null;
  readonly kernelRelease: string | null;
  /** `amdgpu.user_partt_mode`, which forces a compute mode at load; null where unset or unknown. */
  readonly forcedMode: string | null;
  readonly kfdPresent: boolean;
  /** Device files that engines need, by path. */
  readonly devices: ReadonlyMap<string, FileAccess>;
  /** AMD accelerators and displays on the PCI bus, with the driver that has them. */
  readonly pciDevices: readonly PciDevice[];
  /** Display drivers of other vendors that have a DRM device. */
  readonly otherDisplays: readonly { readonly name: string; readonly vendor: string }[];
  readonly user: ProcessUser | null;
  readonly inContainer: boolean;
  /** 2 where the unified hierarchy is mounted, 1 where only the old one is, null where neither. */
  readonly cgroupVersion: 1 | 2 | null;
  /** Whether the cgroup controller for device memory (Linux 6.14) is there. */
  readonly hasDeviceMemoryController: boolean;
  readonly limits: HostLimits;
  readonly hasModules: boolean;
}

/** A PCI device of AMD. */
export interface PciDevice {
  readonly address: string;
  readonly deviceId: string | null;
  readonly driver: string | null;
}

/** The user this process runs as. */
export interface ProcessUser {
  readonly uid: number;
  readonly groups: readonly number[];
  readonly mayLoadModules: boolean;
}

/** Limits that stop engines; null is none, or not told. */
export interface HostLimits {
  readonly openFiles: number | null;
  readonly memoryBytes: number | null;
  readonly processes: number | null;
  readonly cpus: number | null;
}

const PCI = 'sys/bus/pci/devices';
const DRM = 'sys/class/drm';
const CGROUP = 'sys/fs/cgroup';
const AMD_VENDOR = '0x1002';
/** Processing accelerators and displays (PCI class codes). */
const GPU_CLASS = /^0x(?:03|12)/;
const CAP_SYS_MODULE = 16n;
const MAX_PCI_DEVICES = 4096;

/** Reads the facts. */
export async function readHostFacts(tree: FileTree): Promise<HostFacts> {
  const drmNames = await namesIn(tree, DRM);
  const [
    module,
    version,
    release,
    forced,
    kfd,
    pciDevices,
    otherDisplays,
    user,
    container,
    cgroup,
    limits,
    modules,
    dri,
  ] = await Promise.all([
    tree.list('sys/module/amdgpu'),
    textOf(tree, 'sys/module/amdgpu/version'),
    textOf(tree, 'proc/sys/kernel/osrelease'),
    textOf(tree, 'sys/module/amdgpu/parameters/user_partt_mode'),
    tree.list('sys/class/kfd/kfd'),
    readPciDevices(tree),
    readOtherDisplays(tree, drmNames),
    readUser(tree),
    isContainer(tree),
    readCgroup(tree),
    readLimits(tree),
    tree.list('lib/modules'),
    namesIn(tree, 'dev/dri'),
  ]);
  const files = [
    'dev/kfd',
    ...dri.filter((name) => name.startsWith('renderD')).map((name) => `dev/dri/${name}`),
  ];
  const access = await Promise.all(files.map((file) => tree.access(file)));
  return {
    amdgpuLoaded: module.kind !== 'absent',
    amdgpuVersion: version,
    kernelRelease: release,
    forcedMode: forced === null || forced === '-1' ? null : forced,
    kfdPresent: kfd.kind !== 'absent',
    devices: new Map(
      files.flatMap((file, index): [string, FileAccess][] => {
        const found = access[index];
        return found == null ? [] : [[file, found]];
      }),
    ),
    pciDevices,
    otherDisplays,
    user,
    inContainer: container,
    ...cgroup,
    limits,
    hasModules: modules.kind === 'names',
  };
}

async function readPciDevices(tree: FileTree): Promise<readonly PciDevice[]> {
  const names = (await namesIn(tree, PCI)).slice(0, MAX_PCI_DEVICES);
  const found = await Promise.all(
    names.map(async (address): Promise<PciDevice | null> => {
      const directory = `${PCI}/${address}`;
      if ((await textOf(tree, `${directory}/vendor`)) !== AMD_VENDOR) return null;
      const kind = await textOf(tree, `${directory}/class`);
      if (kind === null || !GPU_CLASS.test(kind)) return null;
      const [device, driver] = await Promise.all([
        textOf(tree, `${directory}/device`),
        linkName(tree, `${directory}/driver`),
      ]);
      return { address, deviceId: device?.replace(/^0x/, '') ?? null, driver };
    }),
  );
  return found.filter((device) => device !== null);
}

async function readOtherDisplays(
  tree: FileTree,
  names: readonly string[],
): Promise<HostFacts['otherDisplays']> {
  const cards = names.filter((name) => /^card\d+$/.test(name));
  const vendors = await Promise.all(
    cards.map((name) => textOf(tree, `${DRM}/${name}/device/vendor`)),
  );
  return cards.flatMap((name, index) => {
    const vendor = vendors[index];
    return vendor == null || vendor === AMD_VENDOR ? [] : [{ name, vendor }];
  });
}

async function readUser(tree: FileTree): Promise<ProcessUser | null> {
  const status = await textOf(tree, 'proc/self/status');
  const uid = /^Uid:\s+\d+\s+(\d+)/m.exec(status ?? '')?.[1];
  if (status === null || uid === undefined) return null;
  const gid = /^Gid:\s+\d+\s+(\d+)/m.exec(status)?.[1];
  const groups = /^Groups:\s*([\d ]*)$/m.exec(status)?.[1]?.split(' ') ?? [];
  const capabilities = /^CapEff:\s+([0-9a-f]{1,16})$/m.exec(status)?.[1] ?? '0';
  return {
    uid: Number(uid),
    groups: [gid ?? '', ...groups].filter((group) => group !== '').map(Number),
    mayLoadModules: (BigInt(`0x${capabilities}`) >> CAP_SYS_MODULE) % 2n === 1n,
  };
}

/** By the marks that Docker, Podman and Kubernetes leave. */
async function isContainer(tree: FileTree): Promise<boolean> {
  const [docker, podman, cgroup] = await Promise.all([
    tree.access('.dockerenv'),
    tree.access('run/.containerenv'),
    textOf(tree, 'proc/self/cgroup'),
  ]);
  return (
    docker !== null || podman !== null || /docker|kubepods|containerd|libpod/.test(cgroup ?? '')
  );
}

async function readCgroup(
  tree: FileTree,
): Promise<Pick<HostFacts, 'cgroupVersion' | 'hasDeviceMemoryController'>> {
  const controllers = await textOf(tree, `${CGROUP}/cgroup.controllers`);
  if (controllers !== null)
    return {
      cgroupVersion: 2,
      hasDeviceMemoryController: controllers.split(/\s+/).includes('dmem'),
    };
  const old = (await namesIn(tree, CGROUP)).length > 0;
  return { cgroupVersion: old ? 1 : null, hasDeviceMemoryController: false };
}

async function readLimits(tree: FileTree): Promise<HostLimits> {
  const [own, memory, processes, cpu] = await Promise.all([
    textOf(tree, 'proc/self/limits'),
    textOf(tree, `${CGROUP}/memory.max`),
    textOf(tree, `${CGROUP}/pids.max`),
    textOf(tree, `${CGROUP}/cpu.max`),
  ]);
  const quota = /^(\d+) (\d+)$/.exec(cpu ?? '');
  return {
    openFiles: toNumber(/^Max open files\s+(\d+)/m.exec(own ?? '')?.[1]),
    memoryBytes: toNumber(memory),
    processes: toNumber(processes),
    cpus: quota === null ? null : Number(quota[1]) / Number(quota[2]),
  };
}

function toNumber(text: string | null | undefined): number | null {
  return text == null || !/^\d{1,19}$/.test(text) ? null : Number(text);
}
