/**
 * The rules of `doctor` about the host itself: driver, kernel, device files, containers, limits. Pure; figures carry
 * their sources.
 */
import type { Finding, FindingLevel } from './findings.js';
import type { HostFacts } from './host-facts.js';

/** Least versions for partitioning an MI300X (AMD partitioning guide, 2025-09, for CPX/NPS4). */
const LEAST_KERNEL = [5, 15];
const LEAST_AMDGPU = [6, 12, 12];
/** amd-smi ran out of 1024 open files on 64 partitions (AMD partitioning guide, a sample of its output). */
const ENOUGH_OPEN_FILES = 4096;

type Rule = (facts: HostFacts, cards: number) => Finding | readonly Finding[] | null;

const RULES: readonly Rule[] = [
  (facts, cards) => (cards > 0 ? null : noCard(facts)),
  (facts) => {
    const denied = [...facts.devices].filter(([, access]) => !access.usable);
    if (denied.length === 0) return null;
    const [file, access] = denied[0] ?? ['', undefined];
    const groups = [...new Set(denied.map(([, entry]) => entry.gid))].join(', ');
    const user =
      facts.user === null
        ? 'this user'
        : `user ${facts.user.uid} in groups ${facts.user.groups.join(' ')}`;
    return {
      code: 'DEVICE_FILES_DENIED',
      level: 'error',
      kind: 'denied',
      message: `${user} may not use ${denied.length} of ${facts.devices.size} device files of the GPUs`,
      evidence: `/${file} has mode ${toOctal(access?.mode)} and group ${access?.gid ?? '?'}`,
      fix: `add the user to the group of the device files (${groups}; mostly render and video): \`usermod -aG render,video USER\`, then log in anew`,
    };
  },
  (facts, cards) =>
    cards > 0 && facts.devices.size > 0 && !facts.devices.has('dev/kfd')
      ? finding('KFD_DEVICE_ABSENT', 'error', {
          kind: 'missing',
          message: 'there is no /dev/kfd: no engine can use a GPU',
          evidence: 'dev/kfd is absent while render nodes are there',
          fix: facts.inContainer
            ? 'start the container with --device=/dev/kfd'
            : 'load amdgpu with its compute driver (CONFIG_HSA_AMD)',
        })
      : null,
  (facts) =>
    facts.kernelRelease !== null && isOlder(facts.kernelRelease, LEAST_KERNEL)
      ? finding('KERNEL_OLD', 'warning', {
          message: `kernel ${facts.kernelRelease} is older than ${LEAST_KERNEL.join('.')}, from which on partitioning works`,
          evidence: 'proc/sys/kernel/osrelease',
          fix: 'install a newer kernel',
        })
      : null,
  (facts) =>
    facts.amdgpuVersion !== null && isOlder(facts.amdgpuVersion, LEAST_AMDGPU)
      ? finding('AMDGPU_OLD', 'warning', {
          message: `amdgpu ${facts.amdgpuVersion} is older than ${LEAST_AMDGPU.join('.')}, from which on CPX/NPS4 works`,
          evidence: 'sys/module/amdgpu/version',
          fix: 'install amdgpu-dkms of ROCm 6.4 or newer',
        })
      : null,
  (facts) =>
    facts.forcedMode === null
      ? null
      : finding('MODE_FORCED', 'note', {
          message: `amdgpu is told at load to take compute mode ${facts.forcedMode}: every reload comes back to it`,
          evidence: 'sys/module/amdgpu/parameters/user_partt_mode',
          fix: 'take amdgpu.user_partt_mode out of the module options, unless it is meant',
        }),
  (facts, cards) =>
    facts.otherDisplays.map((display) =>
      finding('MINOR_TAKEN', cards >= 8 ? 'warning' : 'note', {
        message: `${display.name} of vendor ${display.vendor} takes one of the 64 DRM minors: 8 cards in CPX need them all`,
        evidence: `sys/class/drm/${display.name}/device/vendor`,
        fix: 'unload its driver (`modprobe -r ast` for a management controller), then reload amdgpu',
      }),
    ),
  (facts) =>
    facts.inContainer && facts.user !== null && !(facts.user.mayLoadModules && facts.hasModules)
      ? finding('CONTAINER_CANNOT_RELOAD', 'note', {
          message:
            'a container without CAP_SYS_MODULE and /lib/modules cannot reload the driver: no change of memory mode',
          evidence: `CapEff in proc/self/status, lib/modules ${facts.hasModules ? 'present' : 'absent'}`,
          fix: 'run it on the host, or add --cap-add=SYS_MODULE and -v /lib/modules:/lib/modules',
        })
      : null,
  (facts) => limitNote(facts),
  (facts) =>
    facts.cgroupVersion === 1
      ? finding('CGROUP_V1', 'note', {
          message: 'only cgroup v1 is mounted: device memory cannot be limited by it',
          evidence: 'sys/fs/cgroup/cgroup.controllers is absent',
          fix: 'boot with systemd.unified_cgroup_hierarchy=1',
        })
      : null,
  (facts) =>
    facts.limits.openFiles !== null && facts.limits.openFiles < ENOUGH_OPEN_FILES
      ? finding('FEW_OPEN_FILES', 'warning', {
          message: `${facts.limits.openFiles} open files are few: amd-smi has run out of them on 64 partitions`,
          evidence: 'Max open files in proc/self/limits',
          fix: `raise it: \`ulimit -n ${ENOUGH_OPEN_FILES}\``,
        })
      : null,
];

/** Findings about the host, in the order of the rules. */
export function judgeHost(facts: HostFacts, cards: number): readonly Finding[] {
  return RULES.flatMap((rule) => rule(facts, cards) ?? []);
}

/** Why there is no card, by what the PCI bus and the driver show. */
function noCard(facts: HostFacts): Finding {
  const other = facts.pciDevices.find(
    (device) => device.driver !== null && device.driver !== 'amdgpu',
  );
  const bare = facts.pciDevices.find((device) => device.driver === null);
  if (other !== undefined) {
    return finding('CARD_OF_OTHER_DRIVER', 'error', {
      kind: 'missing',
      message: `${other.address} is an AMD GPU that driver ${other.driver} has`,
      evidence: `sys/bus/pci/devices/${other.address}/driver`,
      fix: `give it back to amdgpu: echo its address to unbind of ${other.driver}, then \`modprobe amdgpu\``,
    });
  }
  if (bare !== undefined) {
    return finding('DRIVER_NOT_LOADED', 'error', {
      kind: 'missing',
      message: `${bare.address} is an AMD GPU without a driver`,
      evidence: facts.amdgpuLoaded
        ? 'sys/module/amdgpu is there and has no card'
        : 'sys/module/amdgpu is absent',
      fix: '`modprobe amdgpu`; when there is no such module, install amdgpu-dkms',
    });
  }
  const where = facts.inContainer ? 'this container' : 'this machine';
  return finding('NO_GPU', 'error', {
    kind: 'missing',
    message: `${where} shows no AMD GPU and no amdgpu driver`,
    evidence: `sys/module/amdgpu ${facts.amdgpuLoaded ? 'present' : 'absent'}, sys/class/kfd/kfd ${facts.kfdPresent ? 'present' : 'absent'}, no AMD device in sys/bus/pci/devices`,
    fix: facts.inContainer
      ? 'start the container on a GPU host with --device=/dev/kfd --device=/dev/dri, or try everything out with `driver: simulated` in the fleet file'
      : 'run it on the GPU host, or try everything out with `driver: simulated` in the fleet file',
  });
}

function limitNote(facts: HostFacts): Finding | null {
  const { memoryBytes, processes, cpus } = facts.limits;
  const told = [
    ...(memoryBytes === null ? [] : [`memory.max ${memoryBytes}`]),
    ...(processes === null ? [] : [`pids.max ${processes}`]),
    ...(cpus === null ? [] : [`cpu.max ${cpus} CPUs`]),
  ];
  if (told.length === 0) return null;
  return finding('CGROUP_LIMITS', 'note', {
    message: 'this process runs under limits that its engines share',
    evidence: `sys/fs/cgroup: ${told.join(', ')}`,
    fix: 'raise them when engines are killed or slow to load',
  });
}

function finding(
  code: string,
  level: FindingLevel,
  rest: Pick<Finding, 'message' | 'evidence' | 'fix'> & Partial<Pick<Finding, 'kind'>>,
): Finding {
  return { code, level, kind: null, ...rest };
}

/** Whether a version such as `6.8.0-79-generic` is below another; one that is no version is not. */
function isOlder(version: string, least: readonly number[]): boolean {
  const numbers = /^(\d+)\.(\d+)(?:\.(\d+))?/
    .exec(version)
    ?.slice(1)
    .map((part) => Number(part ?? 0));
  if (numbers === undefined) return false;
  for (const [index, want] of least.entries()) {
    const have = numbers[index] ?? 0;
    if (have !== want) return have < want;
  }
  return false;
}

function toOctal(mode: number | undefined): string {
  return mode === undefined ? 'unknown' : `0${(mode % 0o1000).toString(8)}`;
}
